"""Compare theory with runs of the service, fifty seeds per network: `python -m benchmarks.theory runs`."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from benchmarks.report import machine
from benchmarks.report.page import table
from gradflow.cli.figures.theory_figure import draw_theory
from gradflow.client import Client, Json
from tests.support.running_stack import RunningStack

SEEDS, WORKERS = 50, 2
WANTED = 0.95  # fraction of the layers that should agree
SIZE: Json = {"kind": "mlp", "depth": 11, "width": 64}
ONE_STEP: Json = {"data": {"source": "random", "samples": 40}, "training": {"epochs": 1, "batch_size": 32}}
HEADER = (
    *("network", "predicted slope", "measured slope", "layers that agree", "profile, RMS"),
    *("within one spread", "within two spreads"),
)
Floats = npt.NDArray[np.float64]


def _tanh(gain: float) -> Json:
    initializer = {"name": "variance_scaling", "scale": gain, "mode": "fan_in", "distribution": "untruncated_normal"}
    return {**SIZE, "activation": "tanh", "kernel_initializer": initializer}


# Networks by the figure that shows them, docs/images/theory-….png.
NETWORKS: Mapping[str, Mapping[str, Json]] = {
    "presets": {name: {**SIZE, "kind": name} for name in ("baseline", "improved")},
    "tanh": {f"tanh, σ_w² = {gain:g}": _tanh(gain) for gain in (0.5, 1.0, 2.25, 9.0)},
    "activations": {
        "ReLU, He": {**SIZE, "activation": "relu", "kernel_initializer": "he_normal"},
        "ReLU, Glorot": {**SIZE, "activation": "relu", "kernel_initializer": "glorot_uniform"},
        "SELU, LeCun": {**SIZE, "activation": "selu", "kernel_initializer": "lecun_normal"},
        "GELU, He": {**SIZE, "activation": "gelu", "kernel_initializer": "he_normal"},
    },
    "residuals": {
        "residual": {**SIZE, "residual": "post_activation"},
        "residual, 1/√depth": {**SIZE, "residual": "post_activation", "residual_scale": "1/sqrt(depth)"},
        "pre-activation residual": {**SIZE, "residual": "pre_activation"},
    },
    "layer-normalization": {
        "layer normalization": {**SIZE, "normalization": "layer"},
        "layer normalization before ReLU": {
            **SIZE, "normalization": "layer", "normalization_position": "before_activation"
        },
    },
}  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """The answers of the service for one network."""

    a_priori: Json  # from POST /v1/theory
    runs: Sequence[Json]  # from GET …/theory, one per seed: the conditional form next to the measurement


@dataclass(frozen=True)
class Agreement:
    """The agreement of predictions with measurements."""

    outside: Mapping[
        int, tuple[float, float]
    ]  # layer index -> (mean error over runs, spread), if the error exceeds the spread
    layers: float  # fraction of the layers whose mean error is within their spread
    profile_error: float  # decades, RMS over layers of the mean error over runs
    within_one: float  # fraction of runs times layers whose error is within one spread
    within_two: float

    @classmethod
    def of(cls, measured: Floats, predicted: Floats, spread: Floats) -> "Agreement":
        """Compare log10 norms [runs, layers]; a value that was not measured (NaN) counts as a disagreement."""
        error = measured - predicted
        mean, allowed = error.mean(axis=0), spread.mean(axis=0)
        outside = np.flatnonzero(~(np.abs(mean) <= allowed))
        return cls(
            outside={int(at): (float(mean[at]), float(allowed[at])) for at in outside},
            layers=1 - len(outside) / len(mean),
            profile_error=float(np.sqrt(np.square(mean).mean())),
            within_one=float((np.abs(error) <= spread).mean()),
            within_two=float((np.abs(error) <= 2 * spread).mean()),
        )


def measure(pictures: Path | None) -> str:
    """Run everything, which takes some minutes, and describe the result; draw figures if a folder is given."""
    where = machine.described()
    with TemporaryDirectory() as directory:
        running = RunningStack(Path(directory), WORKERS)
        running.start()
        try:
            running.wait_until_ready()
            with Client(running.url) as client:
                answers = {picture: _answers(client, networks) for picture, networks in NETWORKS.items()}
        finally:
            running.end()
    if pictures is not None:
        for picture, found in answers.items():
            draw_theory({name: one.runs for name, one in found.items()}, pictures / f"theory-{picture}.png")
    return f"{where}\n\n{described({name: one for found in answers.values() for name, one in found.items()})}"


def described(answers: Mapping[str, Answers]) -> str:
    """Describe the agreement of both forms with the runs: a table and the disagreements of each."""
    runs = {len(one.runs) for one in answers.values()}
    parts = [f"{len(answers)} networks, {', '.join(map(str, sorted(runs)))} runs each with different seeds."]
    for form, title in (("conditional", "Conditional on batch and errors"), ("a_priori", "A priori")):
        found = {name: _agreement(one, form) for name, one in answers.items()}
        missed = [f"{name} ({one.layers * 100:.0f} %)" for name, one in found.items() if one.layers < WANTED]
        verdict = f"fewer than {WANTED * 100:.0f} % of the layers agree in: {', '.join(missed)}"
        if not missed:
            verdict = f"at least {WANTED * 100:.0f} % of the layers agree in every network"
        parts += [f"{title}: {verdict}.", table(HEADER, _rows(answers, found, form))]
        if outside := "; ".join(_outside(answers, found)):
            parts.append(f"Layers whose mean error exceeds the predicted spread, both in decades: {outside}.")
    return "\n\n".join(parts)


def _answers(client: Client, networks: Mapping[str, Json]) -> dict[str, Answers]:
    """Run one study per network; queue all before waiting for the first."""
    specs = {name: {"model": model, **ONE_STEP} for name, model in networks.items()}
    axes = {"training.seed": list(range(SEEDS))}
    studies = {
        name: client.submit_study({"name": name, "base": spec, "axes": axes})["id"] for name, spec in specs.items()
    }
    found = {}
    for name, study in studies.items():
        *_, ended = client.watch_study(study)
        runs = list(client.list(study=study, limit=SEEDS))
        if ended["status"] != "succeeded" or len(runs) != SEEDS:
            raise RuntimeError(f"{name}: the study {ended['status']}, with {len(runs)} runs")
        found[name] = Answers(client.predict(specs[name]), [client.theory(run["id"]) for run in runs])
        print(f"{name}: {SEEDS} runs", file=sys.stderr, flush=True)
    return found


def _agreement(answers: Answers, form: str) -> Agreement:
    predictions = _predictions(answers, form)
    measured = _column(answers.runs, "measured_log10_norm")
    predicted, spread = _column(predictions, "log10_norm"), _column(predictions, "spread")
    # The last column is the output's bias: its gradient is the mean of the given errors, which needs no theory.
    compared = slice(None, -1 if form == "conditional" else None)
    return Agreement.of(measured[:, compared], predicted[:, compared], spread[:, compared])


def _predictions(answers: Answers, form: str) -> Sequence[Json]:
    found = answers.runs if form == "conditional" else [answers.a_priori] * len(answers.runs)
    for one in found:
        if one["form"] != form:
            raise RuntimeError(f"a prediction is {one['form']}, not {form}: {one['caveats']}")
    return found


def _outside(answers: Mapping[str, Answers], found: Mapping[str, Agreement]) -> Iterator[str]:
    for name, one in found.items():
        layers = _layers(answers[name].a_priori)
        for at, (error, spread) in one.outside.items():
            yield f"{layers[at]['name']} of {name}, {error:+.3f} with a spread of {spread:.3f}".replace("-0", "−0")


def _layers(answer: Json) -> list[Json]:
    return [layer for layer in answer["layers"] if layer["role"] in ("kernel", "bias")]


def _column(answers: Sequence[Json], field: str) -> Floats:
    """A field of all kernels and biases [answers, layers]; NaN for null."""
    return np.array([[layer[field] for layer in _layers(one)] for one in answers], np.float64)


def _rows(answers: Mapping[str, Answers], found: Mapping[str, Agreement], form: str) -> Iterator[tuple[str, ...]]:
    for name, one in found.items():
        predicted = np.mean([prediction["slope"] for prediction in _predictions(answers[name], form)])
        measured = np.mean([run["measured_slope"] for run in answers[name].runs])
        yield (
            name if one.layers >= WANTED else f"{name} (**misses**)",
            f"{predicted:.3f}".replace("-", "−"),
            f"{measured:.3f}".replace("-", "−"),
            f"{one.layers * 100:.0f} %",
            f"{one.profile_error:.3f}",
            f"{one.within_one * 100:.0f} %",
            f"{one.within_two * 100:.0f} %",
        )
