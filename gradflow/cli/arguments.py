"""Files that the command line is given; each error is one of usage."""

import json
import os
from pathlib import Path

import typer

from gradflow.client import Json

PRESETS = ("baseline", "improved")


def spec_in(name: str) -> Json | str:
    """The spec in a file, or the name of a preset."""
    if name in PRESETS:
        return name
    return object_in(name, f"a file or one of {', '.join(PRESETS)}")


def object_in(name: str, wanted: str) -> Json:
    """The JSON object in a file."""
    try:
        spec = json.loads(Path(name).read_text("utf-8"))
        json.dumps(spec, allow_nan=False, ensure_ascii=False).encode()  # Python reads more than JSON allows
    except OSError as error:
        raise typer.BadParameter(f"{name}: {error.strerror}; give {wanted}") from error
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{name} is not JSON: {error}") from error
    if not isinstance(spec, dict):
        raise typer.BadParameter(f"{name} holds no spec: a JSON object is needed")
    return spec


def require_writable(file: Path, option: str) -> None:
    """Said at once, not after an hour."""
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise typer.BadParameter(f"{file} cannot be written; give another file with {option}")
