"""The lines of docs/cures.md, posted as they stand, and what the page says of them."""

import json
import os
import re
import subprocess

import numpy as np
import pytest

from benchmarks.report.cures import PAGE, TABLE, curl_lines, level, sections
from gradflow.client import Client, Json
from service.analysis.profile import slope
from tests.support.running_stack import RunningStack

ROUNDING = 1e-6  # of a norm in float32


def _trained(client: Client, name: str) -> tuple[Json, Json]:
    """The experiment of a line, trained for one epoch only, and the gradient norms of all its variables."""
    spec = next(part.specs[name] for part in sections(PAGE.read_text()) if name in part.specs)
    experiment = client.wait(client.submit(spec | {"training": spec["training"] | {"epochs": 1}})["id"])
    assert experiment["status"] == "succeeded", experiment["error"]
    return experiment, client.gradients(experiment["id"])


def test_every_line_of_the_page_is_accepted(stack: RunningStack) -> None:
    lines = curl_lines(PAGE.read_text())
    environment = os.environ | {"GRADFLOW_URL": stack.url}

    answers = [
        json.loads(subprocess.run(["bash", "-c", line], env=environment, capture_output=True, check=True).stdout)
        for line in lines
    ]

    assert len(lines) > 25
    with Client(stack.url) as client:
        for line, answer in zip(lines, answers, strict=True):
            assert answer.get("status") == "queued", (line, answer)
            client.cancel(answer["id"])
        assert {client.wait(answer["id"])["status"] for answer in answers} <= {"cancelled", "succeeded"}


def test_the_table_has_a_row_for_every_line_and_the_pictures_are_there() -> None:
    page = PAGE.read_text()
    parts = sections(page)
    table = TABLE.search(page)

    assert table is not None
    rows = re.findall(r"^\| ([^|]+) \|", table[0], re.MULTILINE)[2:]  # below the head
    assert rows == [name for part in parts for name in part.specs]
    assert all((PAGE.parent / picture).exists() for picture in re.findall(r"\((images/[^)]+)\)", page))


def test_sigmoids_lose_the_gradient_and_the_cures_keep_it(stack: RunningStack) -> None:
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


def test_an_exploding_network_survives_by_clipping_alone(stack: RunningStack) -> None:
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
