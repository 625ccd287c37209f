"""The data of the benchmark, real and synthetic, each with a suitable batch size, length and learning rates."""

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """Data with settings with which a network learns them."""

    data: Json
    outputs: int
    output_activation: str
    batch_size: int
    epochs: int
    adam: float = 2e-3  # suitable learning rate of Adam
    sgd: float = 0.02  # suitable learning rate of SGD with momentum 0.9

    def spec(self, model: Json, optimizer: Json | None = None, data: Json | None = None, **training: Any) -> Json:
        """The spec of an experiment with this model; `data` and `training` replace single fields."""
        chosen = {"name": "adam", "learning_rate": self.adam} if optimizer is None else optimizer
        length = {"epochs": self.epochs, "batch_size": self.batch_size}
        return {
            "model": model,
            "data": {**self.data, **(data or {})},
            "training": {**length, "optimizer": chosen, **training},
        }

    def momentum(self, factor: float = 1.0) -> Json:
        """Stochastic gradient descent with momentum, with a multiple of the suitable learning rate."""
        return {"name": "sgd", "learning_rate": self.sgd * factor, "momentum": 0.9}


def _real(source: str) -> Json:
    return {"source": source, "scale": "standard"}


PROBLEMS = {
    "digits": Problem(_real("digits"), 10, "softmax", 64, 9),
    "digits_images": Problem({**_real("digits"), "shape": [8, 8, 1]}, 10, "softmax", 64, 9),
    "digits_rows": Problem({**_real("digits"), "shape": [8, 8]}, 10, "softmax", 64, 12, adam=4e-3),
    "breast_cancer": Problem(_real("breast_cancer"), 1, "sigmoid", 32, 12),
    "wine": Problem(_real("wine"), 3, "softmax", 16, 20),
    "iris": Problem(_real("iris"), 3, "softmax", 16, 25, adam=4e-3),
    "diabetes": Problem(_real("diabetes"), 1, "linear", 32, 30, adam=1e-2, sgd=1e-4),
    "moons": Problem({"source": "moons", "samples": 800, "noise": 0.1}, 1, "sigmoid", 32, 15, adam=4e-3, sgd=0.05),
    "circles": Problem({"source": "circles", "samples": 800}, 1, "sigmoid", 32, 15, adam=4e-3, sgd=0.05),
    "spirals": Problem(
        {"source": "two_spirals", "samples": 800, "turns": 0.75}, 1, "sigmoid", 32, 20, adam=5e-3, sgd=0.05
    ),
    "blobs": Problem(
        {"source": "blobs", "samples": 600, "features": 6, "spread": 2.0, "scale": "standard"}, 3, "softmax", 32, 15
    ),
    "parity": Problem({"source": "parity", "samples": 800, "bits": 4}, 1, "sigmoid", 32, 20, adam=5e-3, sgd=0.05),
    "teacher": Problem(
        {"source": "teacher", "samples": 1200, "features": 10, "depth": 1}, 1, "sigmoid", 32, 10, adam=3e-3
    ),
    "random": Problem({"source": "random", "samples": 800, "scale": "standard"}, 1, "sigmoid", 32, 8),
}
