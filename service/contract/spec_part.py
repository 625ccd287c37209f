"""The base class of all parts of a spec."""

from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

MAX_INTEGER = 2**53 - 1  # the largest integer that every JSON reader keeps exact


TAGS = ("kind", "source", "name")  # fields that tell the alternatives of a union apart


class SpecPart(BaseModel):
    """A frozen model that refuses unknown fields, wrong types, NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _whole_numbers(cls, fields: Any) -> Any:
        """Read 5.0 as the integer 5, because JSON has only one kind of number."""
        return {name: _whole(value) for name, value in fields.items()} if isinstance(fields, dict) else fields

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Mark tags as required in the JSON schema; their defaults are for Python code only."""
        described = handler(schema)
        part = handler.resolve_ref_schema(described)
        tags = [tag for tag in TAGS if "const" in part.get("properties", {}).get(tag, {})]
        if tags:
            part["required"] = list(dict.fromkeys([*tags, *part.get("required", ())]))
        return described


def _whole(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole(item) for item in value] if any(isinstance(item, float) for item in value) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value
