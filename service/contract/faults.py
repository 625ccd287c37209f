"""Validation errors of pydantic as locations, messages and codes, for every answer that refuses a spec."""

import re
from collections.abc import Mapping
from typing import Any

from service.contract.errors import InvalidSpec
from service.contract.study_spec import AXIS

# What a check of several fields together begins with: the one at fault, below the place that is checked.
FIELD_BELOW = re.compile(r"([a-z_]+(?:\.[a-z_]+)*): (.+)", re.DOTALL)

# Where a spec may be one of several kinds, pydantic names the kind as if it were a field.
UNIONS = {
    ("body", "model"),
    ("body", "data"),
    ("body", "training", "optimizer"),
    ("body", "training", "learning_rate_schedule"),
    *(("body", "model", "mlp", f"{part}_initializer") for part in ("kernel", "bias", "output_kernel")),
    ("body", "model", "mlp", "residual_scale"),
}


def finding(error: Mapping[str, Any]) -> dict[str, Any]:
    """A location, a message and a code of one of pydantic's errors."""
    location, message = _path(error["loc"]), error["msg"]
    code = InvalidSpec.code if error["type"] == "value_error" else "schema"  # the one is a check of our own
    message = message.removeprefix("Value error, ")
    if error["type"] in ("value_error", AXIS) and (below := FIELD_BELOW.fullmatch(message)):
        location, message = f"{location}.{below[1]}", below[2]
    return {"location": location, "message": message, "code": code}


def _path(location: tuple[int | str, ...]) -> str:
    """`body.model.depth` for ("body", "model", "baseline", "depth")."""
    return ".".join(str(part) for i, part in enumerate(location) if location[:i] not in UNIONS)
