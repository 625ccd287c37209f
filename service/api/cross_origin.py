"""Protects an unauthenticated API from DNS rebinding and cross-origin requests."""

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from service.contract.errors import CrossOriginRequest

# Only the administrator of a network or a machine can make names with these endings: no web site can make one of them
# resolve to 127.0.0.1.
PRIVATE_ENDINGS = ("localhost", "local", "internal", "lan", "test", "home.arpa")


def refuse_cross_origin(headers: Mapping[str, str], host_names: Collection[str]) -> None:
    """Refuse a request that a browser may have sent for a page of another site.

    Args:
        headers: The headers of the request.
        host_names: The public host names of the API.

    Raises:
        CrossOriginRequest: The Host header has another public name, or the Origin header another site.
    """
    authority, origin = headers.get("host", ""), headers.get("origin")
    name = _host_of(f"//{authority}")
    if _is_public(name) and name not in host_names:
        raise CrossOriginRequest(
            f"no API key is configured, and {name} is not one of the API's host names (GRADFLOW_API_HOST_NAMES)"
        )
    if origin is not None and urlsplit(origin).netloc != authority and _host_of(origin) not in host_names:
        raise CrossOriginRequest("no API key is configured, so requests of pages of other sites are refused")


def _host_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_public(name: str) -> bool:
    """Whether a stranger could own this host name."""
    if "." not in name or any(name.endswith(f".{ending}") for ending in PRIVATE_ENDINGS):
        return False
    try:
        ip_address(name)
    except ValueError:
        return True
    return False
