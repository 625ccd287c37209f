"""Requests that a browser may have sent for a page of another site are recognized."""

import pytest

from service.api.cross_origin import refuse_cross_origin
from service.contract.errors import CrossOriginRequest

OURS = ("gradflow.example.org",)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "127.0.0.1:8000"},
        {"host": "192.168.0.7"},
        {"host": "[::1]:8000"},
        {"host": "localhost:8000"},
        {"host": "api:8000"},
        {"host": "gradflow.localhost"},
        {"host": "host.docker.internal:8000"},
        {"host": "Laptop.LOCAL:8000"},
        {"host": "gradflow.example.org"},
        {"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"},
        {"host": "api:8000", "origin": "https://gradflow.example.org"},
        {"host": "gradflow.example.org", "origin": "https://gradflow.example.org"},
    ],
)
def test_requests_of_the_same_site_are_allowed(headers: dict[str, str]) -> None:
    refuse_cross_origin(headers, OURS)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example.:8000"},
        {"host": "127.0.0.1.evil.example:8000"},
        {"host": "localhost.evil.example"},
        {"host": "user@evil.example"},
        {"host": "notlocal.example"},
        {"host": "127.0.0.1:8000", "origin": "https://evil.example"},
        {"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:9000"},
        {"host": "127.0.0.1:8000", "origin": "null"},
        {"host": "127.0.0.1:8000", "origin": ""},
        {"host": "evil.example", "origin": "http://evil.example"},
    ],
)
def test_requests_of_other_sites_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(CrossOriginRequest):
        refuse_cross_origin(headers, OURS)
