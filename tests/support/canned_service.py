"""A small HTTP server that sends prepared responses, in place of the API."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

JSON, PROBLEM, HTML = "application/json", "application/problem+json", "text/html"
POLL_EVERY_S = 0.01


@dataclass(frozen=True)
class Request:
    """A request that the server has received."""

    target: str  # method and path
    query: dict[str, list[str]]
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        """The parsed body; None if it is empty."""
        return json.loads(self.body) if self.body else None


class CannedService(ThreadingHTTPServer):
    """Sends the prepared responses of each `METHOD /path` in turn, the last one again and again; otherwise 404."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[Request] = []
        self._responses: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}

    def answer(
        self,
        target: str,
        *bodies: Any,
        status: int = 200,
        media_type: str = JSON,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Append responses for `METHOD /path`; a body that is not a string is sent as JSON."""
        self._responses.setdefault(target, []).extend(
            (
                status,
                {"content-type": media_type, **(headers or {})},
                (body if isinstance(body, str) else json.dumps(body)).encode(),
            )
            for body in bodies
        )

    def next_response(self, target: str) -> tuple[int, dict[str, str], bytes]:
        """The response to send now."""
        responses = self._responses.get(target)
        if responses is None:
            problem = {"title": "Not Found", "detail": f"no [/{target}]"}
            return 404, {"content-type": PROBLEM}, json.dumps(problem).encode()
        return responses.pop(0) if len(responses) > 1 else responses[0]


@contextmanager
def running_canned_service() -> Iterator[CannedService]:
    """A server that answers until the block ends."""
    with CannedService() as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": POLL_EVERY_S})
        thread.start()
        try:
            yield service
        finally:
            service.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: CannedService

    def _serve(self) -> None:
        address = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        target = f"{self.command} {address.path}"
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, response_headers, content = self.server.next_response(target)
        self.server.requests.append(Request(target, parse_qs(address.query), headers, body))
        self.send_response(status)
        for name, value in response_headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - names that http.server prescribes

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server prescribes
        """Log nothing."""
