"""Networks that learn, each with its data and its optimizer; a fault is a change of one of them."""

from dataclasses import dataclass

from benchmarks.diagnosis.networks import Json
from benchmarks.diagnosis.problems import PROBLEMS, Problem


@dataclass(frozen=True)
class Base:
    """The size of a network, and the problem that it learns."""

    on: str
    width: int
    depth: int
    optimizer_name: str = "adam"

    @property
    def problem(self) -> Problem:
        """The problem that it learns."""
        return PROBLEMS[self.on]

    @property
    def learns_classes(self) -> bool:
        """Whether its labels are classes that can be learned."""
        return self.on not in ("random", "diabetes")

    def optimizer(self, factor: float = 1.0) -> Json:
        """Its optimizer, with a multiple of the suitable learning rate."""
        if self.optimizer_name == "sgd":
            return self.problem.momentum(factor)
        rate = {"rmsprop": 0.5, "adagrad": 15.0}.get(self.optimizer_name, 1.0) * self.problem.adam * factor
        return {"name": self.optimizer_name, "learning_rate": float(f"{rate:.4g}")}


# Deep enough for a gradient to vanish or explode. Random labels cannot be learned: only the gradient profile counts
# there.
DEEP = (
    Base("digits", 32, 10),
    Base("breast_cancer", 32, 12, "sgd"),
    Base("moons", 16, 8),
    Base("wine", 16, 14, "rmsprop"),
    Base("random", 32, 12),
    Base("blobs", 32, 16, "sgd"),
    Base("circles", 32, 10),
    Base("diabetes", 32, 8),
    Base("teacher", 64, 8, "sgd"),
)
LEARNABLE = tuple(base for base in DEEP if base.on != "random")
DEEP_CLASSES = tuple(base for base in DEEP if base.learns_classes)
SHALLOW = (
    Base("digits", 32, 3),
    Base("breast_cancer", 32, 2, "rmsprop"),
    Base("moons", 32, 4, "sgd"),
    Base("wine", 16, 3),
    Base("spirals", 64, 4),
    Base("iris", 16, 2, "sgd"),
    Base("diabetes", 32, 3),
    Base("teacher", 32, 3, "adamw"),
    Base("blobs", 32, 5, "adagrad"),
    Base("parity", 32, 3),
)
SHALLOW_CLASSES = tuple(base for base in SHALLOW if base.learns_classes)
UNSCALED = (Base("breast_cancer", 32, 2), Base("wine", 16, 3), Base("digits", 32, 3))  # real columns without scaling
