"""The performance targets and their measured results."""

from dataclasses import dataclass

from benchmarks.report.paired import Ratio


@dataclass(frozen=True)
class Target:
    """A measured quantity and its limit: an upper limit, or a lower one if `at_least` is set."""

    what: str
    limit: float
    unit: str = ""
    at_least: bool = False

    def met(self, measured: Ratio) -> bool:
        """Whether the median satisfies the limit."""
        return measured.median >= self.limit if self.at_least else measured.median <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"


@dataclass(frozen=True)
class Result:
    """One row of the table of targets: a measured case, or the reason why it was not measured."""

    target: str  # key in TARGETS
    case: str
    measured: Ratio | str


TARGETS = {
    "1": Target("a step with every variable's gradient norm, relative to `model.fit` without recording", 0.12),
    "2": Target("the same, relative to a hand-written JAX scan that also returns every norm", 1.2),
    "3": Target("a step with recording of the default statistics, relative to one without", 1.03),
    "4": Target("from POST to succeeded with a new architecture, relative to build + compile + `model.fit`", 0.30),
    "5": Target("the same with a known architecture", 0.05),
    "6": Target("from POST to the first stored step, depth 100 relative to depth 10, both new", 3),
    "7": Target("a study of 64 runs on two trainers, relative to 64 × build + compile + `model.fit`", 0.06),
    "7a": Target("the same for a study of 320 runs: 2 presets × 5 depths × 4 learning rates × 8 seeds", 0.06),
    "7b": Target("that study on two trainers, relative to one", 0.6),
    "8": Target("bytes in Redis per recorded value", 4.5),
    "9": Target("`GET gradients` of 1,000,000 values as JSON, relative to `json.dumps` of the list", 0.2),
    "10": Target("resident memory of the API process after its start, without TensorFlow", 120, " MB"),
    "11": Target("POST throughput, relative to a bare FastAPI route with one Redis write", 0.5, at_least=True),
    "12": Target("a step with checkpoints and leases, relative to one without", 1.02),
}
