"""The HTTP API from Python."""

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, TypeAlias

import httpx2

DEFAULT_URL = "http://127.0.0.1:8000"
POLL_EVERY_S = 0.2
ENDED = ("succeeded", "failed", "cancelled")

Json: TypeAlias = dict[str, Any]


class ApiError(Exception):
    """The service refused; `errors` names the fields at fault, where there are any."""

    def __init__(self, status: int, title: str, detail: str | None, errors: list[Json]) -> None:
        super().__init__(f"{status} {title}" + (f": {detail}" if detail else ""))
        self.status = status
        self.errors = errors


class Unreachable(Exception):
    """Nobody answers at the address."""


class GradflowClient:
    """A connection to a running gradflow; use it as a context manager.

    Every method raises ApiError where the service refuses and Unreachable where it does not answer.
    """

    def __init__(self, url: str = DEFAULT_URL) -> None:
        self.url = url.rstrip("/")
        self._http = httpx2.Client(base_url=self.url, timeout=30)

    def __enter__(self) -> "GradflowClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def submit(self, spec: Mapping[str, Any] | str) -> Json:
        """Queue an experiment: a spec, or the name of a preset."""
        return self._json("POST", "/v1/experiments", json={"model": spec} if isinstance(spec, str) else dict(spec))

    def get(self, experiment_id: str) -> Json:
        """An experiment as it stands."""
        return self._json("GET", f"/v1/experiments/{experiment_id}")

    def list(self, **query: str | int | None) -> Iterator[Json]:
        """Experiments, newest first, page by page; `status`, `tag` and `limit` (a page's size) as the API has them."""
        given = {name: value for name, value in query.items() if value is not None}
        while True:
            page = self._json("GET", "/v1/experiments", params=given)
            yield from page["experiments"]
            if page["next_cursor"] is None:
                return
            given["cursor"] = page["next_cursor"]

    def gradients(self, experiment_id: str, **query: str | int) -> Json:
        """Gradient norms so far; `values` has one row a variable and one value a step."""
        return self._json("GET", f"/v1/experiments/{experiment_id}/gradients", params=query)

    def metrics(self, experiment_id: str) -> Json:
        """Loss and accuracy of each epoch, loss of each step."""
        return self._json("GET", f"/v1/experiments/{experiment_id}/metrics")

    def cancel(self, experiment_id: str) -> Json:
        """Ask a run to end."""
        return self._json("POST", f"/v1/experiments/{experiment_id}/cancel")

    def delete(self, experiment_id: str) -> None:
        """Forget an experiment that does not run."""
        self._request("DELETE", f"/v1/experiments/{experiment_id}")

    def ready(self) -> bool:
        """Whether gradflow answers at the address and can train."""
        try:
            return self._http.get("/readyz").status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    def watch(self, experiment_id: str) -> Iterator[Json]:
        """The experiment, again and again until it has ended."""
        while True:
            experiment = self.get(experiment_id)
            yield experiment
            if experiment["status"] in ENDED:
                return
            time.sleep(POLL_EVERY_S)

    def wait(self, experiment_id: str) -> Json:
        """The experiment once it has ended."""
        *_, last = self.watch(experiment_id)
        return last

    def _json(self, method: str, path: str, **options: Any) -> Json:
        answer: Json = self._request(method, path, **options).json()
        return answer

    def _request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx2.TransportError as error:
            raise Unreachable(f"nobody answers at {self.url} ({error}); start gradflow with `gradflow up`") from error
        if response.is_error:
            problem = response.json() if "json" in response.headers.get("content-type", "") else {}
            raise ApiError(
                response.status_code,
                problem.get("title", response.reason_phrase),
                problem.get("detail"),
                problem.get("errors", []),
            )
        return response
