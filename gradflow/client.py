"""The HTTP API from Python."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import quote

import httpx2

DEFAULT_URL = "http://127.0.0.1:8000"
POLL_EVERY_S = 0.2
STUDY_POLL_EVERY_S = 0.5
BUSY_TRIES = 10  # of a request that comes too soon after others of its key
COMPUTED_WITHIN_S = 120.0  # theory of a deep network, behind others who ask for theirs
READY_WITHIN_S = 5.0  # something else may hold the port and never answer
ENDED = ("succeeded", "failed", "cancelled")

Json: TypeAlias = dict[str, Any]


class ApiError(Exception):
    """The service refused; `errors` names the fields at fault, where there are any."""

    def __init__(self, status: int, title: str, detail: str | None, errors: list[Json]) -> None:
        super().__init__(f"{status} {title}" + (f": {detail}" if detail else ""))
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors


class Unreachable(Exception):
    """Nobody answers at the address, or not gradflow."""


MEDIA_TYPES = {".csv": "text/csv", ".npz": "application/zip", ".parquet": "application/vnd.apache.parquet"}


class Client:
    """A connection to a running gradflow; use it as a context manager.

    The API key, where one is needed, is that of `GRADFLOW_API_KEY` unless said. Every method raises ApiError where the
    service refuses and Unreachable where it does not answer.
    """

    def __init__(self, url: str = DEFAULT_URL, key: str | None = None) -> None:
        self.url = url.rstrip("/")
        try:
            address = httpx2.URL(self.url)
        except httpx2.InvalidURL as error:
            raise Unreachable(f"{url!r} is no address ({error}); give one like {DEFAULT_URL}") from error
        if address.scheme not in ("http", "https") or not address.host:
            raise Unreachable(f"{url!r} is no address; give one like {DEFAULT_URL}")
        key = (key or os.environ.get("GRADFLOW_API_KEY", "")).strip()
        self._http = httpx2.Client(base_url=address, timeout=30)
        if key:
            self._http.headers["Authorization"] = f"Bearer {key}"

    def __enter__(self) -> "GradflowClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def submit(self, spec: Mapping[str, Any] | str, key: str | None = None) -> Json:
        """Queue an experiment: a spec, or the name of a preset; once, however often it is sent with one `key`."""
        return self._json("POST", "/v1/experiments", json=_body(spec), headers=_keyed(key))

    def get(self, experiment_id: str) -> Json:
        """An experiment as it stands."""
        return self._json("GET", _path(experiment_id))

    def list(self, **query: str | int | None) -> Iterator[Json]:
        """Experiments, newest first, page by page; `status`, `tag`, `study`, `limit` (a page's) as the API has them."""
        return self._pages("experiments", {name: value for name, value in query.items() if value is not None})

    def gradients(self, experiment_id: str, **query: str | int) -> Json:
        """A statistic so far (gradient norms unless `statistic` says another): one row a variable, one value a step."""
        return self._json("GET", _path(experiment_id, "/gradients"), params=query)

    def metrics(self, experiment_id: str) -> Json:
        """Loss and accuracy of each epoch, loss of each step."""
        return self._json("GET", _path(experiment_id, "/metrics"))

    def theory(self, experiment_id: str) -> Json:
        """What theory predicts of a run's step 0, beside what was measured."""
        return self._json("GET", _path(experiment_id, "/theory"), timeout=COMPUTED_WITHIN_S)

    def predict(self, spec: Mapping[str, Any] | str) -> Json:
        """What theory predicts of a spec, or of a preset, without training it."""
        return self._json("POST", "/v1/theory", json=_body(spec), timeout=COMPUTED_WITHIN_S)

    def diagnosis(self, experiment_id: str, rules: str | None = None) -> Json:
        """What is wrong with a run so far, by the pack of rules that is named, gradflow's own unless one is."""
        query = {} if rules is None else {"rules": rules}
        return self._json("GET", _path(experiment_id, "/diagnosis"), params=query, timeout=COMPUTED_WITHIN_S)

    def model(self, experiment_id: str) -> bytes:
        """The trained model as a `.keras` file, where `recording.keep_model` was set."""
        return self._request("GET", _path(experiment_id, "/model")).content

    def upload(self, file: Path, **query: str | None) -> Json:
        """Keep the data set in a .csv, .npz or .parquet file; `name`, `label` and `task` as the API has them."""
        media_type = MEDIA_TYPES.get(file.suffix.lower())
        if media_type is None:
            raise ValueError(f"{file.name}: a data set is a file that ends in {', '.join(MEDIA_TYPES)}")
        given = {name: value for name, value in query.items() if value is not None}
        headers = {"content-type": media_type}
        return self._json("POST", "/v1/datasets", params=given, content=file.read_bytes(), headers=headers)

    def submit_study(self, study: Mapping[str, Any], key: str | None = None) -> Json:
        """Queue a study: a base spec and axes; once, however often it is sent with one `key`."""
        return self._json("POST", "/v1/studies", json=dict(study), headers=_keyed(key))

    def study(self, study_id: str, **query: str) -> Json:
        """A study as it stands, with its table; `steps` says where slope and level are taken."""
        return self._json("GET", _path(study_id, of="studies"), params=query)

    def study_csv(self, study_id: str, **query: str) -> str:
        """The table of a study as CSV."""
        return self._request("GET", _path(study_id, of="studies"), params={**query, "format": "csv"}).text

    def studies(self, limit: int = 50) -> Iterator[Json]:
        """Studies, newest first, page by page, without their tables."""
        return self._pages("studies", {"limit": limit})

    def cancel_study(self, study_id: str) -> Json:
        """Cancel what is queued of a study, and ask what runs to stop."""
        return self._json("POST", _path(study_id, "/cancel", of="studies"))

    def delete_study(self, study_id: str) -> None:
        """Forget a study and its experiments, none of which may run."""
        self._request("DELETE", _path(study_id, of="studies"))

    def watch_study(self, study_id: str) -> Iterator[Json]:
        """The study, again and again until all its experiments have ended."""
        while True:
            study = self.study(study_id)
            yield study
            if study["status"] in ENDED:
                return
            time.sleep(STUDY_POLL_EVERY_S)

    def cancel(self, experiment_id: str) -> Json:
        """Ask a run to end."""
        return self._json("POST", _path(experiment_id, "/cancel"))

    def delete(self, experiment_id: str) -> None:
        """Forget an experiment that does not run."""
        self._request("DELETE", _path(experiment_id))

    def ready(self) -> bool:
        """Whether gradflow answers at the address and can train."""
        return bool(self.trainers())

    def trainers(self) -> int | None:
        """Training processes that are ready; None where what answers, if anything does, is not gradflow."""
        try:
            answer = self._http.get("/readyz", timeout=READY_WITHIN_S).json()
        except (httpx2.RequestError, ValueError):
            return None
        count = answer.get("trainers") if isinstance(answer, dict) else None
        return count if isinstance(count, int) else None

    def watch(self, experiment_id: str) -> Iterator[Json]:
        """The experiment, again and again until it has ended."""
        while True:
            experiment = self.get(experiment_id)
            yield experiment
            if experiment["status"] in ENDED:
                return
            time.sleep(POLL_EVERY_S)

    def events(self, experiment_id: str) -> Iterator[tuple[str, Json]]:
        """What happens to an experiment until it has ended: `progress`, `gradients` and `status`, with their data.

        Comes back by itself where the connection is lost.
        """
        seen, ended = "", False
        while not ended:
            headers = {"last-event-id": seen} if seen else {}
            try:
                with self._http.stream("GET", _path(experiment_id, "/events"), headers=headers, timeout=60) as answer:
                    if answer.is_error:
                        answer.read()
                        self._require_success(answer)
                    ended = answer.status_code == httpx2.codes.NO_CONTENT
                    name = ""
                    for line in answer.iter_lines():
                        field, _, value = line.partition(": ")
                        if field == "event":
                            name = value
                        elif field == "data":
                            data = json.loads(value)
                            yield name, data
                            ended = ended or (name == "status" and data["status"] in ENDED)
                        elif field == "id":
                            seen = value
            except httpx2.RequestError:
                time.sleep(POLL_EVERY_S)

    def wait(self, experiment_id: str) -> Json:
        """The experiment once it has ended."""
        *_, last = self.watch(experiment_id)
        return last

    def _pages(self, things: str, query: dict[str, str | int]) -> Iterator[Json]:
        while True:
            page = self._json("GET", f"/v1/{things}", params=query)
            yield from page[things]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def _json(self, method: str, path: str, **options: Any) -> Json:
        answer = _object(self._request(method, path, **options))
        if answer is None:
            raise Unreachable(f"what answers at {self.url} is not gradflow")
        return answer

    def _request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            response = self._patiently(method, path, **options)
        except httpx2.RequestError as error:
            raise Unreachable(f"nobody answers at {self.url} ({error}); start gradflow with `gradflow up`") from error
        self._require_success(response)
        return response

    @staticmethod
    def _require_success(response: httpx2.Response) -> None:
        if response.is_error:
            problem = _object(response) or {}
            raise ApiError(
                response.status_code,
                problem.get("title", response.reason_phrase),
                problem.get("detail"),
                problem.get("errors", []),
            )

    def _patiently(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Asks again when the service says so: a request that came too soon has had no effect."""
        for _ in range(BUSY_TRIES):
            response = self._http.request(method, path, **options)
            pause = response.headers.get("retry-after", "")
            if response.status_code != httpx2.codes.TOO_MANY_REQUESTS or not pause.isdecimal():
                break
            time.sleep(int(pause))
        return response


def _body(spec: Mapping[str, Any] | str) -> Json:
    return {"model": spec} if isinstance(spec, str) else dict(spec)


def _keyed(key: str | None) -> dict[str, str]:
    return {} if key is None else {"idempotency-key": key}


def _path(an_id: str, part: str = "", of: str = "experiments") -> str:
    return f"/v1/{of}/{quote(an_id, safe='')}{part}"


def _object(response: httpx2.Response) -> Json | None:
    """The JSON object of an answer; None where it is something else."""
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


GradflowClient = Client  # its name before 0.2.0, kept for one version
