"""The client library: `gradflow.Client` talks to a running gradflow; the server is `service` and `worker`."""

from gradflow.client import ApiError, Client, GradflowClient, Unreachable

__version__ = "0.2.0"
__all__ = ["ApiError", "Client", "GradflowClient", "Unreachable", "__version__"]
