"""What a training process does with a message: claim, train, record."""

import gc
import logging

import keras
import tensorflow as tf

from service.contract.errors import StaleAttempt
from service.contract.record import Status
from service.contract.spec import Baseline, ExperimentSpec
from service.contract.store import Store
from worker.reporting import Reporter
from worker.training.data import load
from worker.training.engine import TrainingRun

logger = logging.getLogger(__name__)


def train(experiment_id: str, store: Store, device: str) -> None:
    """Train an experiment, unless another attempt has it or it has ended."""
    attempt = store.claim(experiment_id, device)
    if attempt is None:
        logger.info("experiment %s is not to be claimed", experiment_id)
        return
    report = Reporter(store, experiment_id, attempt)
    try:
        spec = store.get(experiment_id).spec
        with report.timed("prepare_s"):
            run = TrainingRun(spec, load(spec))
        with report.timed("compile_s"):
            run.compile()
        with report.timed("train_s"):
            for chunk in run.chunks():
                report.write(chunk)
                if report.cancelled:
                    break
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
    spec = ExperimentSpec.model_validate({"model": Baseline(depth=1, width=2), "training": {"epochs": 1}}).resolved()
    run = TrainingRun(spec, load(spec))
    run.compile()
    for _ in run.chunks():
        pass
    keras.backend.clear_session()
    gc.freeze()  # TensorFlow's own objects stay for ever: not walking them makes each collection ten times faster


def _in_words(error: Exception) -> str:
    if isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
        return "the training process ran out of memory: try a smaller network, batch or data set"
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"
