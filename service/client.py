"""The client under its module name before 0.2.0, kept for one version; use `gradflow`."""

import contextlib
import warnings

from gradflow.client import DEFAULT_URL, ApiError, Client, GradflowClient, Unreachable

__all__ = ["DEFAULT_URL", "ApiError", "Client", "GradflowClient", "Unreachable"]

# Where warnings are errors, the import still succeeds.
with contextlib.suppress(DeprecationWarning):
    warnings.warn("service.client is deprecated: use `from gradflow import Client`", DeprecationWarning, stacklevel=2)
