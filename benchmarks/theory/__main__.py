"""Compare theory with simulated networks and with runs, and write docs/theory.md: `python -m benchmarks.theory`."""

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from benchmarks.report.page import table
from benchmarks.theory import runs as theory_runs
from service.analysis.profile import slope
from service.analysis.theory import Prediction, predict, preflight
from service.contract.data_shape import shape_of
from service.contract.model_spec import HiddenActivation, Mlp
from service.contract.plan import Plan, plan
from service.contract.spec import ExperimentSpec
from tests.support.simulated_networks import SimulatedNetwork

PAGE = Path(__file__).parents[2] / "docs" / "theory.md"
PLACE = "<!-- written by `python -m benchmarks.theory`: {} -->\n"
END = "<!-- to here -->"
Json = dict[str, Any]
Array = npt.NDArray[np.float64]

DEEP, WIDE = 20, 256
CLOSE, CLOSE_SLOPE, CLOSE_PART = 0.1, 0.01, 0.03  # decades RMS; decades per layer; fraction of the slope
FIRST_SEED = 50_000  # different from the seeds of the tests
INITIALIZERS: Mapping[str, Any] = {
    **{name: name for name in ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform")},
    **{name: name for name in ("lecun_normal", "orthogonal", "random_normal", "truncated_normal", "random_uniform")},
    "variance_scaling": {"name": "variance_scaling", "scale": 1.5, "mode": "fan_out", "distribution": "uniform"},
}
NORMAL = {"name": "normal", "stddev": 0.3}
FORMS: Mapping[str, Json] = {
    "improved": {"activation": "relu", "normalization": "batch"},
    "batch normalization before ReLU": {
        "activation": "relu", "normalization": "batch", "normalization_position": "before_activation"
    },
    "batch normalization, tanh": {"activation": "tanh", "normalization": "batch"},
    "layer normalization": {"activation": "relu", "normalization": "layer"},
    "layer normalization before ReLU": {
        "activation": "relu", "normalization": "layer", "normalization_position": "before_activation"
    },
    "layer normalization, GELU": {"activation": "gelu", "normalization": "layer"},
    "residual": {"activation": "relu", "residual": "post_activation"},
    "residual, 1/√depth": {"activation": "relu", "residual": "post_activation", "residual_scale": "1/sqrt(depth)"},
    "residual, tanh": {"activation": "tanh", "residual": "post_activation"},
    "residual, GELU": {"activation": "gelu", "residual": "post_activation"},
    "residual, batch normalization": {"activation": "relu", "residual": "post_activation", "normalization": "batch"},
    "residual, layer normalization": {"activation": "relu", "residual": "post_activation", "normalization": "layer"},
    "pre-activation residual": {"activation": "relu", "residual": "pre_activation"},
    "pre-activation residual, batch normalization": {
        "activation": "relu", "residual": "pre_activation", "normalization": "batch"
    },
    "pre-activation residual, layer normalization": {
        "activation": "relu", "residual": "pre_activation", "normalization": "layer"
    },
    "dropout 0.3, He": {"activation": "relu", "dropout": 0.3, "kernel_initializer": "he_normal"},
    "random biases, tanh": {"activation": "tanh", "bias_initializer": NORMAL},
    "constant biases, ReLU": {"activation": "relu", "bias_initializer": {"name": "constant", "value": 0.1}},
}  # fmt: skip


@dataclass(frozen=True)
class Agreement:
    """The agreement of a prediction with simulated networks."""

    slope: float
    slope_error: float
    profile_error: float  # decades, RMS over kernels and biases of the error of the mean over networks
    spread: float  # predicted standard deviation in decades, mean over layers
    scatter: float  # measured standard deviation in decades, mean over layers
    within: float  # fraction of the single norms that are within two spreads of their prediction
    caveats: tuple[str, ...]

    @property
    def is_close(self) -> bool:
        """Whether the errors are within the limits that docs/theory.md states."""
        slope_is_close = abs(self.slope_error) <= max(CLOSE_SLOPE, CLOSE_PART * abs(self.slope))
        return slope_is_close and self.profile_error <= CLOSE


def main() -> None:
    """Measure the named parts, or all; this takes some minutes."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.theory", description=__doc__)
    arguments.add_argument("parts", nargs="*", metavar="PART", help="one of agreement, runs, speed; default: all")
    arguments.add_argument("--print", action="store_true", help="print the tables and do not change the page")
    asked = arguments.parse_args()
    pictures = None if asked.print else PAGE.parent / "images"
    parts = {"agreement": _agreement, "runs": lambda: theory_runs.measure(pictures), "speed": _speed}
    if unknown := sorted(set(asked.parts) - set(parts)):
        arguments.error(f"there is no part {', '.join(unknown)}")
    for name in asked.parts or parts:
        text = parts[name]()
        print(text, end="\n\n")
        if not asked.print:
            before, place, after = PAGE.read_text().partition(PLACE.format(name))
            PAGE.write_text(f"{before}{place}\n{text}\n\n{END}{after.partition(END)[2]}")


def plan_of(model: Json, batch: int = 32, data: Json | None = None) -> Plan:
    """The plan of an `mlp` with these fields."""
    parts = {"model": {"kind": "mlp", **model}, "data": data or {"source": "random"}, "training": {"batch_size": batch}}
    spec = ExperimentSpec.model_validate(parts).resolved()
    return plan(spec, shape_of(spec.data))


def agreement(planned: Plan, seeds: int, first_seed: int = FIRST_SEED) -> dict[str, Agreement]:
    """Compare both forms of the prediction with simulated networks on samples of the random data set."""
    a_priori = predict(planned)
    names = [layer.name for layer in a_priori.layers if layer.role in ("kernel", "bias")]
    measured, predicted, spreads = [], [], []
    model = planned.spec.model
    if not isinstance(model, Mlp):
        raise TypeError("the plan must be of an mlp")
    for seed in range(first_seed, first_seed + seeds):
        random = np.random.default_rng(seed)
        rows = random.random((planned.batch_size, planned.shape.columns))
        labels = random.integers(0, 2, (planned.batch_size, 1)).astype(np.float64)
        step = SimulatedNetwork(model, random).step(rows, labels, planned.objective.loss)
        conditional = predict(planned, rows, step.errors)
        measured.append([np.log10(step.norms[name]) for name in names])
        predicted.append(_column(conditional, names, "log10_norm"))
        spreads.append(_column(conditional, names, "spread"))
    norms, expected, spread = np.array(measured), np.array(predicted), np.array(spreads)
    first, first_spread = _column(a_priori, names, "log10_norm"), _column(a_priori, names, "spread")
    return {
        "conditional": _compared(names, norms, expected, spread, conditional.caveats),
        "a_priori": _compared(
            names, norms, np.tile(first, (seeds, 1)), np.tile(first_spread, (seeds, 1)), a_priori.caveats
        ),
    }


def _compared(names: list[str], norms: Array, expected: Array, spread: Array, caveats: tuple[str, ...]) -> Agreement:
    kernels = [at for at, name in enumerate(names) if name.endswith("/kernel")]
    mean, errors = norms.mean(axis=0), norms - expected
    measured_slope = slope(10 ** mean[kernels]) or 0.0
    random = spread > 0  # excludes missing spreads, and the bias of the output, which the errors determine
    return Agreement(
        slope=measured_slope,
        slope_error=(slope(10 ** expected.mean(axis=0)[kernels]) or 0.0) - measured_slope,
        profile_error=float(np.sqrt((np.nanmean(errors, axis=0) ** 2).mean())),
        spread=float(np.nanmean(spread)),
        scatter=float(np.nanstd(errors, axis=0).mean()),
        within=float((np.abs(errors) <= 2 * spread)[random].mean()),
        caveats=caveats,
    )


def _column(prediction: Prediction, names: list[str], field: str) -> Array:
    by_name = {layer.name: getattr(layer, field) for layer in prediction.layers}
    return np.array([by_name.get(name, np.nan) for name in names])


def _agreement() -> str:
    plain = {
        f"{activation}, {name}": {
            "activation": activation, "kernel_initializer": initializer, "depth": DEEP, "width": WIDE
        }
        for activation in get_args(HiddenActivation)
        for name, initializer in INITIALIZERS.items()
    }  # fmt: skip
    found = {name: agreement(plan_of(model), 8)["conditional"] for name, model in plain.items()}
    far = {name: one for name, one in found.items() if not one.is_close}
    errors = np.array([one.profile_error for one in found.values()])
    text = (
        f"Every activation with every initializer, {DEEP} layers of {WIDE} units, 8 networks each, conditional on "
        f"batch and errors: {len(found) - len(far)} of {len(found)} are within the tolerance. The RMS distance of the "
        f"profile from the simulated mean is {np.median(errors):.3f} decades in the median and {errors.max():.3f} at "
        "most."
    )
    if far:
        text += f"\n\nOutside the tolerance:\n\n{table(HEADER, _rows(far))}"
    forms = {name: {**model, "depth": 11, "width": 64} for name, model in FORMS.items()}
    forms |= {f"{a}, Glorot": {"activation": a, "depth": 11, "width": 64} for a in get_args(HiddenActivation)}
    narrow = {name: agreement(plan_of(model), 60) for name, model in forms.items()}
    for form in ("conditional", "a_priori"):
        rows = _rows({name: both[form] for name, both in narrow.items()})
        title = "conditional on batch and errors" if form == "conditional" else "a priori"
        text += f"\n\n11 layers of 64 units, 60 networks each, {title}:\n\n{table(HEADER, rows)}"
    return text


HEADER = (
    *("network", "slope", "error of the slope", "profile, RMS", "predicted spread", "measured spread"),
    "within two spreads",
)


def _rows(found: Mapping[str, Agreement]) -> Iterator[tuple[str, ...]]:
    for name, one in found.items():
        error = f"{one.slope_error:+.4f}".replace("-", "−")
        yield (
            name if one.is_close else f"{name} (**outside**)",
            f"{one.slope:.3f}".replace("-", "−"),
            error,
            f"{one.profile_error:.3f}",
            f"{one.spread:.3f}",
            f"{one.scatter:.3f}",
            f"{one.within * 100:.0f} %",
        )


def _speed() -> str:
    rows = []
    for name, model in {
        "sigmoid": {"activation": "sigmoid"},
        "ReLU": {"activation": "relu"},
        "SELU": {"activation": "selu"},
        "GELU, residual": {"activation": "gelu", "residual": "post_activation"},
        "ReLU, layer normalization": {"normalization": "layer"},
        "ReLU, batch normalization": {"normalization": "batch"},
    }.items():
        for depth in (11, 50):
            planned = plan_of({**model, "depth": depth, "width": 64})
            random = np.random.default_rng(0)
            rows_, errors = random.random((32, 20)), random.integers(0, 2, (32, 1)) - 0.5
            rows.append(
                (
                    f"{name}, {depth} layers",
                    f"{_milliseconds(lambda p=planned: predict(p)):.1f} ms",
                    f"{_milliseconds(lambda p=planned, x=rows_, e=errors: predict(p, x, e)):.1f} ms",
                    f"{_milliseconds(lambda p=planned: preflight(p)):.2f} ms",
                )
            )
    return table(("network", "a priori", "conditional", "warning at submission"), rows)


def _milliseconds(run: Any) -> float:
    """Milliseconds of processor time of one call: the minimum of five, after one that fills the caches."""
    run()
    times = []
    for _ in range(5):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times) * 1e3


if __name__ == "__main__":
    main()
