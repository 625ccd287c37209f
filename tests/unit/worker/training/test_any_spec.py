"""Every spec that the schema allows is either rejected at submission or trains."""

import json
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from keras import layers as kl
from pydantic import ValidationError

from service.contract.data_shape import shape_of
from service.contract.errors import InvalidSpec
from service.contract.plan import Plan, plan
from service.contract.spec import ExperimentSpec
from service.contract.workload import Limits
from tests.support.specs import mlps, presets, specs
from worker.training.data import load
from worker.training.engine import TrainingRun
from worker.training.keras_session import KerasSession

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # shrinking takes minutes of training


def accepted(body: dict[str, Any]) -> Plan | None:
    """The plan of a submission; None if the submission is rejected."""
    try:
        spec = ExperimentSpec.model_validate_json(json.dumps(body)).resolved()
        return plan(spec, shape_of(spec.data), Limits())
    except (InvalidSpec, ValidationError) as error:
        event(f"rejected: {str(error)[:60]}")
        return None


def assert_trains(planned: Plan) -> None:
    run = TrainingRun(planned, load(planned))
    run.compile()
    chunks = list(run.chunks())
    steps = chunks[-1].stop
    recorded = -(-steps // planned.spec.recording.every)
    for name in planned.recorded:
        values = np.concatenate([chunk.recorded[name] for chunk in chunks])
        assert values.shape == (recorded, len(planned.rows_of(name)))
    assert chunks[-1].epoch_metrics is not None
    assert tuple(chunks[-1].epoch_metrics) == planned.objective.epoch_metrics
    if chunks[-1].diverged_at_step is None and not chunks[-1].stopped_early:
        assert steps == planned.work.total_steps
    if planned.spec.recording.keep_model:
        kept = run.trained_model()
        assert kept.output_shape[1:] == planned.network.shapes(planned.shape.input_shape)[planned.network.output]


@pytest.fixture(autouse=True)
def cleared() -> Iterator[None]:
    yield
    KerasSession().clear()


@settings(deadline=None, max_examples=20, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(specs(st.one_of(mlps, mlps, presets)))
def test_any_perceptron_is_rejected_or_trains(body: dict[str, Any]) -> None:
    planned = accepted(body)
    if planned is not None:
        assert_trains(planned)


# Layers for vectors, sequences and images in any order: many of these networks are invalid.
makers: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.builds(
        lambda units, activation: ("Dense", {"units": units, "activation": activation}),
        st.integers(1, 5),
        st.sampled_from(["relu", "tanh", "linear"]),
    ),
    st.builds(
        lambda filters, padding: ("Conv1D", {"filters": filters, "kernel_size": 2, "padding": padding}),
        st.integers(1, 3),
        st.sampled_from(["valid", "causal"]),
    ),
    st.builds(lambda filters: ("Conv2D", {"filters": filters, "kernel_size": 2}), st.integers(1, 3)),
    st.builds(
        lambda kind, units, whole: (kind, {"units": units, "return_sequences": whole}),
        st.sampled_from(["SimpleRNN", "LSTM", "GRU"]),
        st.integers(1, 3),
        st.booleans(),
    ),
    st.builds(lambda units: ("Embedding", {"input_dim": 12, "output_dim": units}), st.integers(1, 3)),
    st.sampled_from(
        [("BatchNormalization", {}), ("LayerNormalization", {}), ("PReLU", {}), ("Flatten", {}), ("MaxPooling2D", {})]
    ),
    st.sampled_from([("GlobalAveragePooling1D", {}), ("Dropout", {"rate": 0.3}), ("RepeatVector", {"n": 2})]),
)
# Data, a shape in which the network may read its samples, units and activation of the output. Most of them fit.
FITTING: list[tuple[dict[str, Any], tuple[int, ...], int, str]] = [
    ({"source": "digits"}, (8, 8, 1), 10, "softmax"),
    ({"source": "digits"}, (8, 8), 10, "softmax"),
    ({"source": "digits", "shape": [8, 8]}, (64,), 10, "linear"),
    ({"source": "blobs", "features": 6, "samples": 30}, (6,), 3, "softmax"),
    ({"source": "circles", "samples": 30}, (2,), 1, "sigmoid"),
    ({"source": "adding_problem", "length": 4, "samples": 30}, (4, 2), 1, "linear"),
    ({"source": "copy_memory", "encoding": "tokens", "samples": 30}, (20,), 9, "softmax"),
    ({"source": "copy_memory", "samples": 30}, (20, 10), 9, "softmax"),
]


@settings(deadline=None, max_examples=40, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(
    fitting=st.sampled_from(FITTING),
    hidden=st.lists(makers, max_size=3),
    flatten=st.booleans(),
    wrong_end=st.sampled_from([False, False, False, True]),
    rest=specs(st.just("baseline")),
)
def test_any_network_printed_by_keras_is_rejected_or_trains(
    fitting: tuple[dict[str, Any], tuple[int, ...], int, str],
    hidden: list[tuple[str, dict[str, Any]]],
    flatten: bool,
    wrong_end: bool,
    rest: dict[str, Any],
) -> None:
    # given the configuration of a network as Keras prints it
    data, shape, units, activation = fitting
    stack = [getattr(kl, kind)(**arguments) for kind, arguments in hidden]
    end = kl.Dense(units + wrong_end, activation=activation)
    network = keras.Sequential([*stack, *([kl.Flatten()] if flatten or len(shape) == 3 else []), end])
    config = json.loads(network.to_json())
    first = json.loads(keras.Sequential([keras.Input(shape)]).to_json())["config"]["layers"][0]
    config["config"]["layers"].insert(0, first)  # added last, so that Keras does not reject an invalid network
    body = {**rest, "model": {"kind": "keras", "config": config}, "data": data}

    planned = accepted(body)

    if planned is not None:
        assert_trains(planned)
