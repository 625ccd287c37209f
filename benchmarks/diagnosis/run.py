"""A trained run and its file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from service.contract.data_shape import shape_of
from service.contract.plan import Plan, plan
from service.contract.recording_spec import Statistic
from service.contract.spec import ExperimentSpec

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Run:
    """Everything that a diagnosis reads, and the loss and accuracy of a constant output."""

    spec: ExperimentSpec
    steps: npt.NDArray[np.int64]  # [recorded steps]
    series: Mapping[Statistic, Floats]  # [rows of Plan.rows_of, recorded steps]
    step_loss: Floats  # [steps]
    epochs: Mapping[str, Floats]  # metric -> [epochs]
    diverged_at_step: int | None
    trivial_loss: float  # validation loss of the constant output that is best on the training samples
    trivial_accuracy: float  # validation accuracy of the most frequent training class; NaN for regression
    first_inputs: Floats | None = None  # [batch, columns…] at step 0; None if there is no theory of the network
    first_errors: Floats | None = None  # [batch, outputs], batch size times the derivative of the loss by the logits

    @cached_property
    def plan(self) -> Plan:
        """The plan of the spec."""
        return plan(self.spec, shape_of(self.spec.data))

    def save(self, path: Path) -> None:
        """Write a compressed NPZ file atomically."""
        fields = {
            "spec": self.spec.model_dump(mode="json"),
            "diverged_at_step": self.diverged_at_step,
            "trivial_loss": self.trivial_loss,
            "trivial_accuracy": self.trivial_accuracy,
        }
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "said": np.frombuffer(json.dumps(fields).encode(), np.uint8),  # the name in files of earlier runs
            "steps": self.steps,
            "step_loss": self.step_loss,
            **{f"series.{name}": values for name, values in self.series.items()},
            **{f"epochs.{name}": values for name, values in self.epochs.items()},
        }
        if self.first_inputs is not None and self.first_errors is not None:
            arrays |= {"first_rows": self.first_inputs, "first_errors": self.first_errors}
        unfinished = path.with_suffix(".part")
        with unfinished.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Run":
        """Read a file that `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        fields = json.loads(arrays.pop("said").tobytes())
        return cls(
            ExperimentSpec.model_validate(fields.pop("spec")),
            arrays["steps"],
            {Statistic(n.removeprefix("series.")): v for n, v in arrays.items() if n.startswith("series.")},
            arrays["step_loss"],
            {n.removeprefix("epochs."): v for n, v in arrays.items() if n.startswith("epochs.")},
            **fields,
            first_inputs=arrays.get("first_rows"),
            first_errors=arrays.get("first_errors"),
        )
