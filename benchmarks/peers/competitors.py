"""The programs that gradflow's training step is compared with; each trains epochs of the same plan on request."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import keras

from benchmarks.peers.gradient_logging import compiled, each_batch, each_epoch
from benchmarks.peers.peer import Peer
from benchmarks.peers.same_work import difference, write_job
from benchmarks.report.paired import TurnTime, timed
from service.contract.plan import Plan
from worker.training.data import Data, load
from worker.training.engine import Chunk, TrainingRun
from worker.training.keras_session import KerasSession
from worker.training.program import Program, worth_xla

Epochs = Callable[[int], TurnTime]


@dataclass(frozen=True)
class Competitor:
    """A program to compare with."""

    name: str
    begin: Callable[[ExitStack, Plan, str], Epochs]
    """Start the program with a plan and the name of its preset; return a function that trains epochs."""
    rounds: int
    target: str | None = None
    long_epochs: bool = False  # whether it is measured with long epochs too


def gradflow(planned: Plan, *, record: bool = True) -> Epochs:
    """A run of gradflow; each call trains more epochs of it."""
    program = Program(planned, KerasSession(), record=record, xla=worth_xla(planned))
    run = TrainingRun(planned, load(planned), program)
    run.compile()
    ends = _epochs(run.chunks())
    return lambda epochs: timed(lambda: [next(ends) for _ in range(epochs)])


def model_fit(_stack: ExitStack, planned: Plan, _kind: str) -> Epochs:
    """`model.fit` without callbacks."""
    model, data = compiled(planned)
    return _fit(model, data, [], shuffle=True)


def model_fit_and_norms_each_epoch(_stack: ExitStack, planned: Plan, _kind: str) -> Epochs:
    """`model.fit` with a callback that makes a second pass over the data."""
    model, data = compiled(planned)
    return _fit(model, data, [each_epoch(model, data, planned.batch_size)], shuffle=True)


def model_fit_and_norms_each_batch(_stack: ExitStack, planned: Plan, _kind: str) -> Epochs:
    """`model.fit` with a callback that computes each batch's gradient a second time."""
    model, data = compiled(planned)
    return _fit(model, data, [each_batch(model, data, planned.batch_size)], shuffle=False)


def gradflow_without_norms(_stack: ExitStack, planned: Plan, _kind: str) -> Epochs:
    """The same steps of gradflow without recording."""
    return gradflow(planned, record=False)


def peer(program: str, library: str) -> Callable[[ExitStack, Plan, str], Epochs]:
    """A program of `benchmarks.peers`; starting it raises NotInstalled if its library is not installed."""

    def begin(stack: ExitStack, planned: Plan, kind: str) -> Epochs:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        job = write_job(planned, directory / "job.npz")
        process = stack.enter_context(Peer(program, str(job), kind, needs=library))
        return lambda epochs: TurnTime(**process.ask(epochs=epochs))

    return begin


COMPETITORS = (
    Competitor("`model.fit`, nothing recorded", model_fit, rounds=20, target="1", long_epochs=True),
    Competitor("`model.fit`, norms once per epoch by a callback", model_fit_and_norms_each_epoch, rounds=8),
    Competitor("`model.fit`, norms of each batch by a callback", model_fit_and_norms_each_batch, rounds=8),
    Competitor("PyTorch, eager, every norm", peer("torch_loop", "torch"), rounds=20, long_epochs=True),
    Competitor("JAX, `lax.scan`, every norm", peer("jax_scan", "jax"), rounds=100, target="2", long_epochs=True),
    Competitor("gradflow, nothing recorded", gradflow_without_norms, rounds=200, target="3"),
)


def difference_of_jax(planned: Plan, kind: str) -> float:
    """The largest relative difference of any loss or norm between JAX and gradflow, in one epoch from the same weights.

    Args:
        planned: A plan of the preset in float64.
        kind: The name of the preset.

    Raises:
        NotInstalled: JAX is not installed.
    """
    with tempfile.TemporaryDirectory() as directory:
        job = write_job(planned, Path(directory) / "job.npz")
        with Peer("jax_scan", str(job), kind, needs="jax", environment={"JAX_ENABLE_X64": "1"}) as jax:
            found = difference(planned, jax, planned.work.steps_per_epoch)
    return max(found.loss, found.norm)


def _fit(model: keras.Model, data: Data, callbacks: list[keras.callbacks.Callback], *, shuffle: bool) -> Epochs:
    def fit(epochs: int) -> object:
        return model.fit(
            data.x_train, data.y_train, batch_size=32, epochs=epochs, shuffle=shuffle, callbacks=callbacks, verbose=0
        )

    return lambda epochs: timed(lambda: fit(epochs))


def _epochs(chunks: Iterator[Chunk]) -> Iterator[int]:
    """Yield the number of the step after each epoch, when the epoch ends."""
    return (chunk.stop for chunk in chunks if chunk.epoch_metrics is not None)
