"""`gradflow list`."""

import os
import subprocess
import sys

from tests.support.answers import MARKUP_NAME, experiment
from tests.support.canned_service import CannedService
from tests.support.command_line import gradflow


def test_a_name_that_looks_like_markup_is_shown_as_it_is(service: CannedService) -> None:
    service.answer("GET /v1/experiments", {"experiments": [experiment(name=MARKUP_NAME)], "next_cursor": None})

    done = gradflow("list", url=service.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert MARKUP_NAME in done.stdout


def test_the_options_are_the_query(service: CannedService) -> None:
    service.answer("GET /v1/experiments", {"experiments": [], "next_cursor": None})

    gradflow("list", "--status", "failed", "--tag", "deep", "--limit", "3", url=service.url)

    assert service.requests[0].query == {"status": ["failed"], "tag": ["deep"], "limit": ["3"]}


def test_a_list_loads_neither_numpy_nor_matplotlib(service: CannedService) -> None:
    service.answer("GET /v1/experiments", {"experiments": [experiment()], "next_cursor": None})
    program = (
        "import sys; from gradflow.cli.app import app; app(['list'], standalone_mode=False);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    environment = os.environ | {"GRADFLOW_URL": service.url}

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)

    loaded = done.stdout.splitlines()[-1].split()
    assert "httpx2" in loaded
    assert not {"numpy", "matplotlib", "uvicorn", "fastapi", "redis", "celery"} & set(loaded)
