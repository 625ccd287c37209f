"""Early stopping equals Keras's callback, epoch by epoch."""

from types import SimpleNamespace
from typing import Any

import keras
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.training_spec import EarlyStopping
from worker.training.early_stopping import EarlyStop

# Values that meet `min_delta` and `baseline` exactly, or differ in digits that float32 does not hold or barely holds.
NEAR = [0.5, 0.5 - 1e-9, 0.5 - 2e-9, 0.5 - 1e-7, 0.45, 0.55, 0.3, 0.3 + 1e-10]
value = st.one_of(
    st.floats(0, 1, width=16), st.sampled_from(NEAR), st.sampled_from([float("nan"), float("inf"), float("-inf")])
)
values = st.lists(value, min_size=1, max_size=12)
specs = st.builds(
    EarlyStopping,
    monitor=st.sampled_from(["val_loss", "val_accuracy", "loss"]),
    min_delta=st.sampled_from([0.0, 0.05]),
    patience=st.integers(0, 3),
    mode=st.sampled_from(["auto", "min", "max"]),
    baseline=st.sampled_from([None, 0.3]),
    start_from_epoch=st.integers(0, 3),
    restore_best_weights=st.booleans(),
)


def by_keras(spec: EarlyStopping, values: list[float]) -> tuple[int | None, int | None]:
    """The epoch after which Keras stops, and the epoch whose weights it restores."""
    arguments = spec.model_dump()
    if arguments["mode"] == "auto":  # Keras infers the mode from the compiled metrics, with this result
        arguments["mode"] = "max" if spec.monitor.endswith("accuracy") else "min"
    callback = keras.callbacks.EarlyStopping(**arguments | {"restore_best_weights": True})
    model: Any = SimpleNamespace(stop_training=False, epoch=None)
    model.get_weights = lambda: model.epoch
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        model.epoch = epoch
        callback.on_epoch_end(epoch, {spec.monitor: value})
        if model.stop_training:
            return epoch, callback.best_weights
    return None, callback.best_weights


@settings(deadline=None, max_examples=500)
@given(specs, values)
def test_it_stops_and_restores_at_the_same_epochs_as_keras(spec: EarlyStopping, values: list[float]) -> None:
    stopping = EarlyStop(spec)
    stopped, best = None, None
    for epoch, value in enumerate(values):
        verdict = stopping.after(epoch, {spec.monitor: value})
        best = epoch if verdict.best else best
        if verdict.stop:
            stopped = epoch
            break

    assert (stopped, best) == by_keras(spec, values)


def test_a_decrease_below_float32_precision_is_no_improvement() -> None:
    stopping = EarlyStop(EarlyStopping(patience=2))
    verdicts = [stopping.after(epoch, {"val_loss": 0.6931471805 - 1e-9 * epoch}) for epoch in range(3)]

    assert [verdict.best for verdict in verdicts] == [True, False, False]
    assert [verdict.stop for verdict in verdicts] == [False, False, True]


def test_a_loss_beyond_float32_counts_as_infinite() -> None:
    stopping = EarlyStop(EarlyStopping(patience=2))

    assert [stopping.after(epoch, {"val_loss": loss}).best for epoch, loss in enumerate([1e300, 1e299, 1.0])] == [
        True,
        False,
        True,
    ]
