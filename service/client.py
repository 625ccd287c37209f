"""The client as it was imported before 0.2.0: use `from gradflow import Client`."""

from gradflow.client import DEFAULT_URL, ApiError, Client, GradflowClient, Unreachable

__all__ = ["DEFAULT_URL", "ApiError", "Client", "GradflowClient", "Unreachable"]
