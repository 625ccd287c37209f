"""The HTTP API from Python: one method per endpoint, and iterators that follow a run to its end."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from gradflow.connection import DEFAULT_URL, Connection, Json
from gradflow.errors import ApiError, GradflowError, Unreachable

__all__ = ["DEFAULT_URL", "ENDED", "ApiError", "Client", "GradflowError", "Json", "Unreachable"]

POLL_EVERY_S = 0.2
STUDY_POLL_EVERY_S = 0.5
ANALYSIS_TIMEOUT_S = 120.0  # theory and diagnosis of a deep network are computed on request, after earlier requests
READY_TIMEOUT_S = 5.0  # another program may listen on the port and never answer
ENDED = ("succeeded", "failed", "cancelled")
MEDIA_TYPES = {".csv": "text/csv", ".npz": "application/zip", ".parquet": "application/vnd.apache.parquet"}


class Client:
    """A connection to a running gradflow service; use it as a context manager, or call `close`.

    Every method that sends a request may raise two errors (`gradflow.errors`): Unreachable if nothing answers or the
    server at the address is not gradflow, and ApiError if the service refuses the request. Besides the status codes
    that a method names, ApiError may have 401 (an API key is needed), 429 (rate limit) or 503 (Redis is unavailable).
    A request that exceeds the rate limit of its API key is sent again after the pause that the service asks for.
    Answers are the JSON objects that docs/api.md describes.

    Attributes:
        url: address of the service, without a slash at the end.
    """

    def __init__(self, url: str = DEFAULT_URL, key: str | None = None) -> None:
        """Check the address; nothing is sent yet.

        Args:
            url: address of the service.
            key: API key; the variable GRADFLOW_API_KEY if None.

        Raises:
            Unreachable: the address is not valid.
        """
        self._connection = Connection(url, (key or os.environ.get("GRADFLOW_API_KEY", "")).strip())
        self.url = self._connection.url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        self._connection.close()

    # Experiments

    def submit(self, spec: Mapping[str, Any] | str, key: str | None = None) -> Json:
        """Queue an experiment.

        Args:
            spec: a spec, or the name of a preset ("baseline", "improved").
            key: idempotency key; requests with the same key within a day create one experiment.

        Returns:
            The experiment, with its id, its resolved spec and `warnings`.

        Raises:
            ApiError: 422 if the spec is not valid, 503 if the service accepts no more for now.
        """
        return self._connection.json("POST", "/v1/experiments", json=_spec_body(spec), headers=_idempotency(key))

    def get(self, experiment_id: str) -> Json:
        """Read an experiment.

        Args:
            experiment_id: id of the experiment.

        Returns:
            Status, progress, outcome, times and the resolved spec.

        Raises:
            ApiError: 404 if there is no such experiment.
        """
        return self._connection.json("GET", experiment_path(experiment_id))

    def list(
        self, *, status: str | None = None, tag: str | None = None, study: str | None = None, limit: int | None = None
    ) -> Iterator[Json]:
        """Iterate over experiments, newest first.

        Args:
            status: only experiments with this status.
            tag: only experiments with this tag.
            study: only experiments of the study with this id.
            limit: experiments per request, 1 to 200; the iterator continues over all pages.

        Yields:
            Each experiment.

        Raises:
            ApiError: 422 if an argument is not valid.
        """
        return self._pages("experiments", given(status=status, tag=tag, study=study, limit=limit))

    def gradients(
        self,
        experiment_id: str,
        *,
        statistic: str | None = None,
        role: str | None = None,
        layer: str | None = None,
        start: int | None = None,
        stop: int | None = None,
        max_points: int | None = None,
    ) -> Json:
        """Read a recorded statistic, also while the experiment runs.

        Args:
            experiment_id: id of the experiment.
            statistic: name of a recorded statistic; "gradient_norm" if None.
            role: "kernel", "bias", … or "all"; "kernel" if None.
            layer: glob that layer names must match, such as "dense_1*".
            start: first step.
            stop: step after the last one.
            max_points: largest number of points per variable.

        Returns:
            `variables` from input to output, `steps`, and `values` [variables][steps]; None for a value that is not
            finite.

        Raises:
            ApiError: 404 if there is no such experiment or it does not record the statistic, 422 for an invalid range.
        """
        query = given(statistic=statistic, role=role, layer=layer, start=start, stop=stop, max_points=max_points)
        return self._connection.json("GET", experiment_path(experiment_id, "/gradients"), params=query)

    def metrics(self, experiment_id: str) -> Json:
        """Read the metrics of an experiment, also while it runs.

        Args:
            experiment_id: id of the experiment.

        Returns:
            Training and validation metrics per epoch, and the loss per step.

        Raises:
            ApiError: 404 if there is no such experiment.
        """
        return self._connection.json("GET", experiment_path(experiment_id, "/metrics"))

    def theory(self, experiment_id: str) -> Json:
        """Compare the gradient norms that theory predicts at step 0 with the measured ones.

        Args:
            experiment_id: id of the experiment.

        Returns:
            `layers` with predicted and measured log10 norms, slope, level, phase and caveats.

        Raises:
            ApiError: 404 if there is no such experiment, or no theory of its network.
        """
        return self._analysis("GET", experiment_path(experiment_id, "/theory"))

    def predict(self, spec: Mapping[str, Any] | str) -> Json:
        """Predict the gradient norms of a network at step 0 without training it.

        Args:
            spec: a spec, or the name of a preset.

        Returns:
            The same as `theory`, without measured values.

        Raises:
            ApiError: 422 if the spec is not valid, or there is no theory of its network.
        """
        return self._analysis("POST", "/v1/theory", json=_spec_body(spec))

    def diagnosis(self, experiment_id: str, rules: str | None = None) -> Json:
        """Diagnose what an experiment has recorded so far.

        Args:
            experiment_id: id of the experiment.
            rules: rule pack: "gradflow", "sagemaker", "autotrainer" or "deepdiagnosis"; "gradflow" if None.

        Returns:
            `verdict`, `findings` with their remedies, and `not_evaluated` rules.

        Raises:
            ApiError: 404 if there is no such experiment, 422 if there is no such rule pack.
        """
        return self._analysis("GET", experiment_path(experiment_id, "/diagnosis"), params=given(rules=rules))

    def model(self, experiment_id: str) -> bytes:
        """Download the trained model.

        Args:
            experiment_id: id of an experiment with `recording.keep_model` that has succeeded.

        Returns:
            The content of a `.keras` file.

        Raises:
            ApiError: 404 if there is no such experiment or it keeps no model.
        """
        return self._connection.request("GET", experiment_path(experiment_id, "/model")).content

    def cancel(self, experiment_id: str) -> Json:
        """Request cancellation of an experiment; it takes effect within about a second.

        Args:
            experiment_id: id of the experiment.

        Returns:
            The experiment; unchanged if it has ended already.

        Raises:
            ApiError: 404 if there is no such experiment.
        """
        return self._connection.json("POST", experiment_path(experiment_id, "/cancel"))

    def delete(self, experiment_id: str) -> None:
        """Delete an experiment and its history.

        Args:
            experiment_id: id of the experiment.

        Raises:
            ApiError: 404 if there is no such experiment, 409 if it is running.
        """
        self._connection.request("DELETE", experiment_path(experiment_id))

    def watch(self, experiment_id: str) -> Iterator[Json]:
        """Poll an experiment until it has ended.

        Args:
            experiment_id: id of the experiment.

        Yields:
            The experiment at each poll; the last one has ended.

        Raises:
            ApiError: 404 if there is no such experiment.
        """
        return _until_ended(lambda: self.get(experiment_id), POLL_EVERY_S)

    def wait(self, experiment_id: str) -> Json:
        """Wait until an experiment has ended.

        Args:
            experiment_id: id of the experiment.

        Returns:
            The experiment; its status is "succeeded", "failed" or "cancelled".

        Raises:
            ApiError: 404 if there is no such experiment.
        """
        *_, last = self.watch(experiment_id)
        return last

    def events(self, experiment_id: str) -> Iterator[tuple[str, Json]]:
        """Receive the server-sent events of an experiment until it has ended.

        A lost connection is opened again and continues after the last event, as long as it takes.

        Args:
            experiment_id: id of the experiment.

        Yields:
            The name of an event ("progress", "gradients" or "status") and its data.

        Raises:
            ApiError: 404 if there is no such experiment, 503 if too many clients receive events.
        """
        last_event_id, ended = "", False
        while not ended:
            headers = {"last-event-id": last_event_id} if last_event_id else {}
            try:
                with self._connection.stream(experiment_path(experiment_id, "/events"), headers) as response:
                    ended = response.status_code == httpx2.codes.NO_CONTENT
                    name = ""
                    for line in response.iter_lines():
                        field, _, value = line.partition(": ")
                        if field == "event":
                            name = value
                        elif field == "data":
                            data = json.loads(value)
                            yield name, data
                            ended = ended or (name == "status" and data["status"] in ENDED)
                        elif field == "id":
                            last_event_id = value
            except httpx2.RequestError:
                time.sleep(POLL_EVERY_S)

    # Data sets

    def upload(self, file: Path, *, name: str | None = None, label: str | None = None, task: str | None = None) -> Json:
        """Upload a data set.

        Args:
            file: a .csv file with a header, an .npz file of x and y, or a .parquet file.
            name: a name for people.
            label: name of the label column; the last column if None.
            task: "classification", "regression" or "auto" (from the labels); "auto" if None.

        Returns:
            The data set, with the id that `{"source": "upload", "dataset_id": id}` refers to.

        Raises:
            ValueError: the suffix of the file is none of these.
            OSError: the file cannot be read.
            ApiError: 413 if the file is too large, 422 if it is not a data set, 503 if too many are uploaded at once.
        """
        return self._upload(file, given(name=name, label=label, task=task))

    def datasets(self, limit: int = 50) -> Iterator[Json]:
        """Iterate over uploaded data sets, newest first.

        Args:
            limit: data sets per request, 1 to 200; the iterator continues over all pages.

        Yields:
            Each data set.

        Raises:
            ApiError: 422 if `limit` is out of range.
        """
        return self._pages("datasets", {"limit": limit})

    def dataset(self, dataset_id: str) -> Json:
        """Read the description of a data set.

        Args:
            dataset_id: id of the data set.

        Returns:
            Size, label column, task and classes.

        Raises:
            ApiError: 404 if there is no such data set.
        """
        return self._connection.json("GET", _dataset_path(dataset_id))

    def delete_dataset(self, dataset_id: str) -> None:
        """Delete a data set; experiments that trained on it stay.

        Args:
            dataset_id: id of the data set.

        Raises:
            ApiError: 404 if there is no such data set, 409 while an experiment that has not ended uses it.
        """
        self._connection.request("DELETE", _dataset_path(dataset_id))

    # Studies

    def submit_study(self, study: Mapping[str, Any], key: str | None = None) -> Json:
        """Queue a study: one experiment per combination of the values of its axes.

        Args:
            study: `base`, a spec, and `axes`, a list of values per dotted path of a field.
            key: idempotency key; requests with the same key within a day create one study.

        Returns:
            The study, with its id and `warnings`.

        Raises:
            ApiError: 422 if a combination is not valid, 503 if the service accepts no more for now.
        """
        return self._connection.json("POST", "/v1/studies", json=dict(study), headers=_idempotency(key))

    def study(self, study_id: str, *, steps: str | None = None) -> Json:
        """Read a study and its table, also while it runs.

        Args:
            study_id: id of the study.
            steps: steps at which the table has slope and level, separated by commas; "0,-1" if None.

        Returns:
            Status, counts, progress, axes, and `table` with one row per combination without its seeds.

        Raises:
            ApiError: 404 if there is no such study, 422 if `steps` is not valid.
        """
        return self._connection.json("GET", study_path(study_id), params=given(steps=steps))

    def study_csv(self, study_id: str, *, steps: str | None = None) -> str:
        """Read the table of a study as CSV.

        Args:
            study_id: id of the study.
            steps: see `study`.

        Returns:
            CSV with a header line.

        Raises:
            ApiError: 404 if there is no such study, 422 if `steps` is not valid.
        """
        query = given(steps=steps, format="csv")
        return self._connection.request("GET", study_path(study_id), params=query).text

    def studies(self, limit: int = 50) -> Iterator[Json]:
        """Iterate over studies, newest first.

        Args:
            limit: studies per request, 1 to 200; the iterator continues over all pages.

        Yields:
            Each study without its table.

        Raises:
            ApiError: 422 if `limit` is out of range.
        """
        return self._pages("studies", {"limit": limit})

    def cancel_study(self, study_id: str) -> Json:
        """Cancel the queued experiments of a study and request cancellation of the running ones.

        Args:
            study_id: id of the study.

        Returns:
            The study.

        Raises:
            ApiError: 404 if there is no such study.
        """
        return self._connection.json("POST", study_path(study_id, "/cancel"))

    def delete_study(self, study_id: str) -> None:
        """Delete a study and all its experiments.

        Args:
            study_id: id of the study.

        Raises:
            ApiError: 404 if there is no such study, 409 if one of its experiments is running.
        """
        self._connection.request("DELETE", study_path(study_id))

    def watch_study(self, study_id: str) -> Iterator[Json]:
        """Poll a study until all its experiments have ended.

        Args:
            study_id: id of the study.

        Yields:
            The study at each poll; the last one has ended.

        Raises:
            ApiError: 404 if there is no such study.
        """
        return _until_ended(lambda: self.study(study_id), STUDY_POLL_EVERY_S)

    # Readiness

    def ready(self) -> bool:
        """Check that the service can train.

        Returns:
            Whether gradflow answers and at least one trainer is ready. Raises nothing if it does not answer.
        """
        return bool(self.trainers())

    def trainers(self) -> int | None:
        """Count the trainers, which are the processes that train.

        Returns:
            Number of trainers that are ready; None if nothing answers or the server is not gradflow.
        """
        readiness = self._connection.probe("/readyz", READY_TIMEOUT_S) or {}
        count = readiness.get("trainers")
        return count if isinstance(count, int) else None

    def _analysis(self, method: str, path: str, **options: Any) -> Json:
        return self._connection.json(method, path, timeout=ANALYSIS_TIMEOUT_S, **options)

    def _upload(self, file: Path, query: dict[str, Any]) -> Json:
        media_type = MEDIA_TYPES.get(file.suffix.lower())
        if media_type is None:
            raise ValueError(f"{file.name}: the name of a data set must end in {', '.join(MEDIA_TYPES)}")
        headers = {"content-type": media_type}
        return self._connection.json("POST", "/v1/datasets", params=query, content=file.read_bytes(), headers=headers)

    def _pages(self, collection: str, query: dict[str, Any]) -> Iterator[Json]:
        while True:
            page = self._connection.json("GET", f"/v1/{collection}", params=query)
            yield from page[collection]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]


def _spec_body(spec: Mapping[str, Any] | str) -> Json:
    return {"model": spec} if isinstance(spec, str) else dict(spec)


def _until_ended(read: Callable[[], Json], every_s: float) -> Iterator[Json]:
    """What `read` answers at each poll; the last answer has ended."""
    while True:
        answer = read()
        yield answer
        if answer["status"] in ENDED:
            return
        time.sleep(every_s)


def _idempotency(key: str | None) -> dict[str, str]:
    return {} if key is None else {"idempotency-key": key}


def given(**query: str | int | None) -> dict[str, Any]:
    """The query parameters that are not None."""
    return {name: value for name, value in query.items() if value is not None}


def experiment_path(experiment_id: str, part: str = "") -> str:
    """The path of an experiment, or of a part of it."""
    return f"/v1/experiments/{quote(experiment_id, safe='')}{part}"


def _dataset_path(dataset_id: str) -> str:
    return f"/v1/datasets/{quote(dataset_id, safe='')}"


def study_path(study_id: str, part: str = "") -> str:
    """The path of a study, or of a part of it."""
    return f"/v1/studies/{quote(study_id, safe='')}{part}"
