"""A description of the machine on which a measurement was made."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.peers.peer import version_of

OURS = {"tensorflow-cpu": "TensorFlow", "tensorflow": "TensorFlow", "keras": "Keras"}
PEERS = {"jax": "JAX", "torch": "PyTorch"}


def described() -> str:
    """One sentence with the date, the processor, the load and the versions."""
    load = os.getloadavg()[0]
    versions = [f"Python {platform.python_version()}", *_versions()]
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return f"{when}: {_processor()}, {os.cpu_count()} cores, load before the run {load:.1f}. {', '.join(versions)}."


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB (10⁶ bytes); Linux only."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"process {pid} has no resident memory")


def _versions() -> list[str]:
    found = []
    for package, name in OURS.items():
        try:
            found.append(f"{name} {version(package)}")
        except PackageNotFoundError:
            continue
    return found + [f"{name} {have}" for package, name in PEERS.items() if (have := version_of(package))]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
