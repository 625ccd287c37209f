"""Fixtures for tests of the engine: a spec, a trained run, and the same network trained by Keras."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest

from service.contract.spec import ExperimentSpec
from service.contract.training_spec import Adam, Sgd
from tests.support.plans import plan_of
from tests.support.training_runs import run_of
from worker.training.data import load
from worker.training.engine import Chunk, TrainingRun
from worker.training.keras_model import build_model
from worker.training.keras_session import KerasSession

Trained = tuple[TrainingRun, list[Chunk]]


@pytest.fixture(scope="session")
def spec_of() -> Callable[..., ExperimentSpec]:
    """Return a function from the parts of a spec to the resolved spec."""

    def make(**parts: Any) -> ExperimentSpec:
        return ExperimentSpec.model_validate(parts).resolved()

    return make


@pytest.fixture(scope="session")
def trained() -> Callable[..., Trained]:
    """Return a function that trains a run to its end; it takes the keywords of `run_of`, and returns run and chunks."""

    def train(spec: ExperimentSpec, dtype: str = "float32", **options: Any) -> Trained:
        planned = plan_of(spec, dtype)
        run = run_of(planned, **options)
        run.compile()
        return run, list(run.chunks())

    return train


@pytest.fixture(scope="session")
def fitted(
    keras_in_float64: Callable[[], AbstractContextManager[None]],
) -> Callable[[ExperimentSpec, str], tuple[keras.Model, dict[str, list[float]]]]:
    """Return a function that trains the same network by `model.fit` without shuffling; it returns model and history."""

    def fit(spec: ExperimentSpec, dtype: str) -> tuple[keras.Model, dict[str, list[float]]]:
        with keras_in_float64() if dtype == "float64" else nullcontext():
            return fit_as_configured(spec, dtype)

    def fit_as_configured(spec: ExperimentSpec, dtype: str) -> tuple[keras.Model, dict[str, list[float]]]:
        planned = plan_of(spec, dtype)
        data, model = load(planned), build_model(planned, KerasSession())
        chosen = spec.training.optimizer
        assert isinstance(chosen, Adam | Sgd)
        if isinstance(chosen, Adam):
            optimizer = keras.optimizers.Adam(
                chosen.learning_rate, chosen.beta_1, chosen.beta_2, epsilon=chosen.epsilon
            )
        else:
            optimizer = keras.optimizers.SGD(chosen.learning_rate, chosen.momentum)
        model.compile(
            optimizer,
            "binary_crossentropy" if planned.objective.output_units == 1 else "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=False,
        )
        history = model.fit(
            np.concatenate([data.x_train, data.x_validation]),
            np.concatenate([data.y_train, data.y_validation])[:, None],
            epochs=spec.training.epochs,
            batch_size=spec.training.batch_size,
            validation_split=spec.training.validation_split,
            shuffle=False,
            verbose=0,
        )
        return model, history.history

    return cache(fit)
