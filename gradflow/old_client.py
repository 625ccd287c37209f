"""The names of the client's module before 0.2.0, kept for one version; use `gradflow.Client`."""

from collections.abc import Iterator
from pathlib import Path

from gradflow.client import ANALYSIS_TIMEOUT_S as COMPUTED_WITHIN_S
from gradflow.client import (
    ENDED,
    MEDIA_TYPES,
    POLL_EVERY_S,
    STUDY_POLL_EVERY_S,
    Client,
    experiment_path,
    given,
    study_path,
)
from gradflow.client import READY_TIMEOUT_S as READY_WITHIN_S
from gradflow.connection import DEFAULT_URL, Json
from gradflow.connection import MAX_ATTEMPTS as BUSY_TRIES
from gradflow.errors import ApiError, Unreachable

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


class GradflowClient(Client):
    """A client whose methods pass every further query parameter on to the API, as they did before 0.2.0."""

    def list(self, **query: str | int | None) -> Iterator[Json]:
        """See `Client.list`."""
        return self._pages("experiments", given(**query))

    def gradients(self, experiment_id: str, **query: str | int | None) -> Json:
        """See `Client.gradients`."""
        return self._connection.json("GET", experiment_path(experiment_id, "/gradients"), params=given(**query))

    def upload(self, file: Path, **query: str | int | None) -> Json:
        """See `Client.upload`."""
        return self._upload(file, given(**query))

    def study(self, study_id: str, **query: str | int | None) -> Json:
        """See `Client.study`."""
        return self._connection.json("GET", study_path(study_id), params=given(**query))

    def study_csv(self, study_id: str, **query: str | int | None) -> str:
        """See `Client.study_csv`."""
        csv = given(**query) | {"format": "csv"}
        return self._connection.request("GET", study_path(study_id), params=csv).text
