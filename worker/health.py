"""Exits with 0 if a training process of this host lives: the health check of a worker's container."""

import socket
import sys

from service.store.connection import connect
from service.store.experiments import Experiments
from service.store.settings import RedisSettings


def main() -> int:
    """The exit status; reads Redis and imports no TensorFlow."""
    names = Experiments(connect(RedisSettings())).trainer_names()
    return 0 if any(name.startswith(f"{socket.gethostname()}:") for name in names) else 1


if __name__ == "__main__":
    sys.exit(main())
