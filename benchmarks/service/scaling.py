"""The load of a run on Redis: the bytes that it stores, and the server's time for each script."""

from collections.abc import Callable, Iterator

import redis

from benchmarks.report.page import Part, table
from benchmarks.service.serving import valkey
from service.contract.architecture import architecture_of
from service.contract.data_shape import shape_of
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.history_format import STEP_LOSS, HistoryChunk, Piece
from service.contract.plan import Plan, plan
from service.contract.record import Outcome, Status, Timing
from service.contract.recording_spec import Statistic
from service.contract.resolved_spec import ResolvedSpec
from service.contract.spec import ExperimentSpec
from service.contract.study_spec import StudySpec
from service.store.attempts import Attempts
from service.store.connection import connect
from service.store.experiments import Experiments, NewExperiment
from service.store.studies import Studies

RUNS = 200
QUEUED = 2_000
WRITES = 400
# Steps of the fastest trainer of the baseline between two writes: five writes per second, 250 µs per step.
STEPS_PER_WRITE = 800
TRAINER = "host:1"


def measure() -> Part:
    """Measure an empty server, to which one client writes as trainers do."""
    planned = _preset()
    with valkey() as settings, connect(settings) as client:
        store = Experiments(client)
        run_bytes = _bytes_of_a_run(client, store, planned)
        small = _server_us(client, lambda: _write(store, planned, 25))
        large = _server_us(client, lambda: _write(store, planned, STEPS_PER_WRITE))
        claim = _server_us(client, lambda: _claim(client, store, planned))
    size = STEPS_PER_WRITE * planned.bytes_per_step(Statistic.GRADIENT_NORM) / 1000
    rows = [
        ("bytes of an ended run of the baseline preset, 125 steps, with its record and indexes", f"{run_bytes:,.0f}"),
        ("server time to write 25 steps of it", f"{small:,.0f} µs"),
        (f"server time to write {STEPS_PER_WRITE} steps of it, {size:,.0f} KB", f"{large:,.0f} µs"),
        (f"server time to claim a run while {QUEUED:,} runs of a study are queued", f"{claim:,.0f} µs"),
        ("writes of 25 steps per second that use half of the server's time", f"{0.5e6 / small:,.0f}"),
        (
            "trainers with the write rate of the fastest, five writes per second, that use half of the server's time",
            f"{0.1e6 / large:,.0f}",
        ),
    ]
    return Part([], table(("one Valkey server", ""), rows))


def _preset() -> Plan:
    spec = ExperimentSpec.model_validate({"model": "baseline", "training": {"epochs": 2_000}}).resolved()
    return plan(spec, shape_of(spec.data))


def _bytes_of_a_run(client: redis.Redis, _store: Experiments, planned: Plan) -> float:
    before = client.info("memory")["used_memory"]
    for _ in range(RUNS):
        experiment_id = _queue(client, planned, 1)[0]
        attempt = _claimed(client, experiment_id)
        Attempts(client).append(experiment_id, attempt, _chunk(planned, 0, 125), Outcome(loss=0.5, accuracy=0.5))
        Attempts(client).finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(loss=0.5, accuracy=0.5), Timing())
    used: float = (client.info("memory")["used_memory"] - before) / RUNS
    return used


def _queue(client: redis.Redis, planned: Plan, runs: int) -> list[str]:
    study = StudySpec(base={"model": "baseline"}, axes={"training.seed": list(range(runs))})
    architecture, norms = architecture_of(planned), GradientNormLayout.of(planned)
    run = NewExperiment(
        ResolvedSpec.of(planned.spec), planned.shape, (), architecture, planned.work.total_steps, norms, 0
    )
    _, ids = Studies(client).create(study, [run] * runs, (), ())
    return ids


def _claimed(client: redis.Redis, experiment_id: str) -> int:
    claim = Attempts(client).claim_next("cpu", TRAINER)
    if claim is None or claim.experiment_id != experiment_id:
        raise RuntimeError("no other trainer claims here")
    return claim.attempt


def _write(store: Experiments, planned: Plan, steps: int) -> Iterator[None]:
    (experiment_id,) = _queue(store.client, planned, 1)
    attempt = _claimed(store.client, experiment_id)
    attempts = Attempts(store.client)
    yield
    for number in range(WRITES):
        attempts.append(experiment_id, attempt, _chunk(planned, number * steps, steps), Outcome())


def _claim(client: redis.Redis, _store: Experiments, planned: Plan) -> Iterator[None]:
    _queue(client, planned, QUEUED)
    attempts = Attempts(client)
    yield
    for _ in range(WRITES):
        attempts.claim_next("cpu", TRAINER, [architecture_of(planned)])


def _chunk(planned: Plan, start: int, steps: int) -> HistoryChunk:
    norms = planned.bytes_per_step(Statistic.GRADIENT_NORM)
    pieces = (
        Piece(Statistic.GRADIENT_NORM, start * norms, bytes(steps * norms)),
        Piece(STEP_LOSS, start * 4, bytes(steps * 4)),
    )
    return HistoryChunk(start, start + steps, 0, pieces)


def _server_us(client: redis.Redis, work: Callable[[], Iterator[None]]) -> float:
    """Mean microseconds of the server per script call of `work`, without those before its first `yield`."""
    going = work()
    next(going)
    client.config_resetstat()
    for _ in going:
        pass
    found: float = client.info("commandstats")["cmdstat_evalsha"]["usec_per_call"]
    return found
