"""What a training process does with a message: claim, train, record."""

import gc
import logging
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from service.contract.data_shape import shape_of
from service.contract.data_spec import UploadData
from service.contract.datasets import Datasets
from service.contract.errors import StaleAttempt
from service.contract.plan import Plan, plan
from service.contract.record import ExperimentRecord, Status
from service.contract.spec import ExperimentSpec
from service.contract.store import Store
from worker.reporting import Reporter
from worker.training.data import Data, load
from worker.training.engine import TrainingRun

logger = logging.getLogger(__name__)


def train(experiment_id: str, store: Store, datasets: Datasets, device: str) -> None:
    """Train an experiment, unless another attempt has it or it has ended."""
    attempt = store.claim(experiment_id, device)
    if attempt is None:
        logger.info("experiment %s is not to be claimed", experiment_id)
        return
    record = store.get(experiment_id)
    report = Reporter(store, experiment_id, attempt, record.spec.training.precision)
    try:
        with report.timed("prepare_s"):
            planned = plan(record.spec, record.shape)
            run = TrainingRun(planned, _data(planned, record, datasets))
        with report.timed("compile_s"):
            run.compile()
        with report.timed("train_s"):
            for chunk in run.chunks():
                report.write(chunk)
                if report.cancelled:
                    break
        if record.spec.recording.keep_model:
            report.keep_model(_file_of(run.trained_model()))
        report.finish(Status.CANCELLED if report.cancelled else Status.SUCCEEDED)
    except StaleAttempt as error:
        logger.warning("%s; leaving it", error)
    except Exception as error:
        logger.exception("experiment %s failed", experiment_id)
        report.finish(Status.FAILED, _in_words(error))
    finally:
        keras.backend.clear_session()  # collects garbage too: a traced program is a knot of cycles


def warm_up() -> None:
    """Run a tiny experiment: what TensorFlow and Keras load at first use is then loaded before the first job."""
    spec = ExperimentSpec.model_validate(
        {"model": {"kind": "baseline", "depth": 1, "width": 2}, "training": {"epochs": 1}}
    ).resolved()
    planned = plan(spec, shape_of(spec.data))
    run = TrainingRun(planned, load(planned))
    run.compile()
    for _ in run.chunks():
        pass
    keras.backend.clear_session()
    gc.freeze()  # TensorFlow's own objects stay for ever: not walking them makes each collection ten times faster


def _data(planned: Plan, record: ExperimentRecord, datasets: Datasets) -> Data:
    data = record.spec.data
    if not isinstance(data, UploadData):
        return load(planned)
    described = datasets.get(data.dataset_id).description
    x, y = datasets.arrays(data.dataset_id)
    labels = np.frombuffer(y, described.y_format)
    return load(planned, (np.frombuffer(x, described.x_format).reshape(record.shape.samples, -1), labels))


def _file_of(model: keras.Model) -> bytes:
    """A `.keras` file; Keras writes these to a path only."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "model.keras")
        model.save(path)
        return path.read_bytes()


def _in_words(error: Exception) -> str:
    if isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
        return "the training process ran out of memory: try a smaller network, batch or data set"
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"
