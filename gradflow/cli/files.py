"""Files that are named on the command line; a file that cannot be used is a usage error, with exit status 2."""

import json
import os
from pathlib import Path

import typer

from gradflow.client import Json

PRESETS = ("baseline", "improved")


def read_spec(name: str) -> Json | str:
    """Read the spec in a file.

    Args:
        name: path of a JSON file, or the name of a preset.

    Returns:
        The JSON object, or the name of the preset.

    Raises:
        typer.BadParameter: the file cannot be read or does not contain a JSON object.
    """
    if name in PRESETS:
        return name
    return read_object(name, f"expected a file or one of {', '.join(PRESETS)}")


def read_object(name: str, expected: str) -> Json:
    """Read the JSON object in a file.

    Args:
        name: path of the file.
        expected: what the command accepts, for the error message.

    Raises:
        typer.BadParameter: the file cannot be read or does not contain a JSON object.
    """
    try:
        content = json.loads(Path(name).read_text("utf-8"))
        # The parser of Python accepts NaN, infinity and unpaired surrogates, which JSON does not have.
        json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
    except OSError as error:
        raise typer.BadParameter(f"{name}: {error.strerror}; {expected}") from error
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{name} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise typer.BadParameter(f"{name} must contain a JSON object")
    return content


def is_writable(file: Path) -> bool:
    """Whether a file can be created or replaced there; checked before a command starts long work."""
    return not file.is_dir() and os.access(file.parent, os.W_OK)


def require_writable(file: Path, option: str) -> None:
    """Fail early if the output file cannot be written; raises typer.BadParameter."""
    if not is_writable(file):
        raise typer.BadParameter(f"{file} cannot be written; choose another file with {option}")
