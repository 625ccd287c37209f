"""HTTP requests to the service, with its errors as exceptions."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import httpx2

from gradflow.errors import ApiError, Unreachable

DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_S = 30.0
STREAM_TIMEOUT_S = 60.0  # the service sends a comment more often than that
MAX_ATTEMPTS = 10  # for a request that exceeds the rate limit of its key

Json: TypeAlias = dict[str, Any]


class Connection:
    """A pool of HTTP connections to one service."""

    def __init__(self, url: str, key: str | None) -> None:
        """Check the address; nothing is sent yet.

        Args:
            url: address of the service; only http and https.
            key: API key, or None.

        Raises:
            Unreachable: the address is not valid.
        """
        self.url = url.rstrip("/")
        try:
            address = httpx2.URL(self.url)
        except httpx2.InvalidURL as error:
            raise Unreachable(f"{url!r} is not a valid address ({error}); expected one like {DEFAULT_URL}") from error
        if address.scheme not in ("http", "https") or not address.host:
            raise Unreachable(f"{url!r} is not a valid address; expected one like {DEFAULT_URL}")
        self._http = httpx2.Client(base_url=address, timeout=TIMEOUT_S)
        if key:
            self._http.headers["Authorization"] = f"Bearer {key}"

    def close(self) -> None:
        """Close all connections of the pool."""
        self._http.close()

    def json(self, method: str, path: str, **options: Any) -> Json:
        """Send a request and return the JSON object of the response.

        Args:
            method: HTTP method.
            path: path below the address of the service.
            **options: keyword arguments of `httpx2.Client.request`.

        Raises:
            ApiError: the service refused the request.
            Unreachable: nothing answers, or the response is not a JSON object.
        """
        body = json_object(self.request(method, path, **options))
        if body is None:
            raise Unreachable(f"the server at {self.url} is not gradflow")
        return body

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send a request; while the rate limit is exceeded, wait as long as the service says and send it again.

        Raises:
            ApiError: the service refused the request.
            Unreachable: nothing answers.
        """
        try:
            for _ in range(MAX_ATTEMPTS):
                response = self._http.request(method, path, **options)
                pause = response.headers.get("retry-after", "")
                if response.status_code != httpx2.codes.TOO_MANY_REQUESTS or not pause.isdecimal():
                    break
                time.sleep(int(pause))
        except httpx2.RequestError as error:
            raise Unreachable(f"nothing answers at {self.url} ({error}); start gradflow with `gradflow up`") from error
        require_success(response)
        return response

    def probe(self, path: str, timeout_s: float) -> Json | None:
        """The JSON object of a response of any status; None if nothing answers or the body is something else."""
        try:
            return json_object(self._http.get(path, timeout=timeout_s))
        except httpx2.RequestError:
            return None

    @contextmanager
    def stream(self, path: str, headers: dict[str, str]) -> Iterator[httpx2.Response]:
        """Open a response whose lines are read as they arrive.

        Raises:
            ApiError: the service refused the request.
            httpx2.RequestError: the connection failed, now or while lines are read.
        """
        with self._http.stream("GET", path, headers=headers, timeout=STREAM_TIMEOUT_S) as response:
            if response.is_error:
                response.read()
                require_success(response)
            yield response


def require_success(response: httpx2.Response) -> None:
    """Raise ApiError for a response with status 400 or above."""
    if response.is_error:
        problem = json_object(response) or {}
        raise ApiError(
            response.status_code,
            problem.get("title", response.reason_phrase),
            problem.get("detail"),
            problem.get("errors", []),
        )


def json_object(response: httpx2.Response) -> Json | None:
    """The JSON object in the body of a response, or None if the body is something else."""
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
