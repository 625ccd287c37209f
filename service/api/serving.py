"""Serves the API on one address: one configuration for `gradflow serve`, `gradflow up` and the containers."""

import contextlib
import socket
from functools import partial
from ipaddress import ip_address
from typing import Any

import uvicorn
from fastapi import FastAPI

from service.api.composition import app_from_environment
from service.api.connections import (
    ACCEPTED_AT_ONCE,
    HEADERS_S,
    Connections,
    LimitedProtocol,
    LimitedServer,
    connections_within_descriptors,
)
from service.api.settings import ApiSettings
from service.store.connection import connect
from service.store.keys import Keys
from service.store.settings import RedisSettings

STOP_S = 5
KEEP_ALIVE_S = 75  # longer than a minute: a client that polls every minute can reuse its connection


class Unprotected(Exception):
    """Other machines could reach the API and no API key is configured; the message says what to do."""


def serve(host: str, port: int, insecure: bool) -> None:
    """Serve the API until SIGINT or SIGTERM.

    Raises:
        Unprotected: other machines could reach the API, no key is configured and `insecure` is not set.
        StoreUnavailable: Redis does not answer, so that the API keys are unknown.
    """
    settings = settings_at(host, Keys(connect(RedisSettings())), insecure)
    app = app_from_environment(settings)
    with contextlib.suppress(KeyboardInterrupt):
        server(app, settings, STOP_S, host=host, port=port).run()


def server(
    app: FastAPI, settings: ApiSettings, stop_s: int, headers_s: float = HEADERS_S, **options: Any
) -> uvicorn.Server:
    """A server of the application with limits on connections and on the time that they may be silent.

    Args:
        app: The application.
        settings: Its settings; `connections` must fit into the process's file descriptors (see `settings_at`).
        stop_s: Seconds that running requests have to end after a signal.
        headers_s: Seconds in which the headers of a request must arrive.
        **options: Further options of `uvicorn.Config`, such as host, port and log level.
    """
    protocol: Any = partial(LimitedProtocol, open_connections=Connections(settings.connections), headers_s=headers_s)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        backlog=ACCEPTED_AT_ONCE,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=stop_s,
        **options,
    )
    return LimitedServer(config)


def settings_at(host: str, keys: Keys, insecure: bool) -> ApiSettings:
    """The settings of an API that listens on `host`; there must be API keys if other machines can reach it.

    The number of connections fits into the process's file descriptors, and event streams use at most three quarters
    of them, so that other requests always find one.

    Raises:
        Unprotected: other machines can reach `host`, no key is configured and `insecure` is not set.
        StoreUnavailable: Redis does not answer, so that the API keys are unknown.
    """
    settings = ApiSettings()
    connections = connections_within_descriptors(settings.connections)
    readers = min(settings.event_readers, connections * 3 // 4)
    settings = settings.model_copy(update={"connections": connections, "event_readers": readers})
    if insecure or _is_loopback(host):
        return settings
    if not keys.all().any_configured:
        raise Unprotected(
            f"others can reach {host} and no API key is configured: make one with `gradflow keys add NAME`, or use "
            "--insecure if something else keeps strangers away"
        )
    return settings.model_copy(update={"keys_required": True})  # even after the last key is removed


def _is_loopback(host: str) -> bool:
    """Whether every address of the host is reachable from this machine alone."""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return all(ip_address(address[0]).is_loopback for *_, address in found)
