"""Compiled XLA programs on disk, which another process, or this one after a restart, loads instead of compiling.

TensorFlow keeps one file per program and does not check which machine compiled it. The directory therefore has one
part per version of TensorFlow and kind of processor, and it is trimmed to a maximum size when a worker starts.
"""

import hashlib
import logging
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

MAX_BYTES = 512 * 2**20

logger = logging.getLogger(__name__)


def flags_for(directory: Path) -> str:
    """The value of `TF_XLA_FLAGS` with which TensorFlow, once imported, keeps its programs in this directory.

    Creates the part of the directory for this machine; returns '' and logs a warning if that is impossible.
    """
    part = directory / _fingerprint()
    try:
        part.mkdir(parents=True, exist_ok=True)
        str(part).encode()  # TensorFlow requires UTF-8
    except (OSError, UnicodeEncodeError) as error:
        logger.warning("compiled programs are not kept on disk: %s", error)
        return ""
    # The parser of these flags takes quoted values; in double quotes, a backslash quotes the next character.
    quoted = str(part).replace("\\", r"\\").replace('"', r"\"")
    return f'--tf_xla_persistent_cache_directory="{quoted}"'


def trim(directory: Path, max_bytes: int = MAX_BYTES) -> None:
    """Delete the oldest programs until the others take at most `max_bytes`."""
    files = sorted((path for path in directory.rglob("*.pb")), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for path in files:
        total += path.stat().st_size
        if total > max_bytes:
            with suppress(OSError):  # another worker may have deleted it
                path.unlink()


def _fingerprint() -> str:
    """A name for this version of TensorFlow and this kind of processor."""
    names = ("tensorflow", "tensorflow-cpu", "keras")
    return hashlib.sha256(" ".join([*map(_version, names), platform.machine(), _features()]).encode()).hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _features() -> str:
    """The processor's instruction sets, as Linux lists them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
