"""Trains one run with the worker's engine in this process."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from benchmarks.diagnosis.run import Floats, Run
from service.contract.model_spec import KerasModel
from service.contract.plan import Plan
from worker.training.data import Data, load
from worker.training.engine import Chunk, TrainingRun
from worker.training.initial_values import noise_seeds
from worker.training.losses import sample_losses
from worker.training.programs import Programs
from worker.training.seeds import Stream, generator
from worker.training.stage_passes import FixedInputs

NO_LOOPS = 10_000
Labels = npt.NDArray[np.generic]


def train(plan: Plan, programs: Programs) -> Run:
    """Train a run until it ends or diverges."""
    data = load(plan)
    training = TrainingRun(plan, data, programs.program_for(plan))
    inputs, errors = (None, None) if isinstance(plan.spec.model, KerasModel) else _first_batch(plan, data, training)
    training.compile()
    chunks = list(training.chunks())
    recorded = {s: np.concatenate([chunk.recorded[s] for chunk in chunks]).T for s in plan.recorded}
    steps = np.arange(next(iter(recorded.values())).shape[1], dtype=np.int64) * plan.spec.recording.every
    diverged = next((c.diverged_at_step for c in chunks if c.diverged_at_step is not None), None)
    loss, accuracy = _trivial(plan, data)
    return Run(
        plan.spec,
        steps,
        {s: np.ascontiguousarray(values) for s, values in recorded.items()},
        np.concatenate([chunk.step_loss for chunk in chunks]),
        _epochs(chunks),
        diverged,
        loss,
        accuracy,
        inputs,
        errors,
    )


def _epochs(chunks: Sequence[Chunk]) -> dict[str, Floats]:
    metrics = [chunk.epoch_metrics for chunk in chunks if chunk.epoch_metrics is not None]
    return {name: np.array([epoch[name] for epoch in metrics]) for name in metrics[0]} if metrics else {}


def _first_batch(plan: Plan, data: Data, training: TrainingRun) -> tuple[Floats, Floats]:
    """The samples of step 0, and the errors of the untrained network on them."""
    order = np.arange(len(data.x_train))
    if plan.spec.training.shuffle:
        order = generator(plan.spec.training.seed, Stream.ORDER, 0).permutation(len(order))
    inputs = data.x_train[order[: plan.batch_size]]
    labels = data.y_train[order[: plan.batch_size]]
    network, state = training.program.network, training.state
    noise = tf.constant(noise_seeds(plan, network.slots))
    fixed = FixedInputs(network.buffers.split(state.buffers), noise, tf.constant(0, tf.int64))
    outputs = network.gradient(
        state.weights,
        fixed,
        tf.constant(inputs),
        lambda output: tf.reduce_mean(sample_losses(plan.objective, tf.constant(labels), output)),
        NO_LOOPS,
    ).outputs.numpy()
    return inputs, _errors(plan, outputs, labels)


def _errors(plan: Plan, outputs: Floats, labels: Labels) -> Floats:
    """Errors [batch, outputs]: p − y for a sigmoid or softmax output; for regression, the derivative of the loss."""
    objective = plan.objective
    errors: Floats
    if objective.classes is not None:
        one_hot = np.eye(objective.classes, dtype=outputs.dtype)[labels.astype(int)]
        errors = outputs - (one_hot[:, 1:] if objective.output_units == 1 else one_hot)
    else:
        difference = outputs - labels.astype(outputs.dtype)
        of_loss = {"mse": 2 * difference, "huber": np.clip(difference, -1, 1), "mae": np.sign(difference)}
        errors = of_loss[objective.loss] / objective.output_units
    return errors


def _trivial(plan: Plan, data: Data) -> tuple[float, float]:
    """Validation loss and accuracy of the constant output that fits the training samples best."""
    train, validation = data.y_train, data.y_validation
    if plan.objective.classes is None:
        constant = np.full(validation.shape, train.astype(np.float64).mean(), validation.dtype)
        losses = sample_losses(plan.objective, tf.constant(validation), tf.constant(constant))
        return float(tf.reduce_mean(losses)), math.nan
    share = np.bincount(train.astype(int), minlength=plan.objective.classes) / len(train)
    labels = validation.astype(int)
    return float(-np.mean(np.log(share[labels]))), float(np.mean(labels == share.argmax()))
