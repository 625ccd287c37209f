"""Pages of other sites, in a browser from which an API without keys can be reached."""

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from service.contract.errors import CrossOriginRequest

# Names below these are given by whoever runs the network: no stranger can let one lead to 127.0.0.1.
PRIVATE = ("localhost", "local", "internal", "lan", "test", "home.arpa")


def refuse_foreign_pages(headers: Mapping[str, str], host_names: Collection[str]) -> None:
    """Let nothing pass that a page of another site has sent, or one whose name was made to lead here.

    Raises:
        CrossOriginRequest: it did. `host_names` are the public names under which the API itself is known.
    """
    authority, origin = headers.get("host", ""), headers.get("origin")
    name = _name(f"//{authority}")
    if _public(name) and name not in host_names:
        raise CrossOriginRequest(
            f"without API keys nothing is answered as {name}, unless GRADFLOW_API_HOST_NAMES names it"
        )
    if origin is not None and urlsplit(origin).netloc != authority and _name(origin) not in host_names:
        raise CrossOriginRequest("without API keys nothing is answered to the pages of other sites")


def _name(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _public(name: str) -> bool:
    if "." not in name or any(name.endswith(f".{suffix}") for suffix in PRIVATE):
        return False
    try:
        ip_address(name)
    except ValueError:
        return True
    return False
