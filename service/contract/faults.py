"""A fault: what is wrong with one field of a request. The HTTP layer only renders it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Code = Literal["schema", "rule", "limit", "json", "file"]  # docs/api.md, "Errors"

AXIS = "axis"  # the type of pydantic error about an axis that the JSON schema of a study expresses as well

# The message of a check over several fields may begin with the field at fault, relative to the checked part.
_FIELD_FIRST = re.compile(r"([a-z_]+(?:\.[a-z_]+)*): (.+)", re.DOTALL)

# Pydantic adds the chosen kind to the path of these fields, which have several kinds.
_UNIONS = {
    ("body", "model"),
    ("body", "data"),
    ("body", "training", "optimizer"),
    ("body", "training", "learning_rate_schedule"),
    *(("body", "model", "mlp", f"{part}_initializer") for part in ("kernel", "bias", "output_kernel")),
    ("body", "model", "mlp", "residual_scale"),
}


@dataclass(frozen=True)
class Excess:
    """A value that is larger than a limit allows."""

    limit: str
    value: int
    maximum: int


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a request."""

    location: str  # dotted, from the part of the request: body.training.epochs, query.label, header.idempotency-key
    message: str
    code: Code
    excess: Excess | None = None  # for the code `limit`


def fault_of(error: Mapping[str, Any]) -> Fault:
    """Return the fault that one of pydantic's errors describes; its `loc` begins with the part of the request."""
    location, message = _path(error["loc"]), error["msg"].removeprefix("Value error, ")
    code: Code = "rule" if error["type"] == "value_error" else "schema"  # our validators raise ValueError
    if error["type"] in ("value_error", AXIS) and (found := _FIELD_FIRST.fullmatch(message)):
        location, message = f"{location}.{found[1]}", found[2]
    return Fault(location, message, code)


def _path(location: tuple[int | str, ...]) -> str:
    """Return `body.model.depth` for ("body", "model", "baseline", "depth")."""
    return ".".join(str(part) for i, part in enumerate(location) if location[:i] not in _UNIONS)
