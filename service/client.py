"""The client under its module name before 0.2.0, kept for one version; use `gradflow`."""

import contextlib
import warnings

from gradflow.old_client import (
    BUSY_TRIES,
    COMPUTED_WITHIN_S,
    DEFAULT_URL,
    ENDED,
    MEDIA_TYPES,
    POLL_EVERY_S,
    READY_WITHIN_S,
    STUDY_POLL_EVERY_S,
    ApiError,
    GradflowClient,
    Json,
    Unreachable,
)

__all__ = [
    "BUSY_TRIES",
    "COMPUTED_WITHIN_S",
    "DEFAULT_URL",
    "ENDED",
    "MEDIA_TYPES",
    "POLL_EVERY_S",
    "READY_WITHIN_S",
    "STUDY_POLL_EVERY_S",
    "ApiError",
    "GradflowClient",
    "Json",
    "Unreachable",
]

# Where warnings are errors, the import still succeeds.
with contextlib.suppress(DeprecationWarning):
    warnings.warn("service.client is deprecated: use `from gradflow import Client`", DeprecationWarning, stacklevel=2)
