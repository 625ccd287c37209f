"""Submits the experiments of docs/cures.md as the page writes them, and checks what the page says about them."""

import json
import os
import re
import shlex
import subprocess

import numpy as np
import pytest

from benchmarks.report.cures import PAGE, TABLE, curl_lines, level, sections
from gradflow.client import Client, Json
from service.analysis.profile import slope
from tests.support import curl
from tests.support.not_run import Record, record_not_run
from tests.support.running_stack import RunningStack

ROUNDING = 1e-6  # of a norm in float32


def _trained(client: Client, name: str) -> tuple[Json, Json]:
    """An experiment of the page, trained for one epoch only, and its gradient norms."""
    spec = next(part.specs[name] for part in sections(PAGE.read_text()) if name in part.specs)
    experiment = client.wait(client.submit(spec | {"training": spec["training"] | {"epochs": 1}})["id"])
    assert experiment["status"] == "succeeded", experiment["error"]
    return experiment, client.gradients(experiment["id"])


def _submit(command: str, client: Client) -> Json:
    """Submit by the command, or its body by the client where curl is not installed."""
    if not curl.INSTALLED:
        return client.submit(json.loads(shlex.split(command)[-1]))
    environment = os.environ | {"GRADFLOW_URL": client.url}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, check=True)
    answer: Json = json.loads(done.stdout)
    return answer


def test_every_command_of_the_page_is_accepted(stack: RunningStack, record_property: Record) -> None:
    page = PAGE.read_text()
    commands = curl_lines(page)
    if not curl.INSTALLED:
        line = page[: page.index(commands[0])].count("\n") + 1
        summary = f"{len(commands)} commands from here on, which submit experiments"
        record_not_run(record_property, PAGE, line, summary, f"{curl.MISSING}; the Python client sent the same bodies")

    assert len(commands) > 25
    with Client(stack.url) as client:
        answers = [_submit(command, client) for command in commands]
        for command, answer in zip(commands, answers, strict=True):
            assert answer.get("status") == "queued", (command, answer)
            client.cancel(answer["id"])
        assert {client.wait(answer["id"])["status"] for answer in answers} <= {"cancelled", "succeeded"}


def test_the_table_has_a_row_for_every_experiment_and_the_figures_exist() -> None:
    page = PAGE.read_text()
    parts = sections(page)
    table = TABLE.search(page)

    assert table is not None
    rows = re.findall(r"^\| ([^|]+) \|", table[0], re.MULTILINE)[2:]  # below the head
    assert rows == [name for part in parts for name in part.specs]
    assert all((PAGE.parent / figure).exists() for figure in re.findall(r"\((images/[^)]+)\)", page))


def test_the_gradient_vanishes_with_sigmoids_and_does_not_with_the_cures(stack: RunningStack) -> None:
    with Client(stack.url) as client:
        first_steps = {
            name: [row[0] for row in _trained(client, name)[1]["values"]]
            for name in ("sigmoid", "ReLU, He", "tanh, orthogonal", "tanh, small weights")
        }
    slopes = {name: slope(norms) for name, norms in first_steps.items()}

    assert slopes["sigmoid"] == pytest.approx(0.64, abs=0.05)
    assert slopes["ReLU, He"] == pytest.approx(0, abs=0.03)
    assert slopes["tanh, orthogonal"] == pytest.approx(0, abs=0.01)
    assert slopes["tanh, small weights"] == pytest.approx(0, abs=0.05)
    assert level(first_steps["tanh, small weights"]) < 1e-7 < 0.1 < level(first_steps["ReLU, He"])


def test_an_exploding_network_diverges_unless_its_gradient_is_clipped(stack: RunningStack) -> None:
    with Client(stack.url) as client:
        unclipped, _ = _trained(client, "exploding, not clipped")
        by_norm, norms = _trained(client, "exploding, clipped by norm")
        by_global_norm, _ = _trained(client, "exploding, clipped by global norm")
        each = client.gradients(by_norm["id"], statistic="clipped_norm", role="all")
        together = client.gradients(by_global_norm["id"], statistic="clipped_norm", role="all")

    assert unclipped["outcome"]["diverged_at_step"] is not None
    assert by_norm["outcome"]["diverged_at_step"] is by_global_norm["outcome"]["diverged_at_step"] is None
    assert np.min(norms["values"]) > 1
    assert np.max(each["values"]) <= 1 + ROUNDING
    assert np.max(np.linalg.norm(together["values"], axis=0)) <= 1 + ROUNDING
