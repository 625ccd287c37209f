"""A diagnosis gets every recorded step of a short run, and every n-th one of a long run."""

import httpx2
import numpy as np
import pytest

from service.application import evidence_reading, history_reading
from service.application.evidence_reading import evidence_of
from service.application.plans import Plans
from service.application.predictions import Predictions
from service.contract.recording_spec import Statistic
from service.store.experiments import Experiments
from tests.support.hostile_configs import after, dense, functional, tensor
from tests.support.served_api import counted, submit, write

SMALL = {"kind": "mlp", "depth": 2, "width": 3}  # 6 variables, 2 activations


def test_each_statistic_has_the_variables_and_steps_of_the_plan(api: httpx2.Client, store: Experiments) -> None:
    recording = {"statistics": ["weight_norm", "dead_fraction"], "every": 5}
    experiment_id = submit(api, model=SMALL, recording=recording)
    epochs = np.arange(12.0).reshape(3, 4)
    write(store, experiment_id, 78, epochs=epochs, outcome={"diverged_at_step": 77})
    experiment = store.open(experiment_id)

    found = evidence_of(experiment, Plans(Predictions()).of_record(experiment.record), None)

    assert found.steps.tolist() == list(range(0, 78, 5))
    assert {s: values.shape for s, values in found.series.items()} == {
        Statistic.GRADIENT_NORM: (6, 16),
        Statistic.WEIGHT_NORM: (6, 16),
        Statistic.DEAD_FRACTION: (2, 16),
    }
    assert found.series[Statistic.GRADIENT_NORM].T.tolist() == counted(16, 6).tolist()
    assert len(found.step_loss) == 78
    assert {name: values.tolist() for name, values in found.epochs.items()} == {
        "loss": [0, 4, 8], "accuracy": [1, 5, 9], "val_loss": [2, 6, 10], "val_accuracy": [3, 7, 11],
    }  # fmt: skip
    assert found.diverged_at_step == 77
    assert found.prediction is None


@pytest.mark.parametrize("maximum", [100, 6 * 100, 6 * 250, 6 * 10_000])
def test_a_long_run_is_thinned_to_every_nth_step(
    api: httpx2.Client, store: Experiments, monkeypatch: pytest.MonkeyPatch, maximum: int
) -> None:
    monkeypatch.setattr(evidence_reading, "MAX_VALUES", maximum)
    monkeypatch.setattr(history_reading, "BLOCK_BYTES", 7 * 24)  # blocks of seven steps, which no stride divides
    experiment_id = submit(api, model=SMALL, training={"epochs": 40}, recording={"every": 2})
    write(store, experiment_id, 1000)
    experiment = store.open(experiment_id)

    found = evidence_of(experiment, Plans(Predictions()).of_record(experiment.record), None)

    stride = max(1, -(-500 * 6 // maximum))
    assert found.steps.tolist() == list(range(0, 1000, 2 * stride))
    values = found.series[Statistic.GRADIENT_NORM]
    assert values.size <= max(maximum, 6 * len(found.steps))
    assert values.T.tolist() == counted(500, 6)[::stride].tolist()


def test_variables_that_the_loss_does_not_depend_on_have_no_values(api: httpx2.Client, store: Experiments) -> None:
    read = [after(dense("a", 3), tensor("data")), after(dense(activation="sigmoid"), tensor("a"))]
    aside = after(dense("aside", 4), tensor("a"))
    config = functional(read[0], aside, read[1])
    experiment_id = submit(api, model={"kind": "keras", "config": config})
    write(store, experiment_id, 4)
    experiment = store.open(experiment_id)
    planned = Plans(Predictions()).of_record(experiment.record)

    values = evidence_of(experiment, planned, None).series[Statistic.GRADIENT_NORM]

    assert len(planned.variables) == 6
    assert values.T.tolist() == counted(4, 4).tolist()
