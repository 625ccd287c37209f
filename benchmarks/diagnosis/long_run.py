"""The time to diagnose a long run: 100 variables, 10,000 steps, and every statistic that a pack uses."""

import statistics
import time

import numpy as np

from benchmarks.report.page import Part, table
from service.analysis.diagnosis import PACKS, Evidence, diagnose
from service.analysis.stored_history import series, unpacked
from service.contract.data_shape import shape_of
from service.contract.history_format import value_format
from service.contract.plan import Plan, plan
from service.contract.recording_spec import Statistic
from service.contract.spec import ExperimentSpec

DEPTH = 49  # with the output layer: 100 variables
STEPS = 10_000
ROUNDS = 15
TARGET_MS = 200
READ = (
    Statistic.GRADIENT_NORM,
    Statistic.UPDATE_RATIO,
    Statistic.ZERO_FRACTION,
    Statistic.MEAN_ABS_GRADIENT,
    Statistic.WEIGHT_VARIANCE,
    Statistic.SATURATED_FRACTION,
    Statistic.DEAD_FRACTION,
    Statistic.FRACTION_BEYOND_SAGEMAKER,
    Statistic.FRACTION_BEYOND_DEEPDIAGNOSIS,
    Statistic.FRACTION_NOT_POSITIVE,
    Statistic.INACTIVE_UNITS,
)


def measure(rounds: int = ROUNDS, steps: int = STEPS) -> Part:
    """Measure each pack, from packed bytes to the diagnosis, on a run with a fault.

    Args:
        rounds: Number of measured rounds.
        steps: Number of steps of the run.
    """
    planned = _plan(steps)
    packed, loss = _recorded(planned, steps)
    rows = []
    for rules in PACKS:
        seconds = []
        for _ in range(rounds + 1):  # the first one warms up
            began = time.perf_counter()
            diagnose(_evidence(planned, packed, loss), rules)
            seconds.append(time.perf_counter() - began)
        rows.append(
            (f"`{rules}`", f"{1e3 * statistics.median(seconds[1:]):.0f} ms", f"{1e3 * max(seconds[1:]):.0f} ms")
        )
    size = sum(len(values) for values in packed.values()) / 2**20
    text = (
        f"{len(planned.variables)} variables, {steps:,} steps, {len(READ)} statistics, {size:.0f} MiB, "
        f"{rounds} rounds; target: below {TARGET_MS} ms.\n\n{table(('pack', 'median', 'longest'), rows)}"
    )
    return Part([], text)


def _plan(steps: int) -> Plan:
    spec = ExperimentSpec.model_validate(
        {
            "model": {"kind": "mlp", "depth": DEPTH, "activation": "sigmoid"},
            "data": {"source": "digits", "scale": "standard"},
            "training": {"epochs": steps // 45},
            "recording": {"statistics": [statistic.value for statistic in READ]},
        }
    ).resolved()
    return plan(spec, shape_of(spec.data))


def _recorded(planned: Plan, steps: int) -> tuple[dict[Statistic, bytes], bytes]:
    """A history packed as the worker packs it: a gradient that loses 0.6 decades per layer, and random fractions."""
    random, values = np.random.default_rng(0), value_format(planned.spec.training.precision)
    packed = {}
    for statistic in READ:
        variables = planned.rows_of(statistic)
        if statistic.of_activations or statistic is Statistic.ZERO_FRACTION:
            numbers = random.random((steps, len(variables)))
        else:
            depth = np.array([variable.depth for variable in variables])
            numbers = 10.0 ** (0.6 * (depth - DEPTH) + random.normal(0, 0.2, (steps, len(variables))))
        packed[statistic] = numbers.astype(values).tobytes()
    return packed, np.full(steps, 2.3).astype(values).tobytes()


def _evidence(planned: Plan, packed: dict[Statistic, bytes], loss: bytes) -> Evidence:
    read = {statistic: unpacked(raw, planned, statistic, 0) for statistic, raw in packed.items()}
    return Evidence(
        planned,
        read[Statistic.GRADIENT_NORM].steps,
        {statistic: gradients.values for statistic, gradients in read.items()},
        series(loss, value_format(planned.spec.training.precision)),
        {},
    )
