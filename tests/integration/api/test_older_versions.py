"""What older versions stored can be read."""

import json
from typing import Any

import httpx2
import numpy as np
import redis

from service.store.migration import Migration
from tests.support.served_api import problem


def _gradients(api: httpx2.Client, experiment_id: str, **query: str | int) -> dict[str, Any]:
    answer = api.get(f"/v1/experiments/{experiment_id}/gradients", params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_an_experiment_of_version_0_1_0_is_read_completely(api: httpx2.Client, client: redis.Redis) -> None:
    # Its records have no shape, its specs have no recording, and a batch may be larger than the data.
    spec = {
        "name": "old",
        "tags": [],
        "model": {"kind": "improved", "depth": 1, "width": 2},
        "data": {"source": "random", "samples": 100, "features": 3, "scale": "none", "seed": 0},
        "training": {
            "epochs": 3,
            "batch_size": 100,
            "validation_split": 0.2,
            "shuffle": True,
            "seed": 0,
            "optimizer": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.0},
        },
    }
    old = "0" * 24
    fields: dict[Any, Any] = {
        "status": "succeeded",
        "spec": json.dumps(spec),
        "warnings": "[]",
        "attempts": "1",
        "device": "cpu",
        "step": "3",
        "epoch": "3",
        "outcome": '{"loss": 0.5}',
        "timing": "{}",
        "created_at": "1.000000",
        "started_at": "2.000000",
        "finished_at": "3.000000",
    }
    client.hset(f"gradflow:{{{old}}}:record", mapping=fields)
    client.zadd("gradflow:experiments", {old: 0})
    client.set(f"gradflow:{{{old}}}:gradient_norm", np.arange(3 * 6, dtype="<f4").tobytes())
    client.set(f"gradflow:{{{old}}}:step_loss", np.array([3, 2, 1], "<f4").tobytes())
    client.set(f"gradflow:{{{old}}}:epochs", np.arange(3 * 4, dtype="<f4").tobytes())
    client.delete("gradflow:schema")
    Migration(client).run()

    [listed] = api.get("/v1/experiments").json()["experiments"]
    assert listed == api.get(f"/v1/experiments/{old}").json()
    assert listed["progress"] == {"step": 3, "total_steps": 3, "epoch": 3, "epochs": 3}
    found = _gradients(api, old)
    assert [variable["name"] for variable in found["variables"]] == ["dense_0/kernel", "output/kernel"]
    assert found["values"] == [[0, 6, 12], [4, 10, 16]]
    metrics = api.get(f"/v1/experiments/{old}/metrics").json()
    assert (metrics["step_loss"], metrics["val_accuracy"]) == ([3, 2, 1], [3, 7, 11])
    assert "not kept" in problem(api.get(f"/v1/experiments/{old}/model"), 404)["detail"]
