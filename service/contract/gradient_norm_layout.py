"""How a run's gradient norms lie in their series, in a few characters: a table over many runs needs no plan of each."""

from dataclasses import dataclass
from functools import cached_property

from service.contract.history_format import bytes_per_value, value_format
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic

KERNEL, OTHER = "k", "-"


@dataclass(frozen=True)
class GradientNormLayout:
    """The rows of `gradient_norm`: one value a column for each recorded step."""

    values: str  # as NumPy names the format
    value_bytes: int
    every: int  # steps from one row to the next
    columns: str  # KERNEL or OTHER for each variable, from input to output

    @classmethod
    def of(cls, planned: Plan) -> "GradientNormLayout":
        """Of a run with this plan."""
        precision = planned.spec.training.precision
        roles = (variable.role for variable in planned.rows_of(Statistic.GRADIENT_NORM))
        columns = "".join(KERNEL if role == "kernel" else OTHER for role in roles)
        return cls(value_format(precision), bytes_per_value(precision), planned.spec.recording.every, columns)

    @classmethod
    def parsed(cls, text: str) -> "GradientNormLayout":
        """From what `str` gives."""
        values, value_bytes, every, columns = text.split(" ")
        return cls(values, int(value_bytes), int(every), columns)

    def __str__(self) -> str:
        return f"{self.values} {self.value_bytes} {self.every} {self.columns}"

    @property
    def row_bytes(self) -> int:
        """Of one recorded step."""
        return len(self.columns) * self.value_bytes

    @cached_property
    def kernels(self) -> list[int]:
        """Which columns are kernels'."""
        return [i for i, kind in enumerate(self.columns) if kind == KERNEL]

    def bytes_of(self, step: int) -> tuple[int, int]:
        """First and last byte of the row recorded at this step or before it; of the last row for −1, and so on."""
        if step < 0:
            return step * self.row_bytes, -1 if step == -1 else (step + 1) * self.row_bytes - 1
        row = step // self.every
        return row * self.row_bytes, (row + 1) * self.row_bytes - 1
