"""The health check of a worker's container: exit status 0 if a trainer of this host sends heartbeats."""

import socket
import sys

from service.contract.errors import StoreUnavailable
from service.store.connection import connect
from service.store.experiments import Experiments
from service.store.settings import RedisSettings


def main() -> int:
    """The exit status; reads Redis and imports no TensorFlow."""
    try:
        names = Experiments(connect(RedisSettings())).trainer_names()
    except StoreUnavailable as error:
        print(error, file=sys.stderr)  # noqa: T201 - Docker shows the output of health checks
        return 1
    return 0 if any(name.startswith(f"{socket.gethostname()}:") for name in names) else 1


if __name__ == "__main__":
    sys.exit(main())
