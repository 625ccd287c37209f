"""Rolled and unrolled stages compute the same, and a run starts from the values of the built Keras model."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from service.contract.plan import Plan
from service.contract.recording_spec import ACTIVATION_STATISTICS
from tests.support.plans import plan_of
from tests.support.specs import initializers
from tests.support.training_runs import run_of, values_of
from worker.training import program
from worker.training.data import load
from worker.training.engine import TrainingRun
from worker.training.initial_values import initial_values
from worker.training.keras_model import build_model
from worker.training.keras_session import KerasSession
from worker.training.program import Program
from worker.training.staged_network import StagedNetwork

Floats = npt.NDArray[np.floating]

NEVER = 10**6
EVERYTHING = sorted(ACTIVATION_STATISTICS)

POSITION = "normalization_position"  # pre-activation residuals allow normalization before the activation only
models = st.fixed_dictionaries(
    # A block has to repeat four times to form a stage, and the first layer differs by its input.
    {"kind": st.just("mlp"), "depth": st.integers(5, 6), "width": st.integers(1, 9)},
    optional={
        "activation": st.sampled_from(["relu", "sigmoid", "tanh", "leaky_relu", "gelu", "selu"]),
        "normalization": st.sampled_from(["none", "batch", "layer"]),
        POSITION: st.sampled_from(["after_activation", "before_activation"]),
        "residual": st.sampled_from(["none", "post_activation", "pre_activation"]),
        "dropout": st.sampled_from([0.0, 0.3]),
        "kernel_initializer": initializers,
    },
).filter(lambda model: (model.get("residual"), model.get(POSITION)) != ("pre_activation", "after_activation"))


def history(plan: Plan, loops_from: int, *, xla: bool = False) -> list[Floats]:
    """Everything that a run records, with a loop for each repeated stage of at least `loops_from` layers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "LOOPS_IN_GRAPH", loops_from)
        patch.setattr(program, "LOOPS_IN_XLA", loops_from)
        chunks = list(run_of(plan, xla=xla).chunks())
    recorded = [np.concatenate([chunk.recorded[name] for chunk in chunks]) for name in plan.recorded]
    epochs = [np.array(list(chunk.epoch_metrics.values())) for chunk in chunks if chunk.epoch_metrics is not None]
    return [np.concatenate([chunk.step_loss for chunk in chunks]), *recorded, *epochs]


def assert_rolled_agrees_with_unrolled(plan: Plan, *, xla: bool = False) -> None:
    rolled, unrolled = (history(plan, loops_from, xla=xla) for loops_from in (2, NEVER))
    for one, other in zip(rolled, unrolled, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9 * np.max(np.abs(np.nan_to_num(other))))


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking takes minutes of training
)
@given(model=models, statistics=st.sampled_from([[], EVERYTHING]))
def test_a_rolled_stage_computes_what_an_unrolled_one_computes(model: dict[str, Any], statistics: list[str]) -> None:
    plan = plan_of(
        model=model,
        data={"source": "random", "samples": 70, "features": 5},
        training={"epochs": 1, "stop_on_divergence": False, "precision": "float64"},
        recording={"statistics": statistics},
    )

    assert_rolled_agrees_with_unrolled(plan)
    KerasSession().clear()


def test_a_rolled_stage_agrees_with_an_unrolled_one_under_xla() -> None:
    model = {"kind": "improved", "depth": 5, "width": 6}
    data = {"source": "random", "samples": 120}

    plan = plan_of(model=model, data=data, training={"epochs": 1, "precision": "float64"})

    assert_rolled_agrees_with_unrolled(plan, xla=True)


@pytest.mark.parametrize(
    "model",
    [
        "baseline",
        "improved",
        {"kind": "mlp", "depth": 5, "width": 6, "normalization": "layer", "bias_initializer": "random_normal"},
        {"kind": "mlp", "depth": 5, "width": 6, "kernel_initializer": "orthogonal"},
    ],
)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_run_starts_from_the_values_of_the_built_model(model: Any, precision: str) -> None:
    plan = plan_of(model=model, training={"precision": precision, "seed": 4})
    session = KerasSession()
    expected = values_of(plan, build_model(plan, session))

    found = initial_values(plan, StagedNetwork(plan, session).slots, session)

    assert len(found.trainable) == len(expected.trainable)
    for mine, theirs in zip([*found.trainable, *found.buffers], [*expected.trainable, *expected.buffers], strict=True):
        assert mine.dtype == theirs.dtype == precision
        np.testing.assert_array_equal(mine, theirs)


def test_every_kind_of_layer_with_variables_starts_from_the_values_of_the_built_model() -> None:
    inputs = keras.Input((16,))
    h = keras.layers.Reshape((8, 2))(inputs)
    h = keras.layers.Conv1D(4, 3, padding="same", kernel_initializer="he_normal")(h)
    h = keras.layers.Conv1D(4, 3, padding="same", bias_initializer="random_normal")(h)
    h = keras.layers.PReLU(alpha_initializer="random_uniform")(h)
    frozen = keras.layers.Dense(4, kernel_initializer="lecun_normal")
    frozen.trainable = False
    h = keras.layers.BatchNormalization(gamma_initializer="random_normal")(frozen(h))
    h = keras.layers.GRU(3, return_sequences=True)(keras.layers.LSTM(3, return_sequences=True)(h))
    h = keras.layers.Flatten()(h)
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(h))
    plan = plan_of(
        model={"kind": "keras", "config": model.to_json()}, data={"source": "random", "features": 16, "samples": 50}
    )
    session = KerasSession()
    expected = values_of(plan, build_model(plan, session))

    found = initial_values(plan, StagedNetwork(plan, session).slots, session)

    for mine, theirs in zip([*found.trainable, *found.buffers], [*expected.trainable, *expected.buffers], strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_trained_model_evaluates_to_the_last_epoch_metrics() -> None:
    plan = plan_of(model={"kind": "improved", "depth": 2, "width": 8}, training={"epochs": 2})
    data = load(plan)
    run = TrainingRun(plan, data)
    *_, last = run.chunks()

    model = run.trained_model()
    model.compile(loss="binary_crossentropy", metrics=["accuracy"])
    loss, accuracy = model.evaluate(data.x_validation, data.y_validation[:, None], verbose=0)

    assert last.epoch_metrics is not None
    assert loss == pytest.approx(last.epoch_metrics["val_loss"], rel=1e-5)
    assert accuracy == pytest.approx(last.epoch_metrics["val_accuracy"], rel=1e-5)


@pytest.mark.parametrize("xla", [False, True], ids=["graph", "xla"])
def test_the_size_of_a_program_does_not_depend_on_the_depth(xla: bool) -> None:
    def operations(depth: int) -> int:
        plan = plan_of(model={"kind": "improved", "depth": depth, "width": 4})
        run = TrainingRun(plan, load(plan), Program(plan, KerasSession(), xla=xla))
        steps = run.program.functions[0].get_concrete_function(
            run.state, run._feed(np.arange(800, dtype=np.int32), 0, 1, 0)
        )
        definition = steps.graph.as_graph_def()
        return sum(len(function.node_def) for function in definition.library.function) + len(definition.node)

    shallow = operations(50)

    assert operations(100) == shallow
