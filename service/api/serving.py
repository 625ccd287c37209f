"""The API alone, on an address of one's choice; where others can reach it, with API keys."""

import socket
from ipaddress import ip_address

import uvicorn

from service.api.composition import app_from_environment
from service.api.settings import ApiSettings
from service.store.connection import connect
from service.store.keys import Keys
from service.store.settings import RedisSettings

STOP_S = 5
KEEP_ALIVE_S = 75  # who looks once a minute finds its connection open, and not closed in the moment in which it asks


class Unprotected(Exception):
    """Others could reach the API, and there is no key; the message says what to do."""


def serve(host: str, port: int, insecure: bool) -> None:
    """Serve the API until SIGINT or SIGTERM.

    Raises:
        Unprotected: see there.
        StoreUnavailable: whether there is a key cannot be said.
    """
    settings = settings_at(host, Keys(connect(RedisSettings())), insecure)
    app = app_from_environment(settings)
    uvicorn.run(app, host=host, port=port, timeout_graceful_shutdown=STOP_S, timeout_keep_alive=KEEP_ALIVE_S)


def settings_at(host: str, keys: Keys, insecure: bool) -> ApiSettings:
    """The settings of an API that listens there: keys are required where others can reach it.

    Raises:
        Unprotected: there is none.
    """
    settings = ApiSettings()
    if insecure or _only_from_here(host):
        return settings
    if not keys.all():
        raise Unprotected(
            f"others can reach {host} and no API key is configured: make one with `gradflow keys add NAME`, or say "
            "--insecure where something else keeps strangers away"
        )
    return settings.model_copy(update={"keys_required": True})  # also once the last key is removed


def _only_from_here(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return all(ip_address(address[0]).is_loopback for *_, address in found)
