"""The number of samples and steps of a run."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.spec import ExperimentSpec
from service.contract.workload import Limits, workload


def _spec(**parts: Any) -> ExperimentSpec:
    return ExperimentSpec.model_validate({"model": "baseline", **parts}).resolved()


def test_a_preset_with_800_training_samples_has_125_steps() -> None:
    work = workload(_spec(), 1000)

    assert (work.train_rows, work.validation_rows, work.steps_per_epoch, work.total_steps) == (800, 200, 25, 125)


@pytest.mark.parametrize(
    ("samples", "split", "train_rows"),
    [
        (1000, 0.2, 800),
        (569, 0.2, 455),  # 455.2
        (150, 0.3, 105),
        (10, 0.9, 0),  # 1.0 - 0.9 is a little less than 0.1, so that Keras has no training sample either
        (10, 0.7, 3),
        (100, 0.29, 71),
        (100, 0.57, 43),
        (7, 0.0, 7),
    ],
)
def test_samples_are_split_as_keras_splits_them(samples: int, split: float, train_rows: int) -> None:
    # math.floor(rows * (1.0 - validation_split)): keras/src/trainers/data_adapters/data_adapter_utils.py
    work = workload(_spec(training={"validation_split": split, "batch_size": 32}), samples)

    assert (work.train_rows, work.validation_rows) == (train_rows, samples - train_rows)


@given(samples=st.integers(2, 10**6), split=st.floats(0, 0.999), batch=st.integers(1, 10**4))
def test_batches_cover_every_training_sample_once(samples: int, split: float, batch: int) -> None:
    work = workload(_spec(training={"validation_split": split, "batch_size": batch}), samples)

    assert work.train_rows + work.validation_rows == samples
    assert work.train_rows == math.floor(samples * (1.0 - split))  # data_adapter_utils.train_validation_split of Keras
    assert (work.steps_per_epoch - 1) * batch < work.train_rows <= work.steps_per_epoch * batch


def test_a_spec_may_choose_the_training_and_validation_samples_of_an_upload() -> None:
    def rows(**data: int) -> tuple[int, int]:
        upload = {"source": "upload", "dataset_id": "0" * 24, **data}
        work = workload(_spec(data=upload, training={"validation_split": 0.5}), 100)
        return work.train_rows, work.validation_rows

    assert rows() == (50, 50)
    assert rows(train_rows=70) == (70, 30)
    assert rows(validation_rows=30) == (70, 30)
    assert rows(train_rows=20, validation_rows=10) == (20, 10)


def test_limits_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADFLOW_LIMIT_LAYERS", "3")

    assert Limits().layers == 3
