"""XLA programs on disk: what another process compiled, or this one before a restart, is loaded instead.

TensorFlow keeps a file for each program and reads no other machine's; the folder therefore has one part for each
version of TensorFlow and kind of processor, and is cut to a size when a worker starts.
"""

import hashlib
import logging
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MOST_BYTES = 512 * 2**20

logger = logging.getLogger(__name__)


def flags_for(directory: Path) -> str:
    """What `TF_XLA_FLAGS` has to be when TensorFlow is imported, to keep programs here; '' where it cannot."""
    part = directory / _fingerprint()
    if any(character.isspace() for character in str(part)):
        return ""  # TensorFlow would read the path as several flags
    try:
        part.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.warning("programs are not kept on disk: %s", error)
        return ""
    return f"--tf_xla_persistent_cache_directory={part}"


def cut(directory: Path, most_bytes: int = MOST_BYTES) -> None:
    """Delete the programs that were written first, until the rest is no larger than this."""
    files = sorted((path for path in directory.rglob("*.pb")), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > most_bytes:
            with suppress(OSError):  # another worker may be at the same
                path.unlink()


def _fingerprint() -> str:
    names = ("tensorflow", "tensorflow-cpu", "keras")
    return hashlib.sha256(" ".join([*map(_version, names), platform.machine(), _features()]).encode()).hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _features() -> str:
    """What the processor can do, as Linux says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
