"""The client library and the command line of gradflow; the server is in the packages `service` and `worker`."""

from gradflow.client import Client
from gradflow.errors import ApiError, GradflowError, Unreachable
from gradflow.old_client import GradflowClient

__version__ = "0.2.0"
__all__ = ["ApiError", "Client", "GradflowClient", "GradflowError", "Unreachable", "__version__"]
