"""Runs every command of docs/api.md and compares each answer with the documented one."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import httpx2
import pytest

from gradflow.client import Client
from tests.support.documented_examples import differences, examples, read_json, text_matches
from tests.support.running_stack import RunningStack

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
VARIABLES = {"experiments": "ID", "studies": "STUDY", "datasets": "DATASET"}
FLAGS = ("-s", "-N")
CREATED = re.compile(r"/v1/(experiments|studies|datasets)/(\w+)")


@dataclass(frozen=True)
class Answer:
    """The parts of an HTTP answer that the test compares."""

    status: int
    location: str | None
    body: str


def _with_curl(command: str, variables: dict[str, str]) -> Answer:
    done = subprocess.run(
        ["bash", "-c", f"{command} -i"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    location = re.search(r"^location: (.*)$", head, re.MULTILINE | re.IGNORECASE)
    return Answer(int(head.split()[1]), location[1] if location else None, body)


def _with_httpx(command: str, variables: dict[str, str]) -> Answer:
    """Send the request that curl would send; for machines without curl."""
    _, *words = shlex.split(Template(command.replace("\\\n", " ")).substitute(variables))
    method, url, headers, body = "", "", {}, None
    while words:
        word = words.pop(0)
        if word == "-X":
            method = words.pop(0)
        elif word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word in ("-d", "--data-binary"):
            body = words.pop(0).encode()
        elif word not in FLAGS:
            assert word.startswith("http"), word
            url = word
    answer = httpx2.request(method or ("GET" if body is None else "POST"), url, headers=headers, content=body)
    return Answer(answer.status_code, answer.headers.get("location"), answer.text)


SENDERS = {"httpx": _with_httpx} | ({"curl": _with_curl} if shutil.which("curl") else {})


@pytest.mark.parametrize("send", SENDERS.values(), ids=SENDERS)
def test_every_example_of_the_page_shows_the_real_answer(
    stack: RunningStack, send: Callable[[str, dict[str, str]], Answer]
) -> None:
    page = PAGE.read_text()
    variables = {"GRADFLOW_URL": stack.url, "GRADFLOW_API_KEY": "none"}
    wrong: list[str] = []
    compared = 0
    with Client(stack.url) as client:
        for example in examples(page):
            for number, command in enumerate(example.commands, 1):
                answer = send(command, variables)
                last = number == len(example.commands)
                expected: Any = read_json(example.answer) if last and example.kind == "json" else None
                refused = isinstance(expected, dict) and expected.get("title") is not None
                assert (answer.status >= 400) == refused, (command, answer)
                if created := CREATED.fullmatch(answer.location or ""):
                    kind, new_id = created.groups()
                    variables[VARIABLES[kind]] = new_id
                    if kind == "experiments":
                        client.wait(new_id)
                    elif kind == "studies":
                        *_, _ = client.watch_study(new_id)
            if example.kind == "json":
                wrong += [f"{command}: {text}" for text in differences(expected, read_json(answer.body))]
                assert not refused or (expected is not None and answer.status == expected["status"])
            elif example.kind == "text" and not text_matches(example.answer.rstrip(), answer.body.rstrip()):
                wrong.append(f"{command}: {answer.body[:300]}")
            compared += bool(example.kind)

    assert not wrong, "\n".join(wrong)
    assert compared == page.count("```json\n") + page.count("```text\n") > 15


def test_the_only_lines_that_no_test_runs_set_a_variable() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    without_curl = [block for block in blocks if not block.startswith("curl ")]

    assert without_curl == ["GRADFLOW_URL=${GRADFLOW_URL:-http://127.0.0.1:8000}\n"]
