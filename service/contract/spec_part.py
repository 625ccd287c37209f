"""What all parts of a spec have in common."""

from pydantic import BaseModel, ConfigDict

MAX_INTEGER = 2**53 - 1  # the largest integer that every JSON reader keeps exact


class SpecPart(BaseModel):
    """Frozen; unknown fields, wrong types, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
