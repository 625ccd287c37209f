"""A campaign: many faults of one kind on a separate stack that trains runs; then every run is checked."""

import json
import random
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.chaos import faults
from tests.chaos.faults import Fault, Recovery, Scene
from tests.chaos.oracle import ENDED, SPECS, Oracle
from tests.chaos.processes import Stack, until
from tests.chaos.proxy import Proxy

SHORT = {"GRADFLOW_LEASE_S": "3", "GRADFLOW_SWEEP_S": "1", "GRADFLOW_CHECKPOINT_S": "1"}
SKEW = Path(__file__).parent / "skew"
ROOT = Path(__file__).parents[2]
STUCK_AFTER_S = 180.0  # without progress of any run
BEGINS = re.compile(r"experiment (\w+): attempt (\d+) begins")
REFUSED = re.compile(r"attempt \d+ of experiment \w+ (may not|has lost)")


@dataclass(frozen=True)
class Kind:
    """A kind of fault, and the stack that it needs."""

    fault: Fault
    trainers: int = 1
    in_flight: int = 2
    proxied: bool = False
    skew_s: int = 0


KINDS: dict[str, Kind] = {
    "everything": Kind(faults.Everything(), trainers=2, in_flight=3, proxied=True),
    "kill trainer": Kind(faults.kill_trainer),
    "kill worker": Kind(faults.kill_worker),
    "kill worker and trainers": Kind(faults.kill_worker_and_trainers),
    "SIGTERM to worker": Kind(faults.stop_worker),
    "kill server": Kind(faults.kill_server),
    "zombie trainer": Kind(faults.zombie, trainers=2, in_flight=3),
    "duplicate messages": Kind(faults.duplicate_messages, trainers=2, in_flight=3),
    "deleted messages": Kind(faults.delete_messages, in_flight=0),
    "kill API in mid-submit": Kind(faults.kill_api, in_flight=1),
    "server out of memory": Kind(faults.out_of_memory),
    "connections reset": Kind(faults.reset_connections, proxied=True),
    "black hole": Kind(faults.black_hole, proxied=True),
    "slow network": Kind(faults.slow_network, proxied=True),
    "clock an hour ahead": Kind(faults.nothing, in_flight=0, skew_s=3600),
    "clock an hour behind": Kind(faults.nothing, in_flight=0, skew_s=-3600),
}


@dataclass
class Result:
    """The result of a campaign."""

    kind: str
    settings: str  # "default" or "short"
    seed: int
    count: int = 0
    runs: int = 0
    wrong: list[str] = field(default_factory=list)
    double_claims: int = 0
    refused_writes: int = 0
    server_errors: int = 0
    requeued_s: list[float] = field(default_factory=list)
    resumed_s: list[float] = field(default_factory=list)
    notes: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, recovery: Recovery) -> None:
        """Count one fault."""
        self.count += recovery.count
        if recovery.requeued_s is not None:
            self.requeued_s.append(round(recovery.requeued_s, 3))
        if recovery.resumed_s is not None:
            self.resumed_s.append(round(recovery.resumed_s, 3))
        for name, value in recovery.notes.items():
            self.notes.setdefault(name, []).append(round(value, 3))

    def keep(self, path: Path) -> None:
        """Append the result to a file as one line."""
        with path.open("a") as file:
            file.write(json.dumps(asdict(self)) + "\n")


class Campaign:
    """One kind of fault on a stack that trains runs."""

    def __init__(self, name: str, directory: Path, references: Mapping[str, str], seed: int, *, short: bool) -> None:
        self._kind = KINDS[name]
        self._proxy: Proxy | None = None
        self._random = random.Random(seed)
        self._references = references
        self.result = Result(name, "short" if short else "default", seed)
        skew = {"CHAOS_SKEW_S": str(self._kind.skew_s), "PYTHONPATH": f"{SKEW}:{ROOT}"} if self._kind.skew_s else {}
        self._stack = Stack(
            directory,
            trainers=self._kind.trainers,
            settings=SHORT if short else {},
            worker_settings=skew,
            through=self._port_of_proxy if self._kind.proxied else lambda port: port,
        )

    def run(self, count: int, for_s: float) -> Result:
        """Inject up to `count` faults within `for_s` seconds, wait until all runs have ended, and check them."""
        began = time.monotonic()
        self._stack.start()
        try:
            with Oracle(self._stack.url, self._references) as oracle:
                lease_s = float(SHORT["GRADFLOW_LEASE_S"]) if self.result.settings == "short" else 30.0
                scene = Scene(self._stack, oracle, self._random, self._proxy, lease_s)
                self._disturb(scene, count, began + for_s)
                self._check(oracle)
        finally:
            self._stack.stop()
            if self._proxy is not None:
                self._proxy.close()
        self._read_logs()
        self.result.seconds = round(time.monotonic() - began, 1)
        return self.result

    def _disturb(self, scene: Scene, count: int, until_s: float) -> None:
        enough = threading.Event()
        feeding = threading.Thread(target=self._feed, args=(scene.oracle, enough))
        feeding.start()
        try:
            while self.result.count < count and time.monotonic() < until_s:
                self.result.add(self._kind.fault(scene))
        finally:
            enough.set()
            feeding.join()

    def _feed(self, oracle: Oracle, enough: threading.Event) -> None:
        """Keep the wanted number of runs queued or running."""
        names = random.Random(self.result.seed)
        while not enough.wait(0.1):
            while len(oracle.open) < self._kind.in_flight and not enough.is_set():
                oracle.submit(names.choice(list(SPECS)))

    def _check(self, oracle: Oracle) -> None:
        last, since = oracle.progress(), time.monotonic()
        while oracle.open and time.monotonic() - since < STUCK_AFTER_S:
            time.sleep(0.2)
            if oracle.progress() != last:
                last, since = oracle.progress(), time.monotonic()
        for experiment_id, seen in oracle.runs.items():
            why = oracle.verdict(experiment_id) if seen.status in ENDED else f"it stays {seen.status}"
            if why is not None:
                self.result.wrong.append(f"{experiment_id} ({seen.spec}): {why}")
        self.result.runs = len(oracle.runs)
        self.result.server_errors = oracle.server_errors

    def _read_logs(self) -> None:
        log = self._stack.worker.log.read_text(errors="replace")
        claims = BEGINS.findall(log)
        self.result.double_claims = len(claims) - len(set(claims))
        self.result.refused_writes = len(REFUSED.findall(log))

    def _port_of_proxy(self, server_port: int) -> int:
        self._proxy = Proxy(server_port)
        return self._proxy.port


def references(directory: Path) -> dict[str, str]:
    """Return the digest of the history of each spec, from a stack without faults."""
    stack = Stack(directory, trainers=2)
    stack.start()
    try:
        with Oracle(stack.url, {}) as oracle:
            ids = {name: [oracle.submit(name) for _ in range(2)] for name in SPECS}
            until(lambda: not oracle.open, "the reference runs", 300)
            digests = {name: {oracle.digest(run) for run in runs} for name, runs in ids.items()}
    finally:
        stack.stop()
    for name, found in digests.items():
        if len(found) != 1:
            raise AssertionError(f"{name}: two undisturbed runs differ")
    return {name: found.pop() for name, found in digests.items()}
