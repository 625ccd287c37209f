"""Which messages in the queue are for this worker."""

import base64
import json
from typing import Any

import pytest

from service.store.publisher import CeleryPublisher
from service.store.settings import RedisSettings
from worker.transport import experiment_id_in

ID = "0123456789abcdef01234567"


def message(**changes: Any) -> dict[str, Any]:
    return CeleryPublisher(RedisSettings()).message(ID) | changes


def body(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_message_of_the_api_names_its_experiment() -> None:
    assert experiment_id_in(message()) == ID


@pytest.mark.parametrize(
    "other",
    [
        None,
        1,
        [],
        {},
        message(headers=None),
        message(headers={}),
        message(headers={"task": "other"}),
        message(**{"content-type": "application/x-python-serialize"}),
        message(body=None),
        message(body="not base64!"),
        message(body=base64.b64encode(b"\xff").decode()),
        message(body=body("not JSON")),
        message(body=body("[" * 100_000)),
        message(body=body(json.dumps([[ID]]))),
        message(body=body(json.dumps([[], {}, {}]))),
        message(body=body(json.dumps([[1], {}, {}]))),
        message(body=body(json.dumps([["no id"], {}, {}]))),
        message(body=body(json.dumps([[ID, ID], {}, {}]))),
    ],
    ids=lambda _: "",
)
def test_any_other_value_names_none(other: Any) -> None:
    assert experiment_id_in(other) is None
