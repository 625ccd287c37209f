"""The layout of the series of gradient norms in a short text, so that a table over many runs needs no plans."""

from dataclasses import dataclass
from functools import cached_property

from service.contract.history_format import bytes_per_value, value_format
from service.contract.plan import Plan
from service.contract.recording_spec import Statistic

KERNEL, OTHER = "k", "-"


@dataclass(frozen=True)
class GradientNormLayout:
    """The series `gradient_norm`: one row per recorded step, one column per variable."""

    values: str  # NumPy format of a value
    value_bytes: int
    every: int  # optimizer steps between two rows
    columns: str  # KERNEL or OTHER per variable, from input to output

    @classmethod
    def of(cls, planned: Plan) -> "GradientNormLayout":
        """Return the layout of a run with this plan."""
        precision = planned.spec.training.precision
        roles = (variable.role for variable in planned.rows_of(Statistic.GRADIENT_NORM))
        columns = "".join(KERNEL if role == "kernel" else OTHER for role in roles)
        return cls(value_format(precision), bytes_per_value(precision), planned.spec.recording.every, columns)

    @classmethod
    def parsed(cls, text: str) -> "GradientNormLayout":
        """Parse what `str` returned."""
        values, value_bytes, every, columns = text.split(" ")
        return cls(values, int(value_bytes), int(every), columns)

    def __str__(self) -> str:
        """Return the layout as the store keeps it."""
        return f"{self.values} {self.value_bytes} {self.every} {self.columns}"

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return len(self.columns) * self.value_bytes

    @cached_property
    def kernels(self) -> list[int]:
        """Indices of the columns of kernels."""
        return [i for i, kind in enumerate(self.columns) if kind == KERNEL]

    def bytes_of(self, step: int) -> tuple[int, int]:
        """Return the positions of the first and the last byte of a row, as Redis's GETRANGE takes them.

        Args:
            step: An optimizer step, whose row is the last one recorded at this step or before; −1 is the last row.
        """
        if step < 0:
            return step * self.row_bytes, -1 if step == -1 else (step + 1) * self.row_bytes - 1
        row = step // self.every
        return row * self.row_bytes, (row + 1) * self.row_bytes - 1
