"""Gives a peer the network and the data of gradflow, and compares the losses and norms of both."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.peers.peer import Peer
from service.contract.plan import Plan, plan
from service.contract.recording_spec import Statistic
from worker.training.data import load
from worker.training.engine import TrainingRun
from worker.training.keras_model import build_model
from worker.training.keras_session import KerasSession


@dataclass(frozen=True)
class Difference:
    """The largest differences between a peer and gradflow, relative to gradflow's values."""

    loss: float
    norm: float


def write_job(planned: Plan, path: Path) -> Path:
    """Write the data and the initial variables, from input to output, as `benchmarks.peers.turns.load` reads them."""
    data, model = load(planned), build_model(planned, KerasSession())
    layers = dict.fromkeys(v.layer for v in planned.rows_of(Statistic.GRADIENT_NORM))
    variables = [v.numpy() for name in layers for v in model.get_layer(name).trainable_variables]
    named = {f"variable_{number:04}": value for number, value in enumerate(variables)}
    np.savez(path, x=data.x_train, y=data.y_train.astype(data.x_train.dtype), **named)
    return path


def difference(planned: Plan, peer: Peer, steps: int) -> Difference:
    """Compare the first `steps` steps of an unshuffled epoch from the same weights."""
    shown = peer.ask(show=True)
    training = planned.spec.training.model_copy(update={"shuffle": False, "epochs": 1})
    unshuffled = plan(planned.spec.model_copy(update={"training": training}), planned.shape)
    run = TrainingRun(unshuffled, load(unshuffled))
    run.compile()
    chunks = list(run.chunks())
    losses = np.concatenate([chunk.step_loss for chunk in chunks])
    norms = np.concatenate([chunk.recorded[Statistic.GRADIENT_NORM] for chunk in chunks])
    return Difference(_largest(shown["losses"], losses, steps), _largest(shown["norms"], norms, steps))


def _largest(shown: npt.ArrayLike, ours: npt.NDArray[np.floating], steps: int) -> float:
    return float(np.max(np.abs(np.asarray(shown)[:steps] / ours[:steps] - 1)))
