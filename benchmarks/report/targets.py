"""The targets, and what is measured against them."""

from dataclasses import dataclass

from benchmarks.report.paired import Ratio


@dataclass(frozen=True)
class Target:
    """What is compared, and how much it may be at most (or must be at least)."""

    what: str
    limit: float
    unit: str = ""
    at_least: bool = False

    def met(self, measured: Ratio) -> bool:
        """Whether the median keeps to the limit."""
        return measured.median >= self.limit if self.at_least else measured.median <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"


@dataclass(frozen=True)
class Result:
    """One row of the page's table: a measured case of a target, or why there is none."""

    target: str  # a key of TARGETS
    case: str
    measured: Ratio | str


TARGETS = {
    "1": Target("a step with every variable's gradient norm, against `model.fit` that records nothing", 0.12),
    "2": Target("the same against a hand-written JAX scan that gives every norm too", 1.2),
    "3": Target("recording on against off, default statistics", 1.03),
    "4": Target("POST to succeeded, architecture not seen before, against build + compile + `model.fit`", 0.30),
    "5": Target("the same, architecture seen before", 0.05),
    "6": Target("POST to the first stored step, depth 100 against depth 10, neither seen before", 3),
    "7": Target("a study of 64 runs on two trainers, against 64 × build + compile + `model.fit`", 0.06),
    "7a": Target("a study of 320 runs: 2 presets × 5 depths × 4 rates × 8 seeds, the same way", 0.06),
    "7b": Target("that study on two trainers, against one", 0.6),
    "8": Target("Redis bytes for a recorded value", 4.5),
    "9": Target("`GET gradients` of 1,000,000 values as JSON, against `json.dumps` of the list", 0.2),
    "10": Target("resident memory of the API process after start, without TensorFlow", 120, " MB"),
    "11": Target("POST throughput, against a bare FastAPI route with one Redis write", 0.5, at_least=True),
    "12": Target("a step with checkpoints and leases, against one without", 1.02),
}
