"""The spec of a study: the spec of an experiment, and axes along which its fields vary."""

import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from service.contract.errors import InvalidSpec
from service.contract.faults import AXIS
from service.contract.spec import Tags
from service.contract.spec_part import SpecPart
from service.contract.strict_json import NOT_TEXT, NOT_TEXT_MESSAGE

Json = dict[str, Any]
Value = Any  # any JSON value

PARTS = ("model", "data", "training", "recording")
PATH = re.compile(rf"({'|'.join(PARTS)})(\.[a-z][a-z0-9_]{{0,59}}){{0,8}}")
SEEDS = ("training.seed", "data.seed")  # axes of replicates
MAX_DEPTH = 64  # levels of lists and objects in a base or an axis
# The part that an axis changes where the base leaves it out, and the field that holds a part given by its name.
DEFAULTS: dict[tuple[str, ...], Json] = {("data",): {"source": "random"}, ("training", "optimizer"): {"name": "adam"}}
KINDS: dict[tuple[str, ...], str] = {("model",): "kind"}  # elsewhere `name`


class StudySpec(SpecPart):
    """A grid of experiments, one per combination of the axes' values; the last axis changes fastest."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "base": {"model": {"kind": "mlp", "depth": 4, "width": 16}, "training": {"epochs": 1}},
                    "axes": {"model.activation": ["sigmoid", "relu"], "training.seed": [0, 1]},
                }
            ]
        }
    )

    name: str | None = Field(None, max_length=120)
    tags: Tags = Field((), description="Tags of the study; the base holds the tags of its experiments.")
    base: Json = Field(description="The spec of an experiment.")
    axes: Annotated[dict[str, list[Value]], Field(min_length=1, max_length=16)] = Field(
        description="Lists of values by the dotted path of a field, such as `model.activation`.",
        json_schema_extra={
            "propertyNames": {"pattern": f"^{PATH.pattern}$"},
            "additionalProperties": {"type": "array", "items": {}, "minItems": 1, "uniqueItems": True},
        },
    )

    @field_validator("base", "axes", mode="before")
    @classmethod
    def _check_json(cls, value: Value) -> Value:
        _require_json(value, MAX_DEPTH)  # also values that an axis replaces, which no spec validates
        return value

    @field_validator("axes")
    @classmethod
    def _check_axes(cls, axes: dict[str, list[Value]]) -> dict[str, list[Value]]:
        for path, values in axes.items():
            if not PATH.fullmatch(path):
                raise _schema_error(
                    f"{path[:80]}: a path must begin with {', '.join(PARTS[:-1])} or {PARTS[-1]} and name a field"
                )
            if not values:
                raise _schema_error(f"{path}: an axis must have at least one value")
            if len({_text(value) for value in values}) < len(values):
                raise _schema_error(f"{path}: the values of an axis must be different")
            above = next((other for other in axes if path.startswith(f"{other}.")), None)
            if above is not None:
                raise ValueError(f"{path}: {above} is an axis as well and contains it; keep one of the two")
        return axes

    @property
    def experiments(self) -> int:
        """Number of experiments."""
        return math.prod(len(values) for values in self.axes.values())

    @property
    def written_bytes(self) -> int:
        """Approximate bytes of the specs of all experiments as JSON."""
        times = {path: self.experiments // len(values) for path, values in self.axes.items()}
        of_axes = sum(times[path] * len(_text(values)) for path, values in self.axes.items())
        return self.experiments * len(_text(self.base)) + of_axes

    def cells(self) -> Iterator["Cell"]:
        """Yield the cells of the grid in order."""
        for values in itertools.product(*self.axes.values()):
            yield Cell(dict(zip(self.axes, values, strict=True)))

    def spec_of(self, cell: "Cell") -> Json:
        """Return the spec of an experiment as a client would write it; parts that no axis changes are shared.

        Raises:
            InvalidSpec: The path of an axis leads through a value that has no fields.
        """
        spec = dict(self.base)
        for path, value in cell.values.items():
            _put(spec, path, value)
        return spec


@dataclass(frozen=True)
class Cell:
    """One combination of the axes' values."""

    values: Json

    @property
    def without_seeds(self) -> Json:
        """The values of all axes but those of seeds."""
        return {path: value for path, value in self.values.items() if path not in SEEDS}

    def __str__(self) -> str:
        """Return the values in one line, as in `model.depth=5, training.seed=0`."""
        return ", ".join(f"{path}={json.dumps(value)[:60]}" for path, value in self.values.items())


def _schema_error(message: str) -> PydanticCustomError:
    return PydanticCustomError(AXIS, "{message}", {"message": message})


def _text(value: Value) -> str:
    """Return the same text for values that are equal in JSON, where 1 and 1.0 are the same number."""
    return json.dumps(_with_whole_numbers(value), sort_keys=True, separators=(",", ":"))


def _with_whole_numbers(value: Value) -> Value:
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_with_whole_numbers(inner) for inner in value]
        case dict():
            return {name: _with_whole_numbers(inner) for name, inner in value.items()}
    return value


def _require_json(value: Value, levels: int) -> None:
    if not levels:
        raise ValueError(f"nested too deeply: more than {MAX_DEPTH} levels")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and infinity are not JSON numbers")
    if isinstance(value, str) and NOT_TEXT.search(value):
        raise ValueError(f"strings {NOT_TEXT_MESSAGE}")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for inner in value:
            _require_json(inner, levels - 1)


def _put(spec: Json, path: str, value: Value) -> None:
    *above, field = path.split(".")
    part = spec
    for i, name in enumerate(above):
        here = tuple(above[: i + 1])
        inner = part.get(name)
        if inner is None:
            inner = DEFAULTS.get(here, {})
        elif isinstance(inner, str):
            inner = {KINDS.get(here, "name"): inner}
        elif not isinstance(inner, dict):
            raise InvalidSpec(("base", *here), f"the axis {path} needs an object here")
        part[name] = part = dict(inner)
    part[field] = value
