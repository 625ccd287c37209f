"""Memory: bytes in Redis per recorded value, and resident memory of the API and of a trainer."""

from pathlib import Path

from benchmarks.report.machine import resident_mb
from benchmarks.report.page import Part, table
from benchmarks.report.paired import Ratio, spread
from benchmarks.report.targets import Result
from benchmarks.service.redis_bytes import bytes_used
from benchmarks.service.serving import PersistentConnection, served, valkey
from benchmarks.service.warm_stack import WarmStack, warm_stack
from service.store.connection import connect
from service.store.settings import RedisSettings

MODELS = ("baseline", "improved")
DEPTHS = (2, 5, 8, 11, 14)
SEEDS = 3
THOUSAND_STEPS = {"epochs": 40}  # of 25 steps each


def measure() -> Part:
    """Measure a stack that trains, and a separate API process."""
    api = _api_mb()
    with warm_stack(trainers=1) as stack:
        bytes_per_value = {model: _bytes_per_value(stack, model) for model in MODELS}
        trainer = _trainer_mb(stack)
    results = [
        Result("8", f"{model}, 1,000 steps, all overhead", _one(found)) for model, found in bytes_per_value.items()
    ]
    results.append(Result("10", "one uvicorn process", _one(api)))
    runs = len(MODELS) * len(DEPTHS)
    rows = [[f"after {runs * (seed + 1)} runs", f"{mb:.0f} MB"] for seed, mb in enumerate(trainer)]
    header = (f"trainer process, resident, {runs} architectures in turn", "")
    return Part(results, table(header, rows))


def _one(value: float) -> Ratio:
    return spread([value])


def _bytes_per_value(stack: WarmStack, model: str) -> float:
    """Bytes of all keys of a run in Redis, divided by the number of its recorded values."""
    _, experiment = stack.train({"model": model, "training": THOUSAND_STEPS})
    norms = stack.get(f"/v1/experiments/{experiment['id']}/gradients?role=all")
    settings = RedisSettings(url=f"unix://{stack.running.data_dir / 'valkey.sock'}")
    with connect(settings) as client:
        return bytes_used(client, experiment["id"]) / (len(norms["variables"]) * len(norms["steps"]))


def _api_mb() -> float:
    """Memory of the API after its start and one submission, which triggers the lazy imports."""
    with valkey() as settings, served(settings) as (port, pid):
        connection = PersistentConnection(port)
        connection.post("/v1/experiments", b'{"model": "baseline"}')
        connection.close()
        if "tensorflow" in Path(f"/proc/{pid}/maps").read_text():
            raise RuntimeError("the API process has loaded TensorFlow")
        return resident_mb(pid)


def _trainer_mb(stack: WarmStack) -> list[float]:
    """Memory of the trainer after each round of all architectures; the rounds differ in the seed."""
    found = []
    for seed in range(SEEDS):
        for depth in DEPTHS:
            for model in MODELS:
                stack.train({"model": {"kind": model, "depth": depth}, "training": {"seed": seed}})
        (trainer,) = (pid for pid, command in stack.running.children().items() if "spawn_main" in command)
        found.append(resident_mb(trainer))
    return found
