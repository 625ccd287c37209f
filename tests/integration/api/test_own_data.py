"""Uploaded data sets, sent with curl if it is installed, and experiments that train on them."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from sklearn import datasets

from gradflow.client import Client
from tests.support.curl import upload_file
from tests.support.running_stack import RunningStack


@pytest.fixture
def gradflow(stack: RunningStack) -> Iterator[Client]:
    with Client(stack.url) as client:
        yield client


@pytest.fixture(scope="module")
def wisconsin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Wisconsin data set as a CSV file with the classes as numbers in the last column."""
    path = tmp_path_factory.mktemp("data") / "wisconsin.csv"
    bunch = datasets.load_breast_cancer()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*bunch.feature_names, "benign"])
        writer.writerows(
            [*map(repr, map(float, row)), int(label)] for row, label in zip(bunch.data, bunch.target, strict=True)
        )
    return path


def history(stack: RunningStack, experiment: dict[str, Any]) -> bytes:
    return httpx2.get(f"{stack.url}/v1/experiments/{experiment['id']}/gradients?role=all").content


def test_uploaded_wisconsin_data_give_the_same_history_as_the_bundled_data(
    gradflow: Client, stack: RunningStack, wisconsin: Path
) -> None:
    # given
    kept = upload_file(f"{stack.url}/v1/datasets?name=wisconsin", wisconsin, "text/csv")
    assert (kept["rows"], kept["columns"], kept["label"], kept["classes"]) == (569, 30, "benign", ["0", "1"])
    spec = {"model": {"kind": "improved", "depth": 3}, "training": {"epochs": 3}}

    # when
    own, bundled = (
        gradflow.wait(gradflow.submit({**spec, "data": {**data, "scale": "standard"}})["id"])
        for data in ({"source": "upload", "dataset_id": kept["id"]}, {"source": "breast_cancer"})
    )

    # then
    assert own["status"] == bundled["status"] == "succeeded"
    assert history(stack, own) == history(stack, bundled)
    assert own["outcome"] == bundled["outcome"]


def test_images_in_an_npz_file_train_a_network_with_chosen_training_and_validation_rows(
    gradflow: Client, stack: RunningStack, tmp_path: Path
) -> None:
    x, y = datasets.load_digits(return_X_y=True)
    np.savez(tmp_path / "digits.npz", x=x.reshape(-1, 8, 8).astype(np.float32), y=y)
    kept = upload_file(f"{stack.url}/v1/datasets", tmp_path / "digits.npz")
    assert kept["shape"] == [8, 8]
    assert kept["classes"] == list("0123456789")

    data = {"source": "upload", "dataset_id": kept["id"], "shuffle": False, "train_rows": 600, "validation_rows": 200}
    experiment = gradflow.wait(
        gradflow.submit({"model": {"kind": "mlp", "depth": 2}, "data": {**data, "scale": "minmax"}})["id"]
    )

    assert experiment["status"] == "succeeded"
    assert experiment["progress"]["total_steps"] == 5 * 19  # 600 samples in batches of 32
    assert experiment["outcome"]["val_accuracy"] > 0.6


def test_an_invalid_cell_in_row_70000_is_named_and_nothing_is_stored(stack: RunningStack, tmp_path: Path) -> None:
    rows = io.StringIO()
    rows.write("a,b,label\n")
    rows.writelines(f"{i},{i / 7},{i % 3}\n" if i != 70_000 else "70000,seven,1\n" for i in range(1, 80_001))
    (tmp_path / "bad.csv").write_text(rows.getvalue())
    before = httpx2.get(f"{stack.url}/v1/datasets").json()

    refused = upload_file(f"{stack.url}/v1/datasets", tmp_path / "bad.csv", "text/csv")

    assert refused["status"] == 422
    message = refused["errors"][0]["message"]
    assert "70,000" in message or "70000" in message
    assert "'b'" in message
    assert "seven" in message
    assert httpx2.get(f"{stack.url}/v1/datasets").json() == before


def test_a_regression_with_targets_in_a_parquet_file(gradflow: Client, stack: RunningStack, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    random = np.random.default_rng(0)
    x = random.standard_normal((300, 4))
    columns = {f"x{i}": x[:, i] for i in range(4)} | {"target": x @ [1.0, -2.0, 0.5, 0.0] + 0.1}
    parquet.write_table(pa.table(columns), tmp_path / "linear.parquet")
    file, media_type = tmp_path / "linear.parquet", "application/vnd.apache.parquet"
    kept = upload_file(f"{stack.url}/v1/datasets?label=target", file, media_type)
    assert kept["task"] == "regression"

    experiment = gradflow.wait(
        gradflow.submit(
            {
                "model": {"kind": "mlp", "depth": 1, "activation": "linear"},
                "data": {"source": "upload", "dataset_id": kept["id"]},
                "training": {"epochs": 30, "optimizer": {"name": "sgd", "learning_rate": 0.05}},
            }
        )["id"]
    )

    assert experiment["outcome"]["accuracy"] is None
    assert experiment["outcome"]["val_mse"] < 0.01
    metrics = gradflow.metrics(experiment["id"])
    assert metrics["mae"][-1] < metrics["mae"][0]
