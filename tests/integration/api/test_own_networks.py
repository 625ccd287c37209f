"""Networks in the form that Keras prints, trained by a real stack."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx2
import keras
import numpy as np
import pytest
from keras import layers as kl

from gradflow.client import ApiError, Client
from tests.support.running_stack import RunningStack


@pytest.fixture
def gradflow(stack: RunningStack) -> Iterator[Client]:
    with Client(stack.url) as client:
        yield client


def sequential() -> keras.Model:
    return keras.Sequential([keras.Input((30,)), kl.Dense(16, "relu"), kl.BatchNormalization(), kl.Dense(1, "sigmoid")])


def with_a_skip_connection() -> keras.Model:
    inputs = keras.Input((30,))
    hidden = kl.Dense(16, "elu")(inputs)
    hidden = hidden + 0.5 * kl.Dense(16, "tanh")(hidden)  # operators instead of layers
    hidden = kl.Add()([hidden, kl.Dense(16)(hidden)])
    return keras.Model(inputs, kl.Dense(2, activation="softmax")(kl.PReLU()(hidden)))


def convolutional() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            kl.Conv2D(8, 3, padding="same", activation="relu"),
            kl.BatchNormalization(),
            kl.MaxPooling2D(),
            kl.Conv2D(16, 3, activation="relu"),
            kl.Flatten(),
            kl.Dropout(0.2),
            kl.Dense(10, activation="softmax"),
        ]
    )


def recurrent() -> keras.Model:
    return keras.Sequential([keras.Input((None, 2)), kl.LSTM(16), kl.Dense(1)])


NETWORKS: dict[str, tuple[Any, dict[str, Any], int]] = {
    "sequential": (sequential, {"source": "breast_cancer", "scale": "standard"}, 10),
    "functional with a skip connection": (with_a_skip_connection, {"source": "breast_cancer", "scale": "standard"}, 10),
    "convolutional on digits": (convolutional, {"source": "digits", "scale": "minmax"}, 8),
    "LSTM on the adding problem": (recurrent, {"source": "adding_problem", "length": 12}, 20),
}


def submitted(gradflow: Client, name: str, **rest: Any) -> dict[str, Any]:
    make, data, epochs = NETWORKS[name]
    spec = {"model": {"kind": "keras", "config": make().to_json()}, "data": data, "training": {"epochs": epochs}}
    return gradflow.wait(gradflow.submit(spec | rest)["id"])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_in_the_form_of_keras_is_trained_and_has_all_variables(gradflow: Client, name: str) -> None:
    model = NETWORKS[name][0]()

    experiment = submitted(gradflow, name)

    assert experiment["status"] == "succeeded", experiment["error"]
    everything = gradflow.gradients(experiment["id"], role="all")
    shapes = [tuple(variable["shape"]) for variable in everything["variables"]]
    assert sorted(shapes) == sorted(tuple(v.shape) for v in model.trainable_variables)
    assert all(norm > 0 for row in everything["values"] for norm in row[:3])
    assert all(variable["has_gradient"] for variable in everything["variables"])
    losses = gradflow.metrics(experiment["id"])["loss"]
    assert losses[-1] < 0.9 * losses[0]


def test_the_stored_spec_submitted_again_gives_the_same_bytes(gradflow: Client, stack: RunningStack) -> None:
    first = submitted(gradflow, "convolutional on digits", training={"epochs": 1})
    again = gradflow.wait(gradflow.submit(first["spec"])["id"])

    def history(experiment: dict[str, Any]) -> bytes:
        return httpx2.get(f"{stack.url}/v1/experiments/{experiment['id']}/gradients?role=all").content

    assert history(first) == history(again)


def test_gradients_can_be_filtered_by_roles_of_recurrent_layers(gradflow: Client) -> None:
    experiment = submitted(gradflow, "LSTM on the adding problem", training={"epochs": 1})

    recurrent_kernels = gradflow.gradients(experiment["id"], role="recurrent_kernel")

    assert [v["name"].split("/")[1] for v in recurrent_kernels["variables"]] == ["recurrent_kernel"]


def test_keras_loads_the_trained_model_and_it_reaches_the_reported_metrics(
    gradflow: Client, stack: RunningStack, tmp_path: Any
) -> None:
    # given
    spec = {
        "model": {"kind": "mlp", "depth": 3, "width": 16, "normalization": "batch", "dropout": 0.1},
        "data": {"source": "iris", "scale": "standard"},
        "training": {"epochs": 15, "early_stopping": {"patience": 20, "restore_best_weights": True}},
        "recording": {"keep_model": True, "statistics": ["activation_mean"]},
    }
    experiment = gradflow.wait(gradflow.submit(spec)["id"])

    # when
    answer = httpx2.get(stack.url + experiment["links"]["model"])

    # then
    assert answer.status_code == 200
    path = tmp_path / "trained.keras"
    path.write_bytes(answer.content)
    assert "model.weights.h5" in zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    loaded = keras.saving.load_model(path)
    x, y = rows_of_iris()
    loss = np.mean(keras.losses.sparse_categorical_crossentropy(y, loaded(x)))
    best = min(gradflow.metrics(experiment["id"])["val_loss"])
    assert loss == pytest.approx(best, rel=1e-5)


def rows_of_iris() -> tuple[Any, Any]:
    """The validation samples, made by the same code as for the run."""
    from tests.support.plans import plan_of
    from worker.training.data import load

    data = load(plan_of(model="baseline", data={"source": "iris", "scale": "standard"}))
    return data.x_validation, data.y_validation


def test_without_keep_model_the_model_is_404_with_the_reason(gradflow: Client, stack: RunningStack) -> None:
    experiment = gradflow.wait(gradflow.submit({"model": {"kind": "baseline", "depth": 1}})["id"])

    answer = httpx2.get(f"{stack.url}/v1/experiments/{experiment['id']}/model")

    assert answer.status_code == 404
    assert "keep_model" in answer.json()["detail"]


def test_a_layer_with_code_is_refused_by_name(gradflow: Client) -> None:
    config = json.loads(sequential().to_json())
    config["config"]["layers"][1] |= {"class_name": "Lambda"}

    with pytest.raises(ApiError, match=r"Lambda.* carries code"):
        gradflow.submit({"model": {"kind": "keras", "config": config}, "data": {"source": "breast_cancer"}})


def test_statistics_arrive_every_few_steps_in_double_precision(gradflow: Client) -> None:
    spec = {
        "model": {"kind": "mlp", "depth": 60, "activation": "sigmoid", "width": 16},
        "training": {"epochs": 1, "precision": "float64", "gradient_clipping": {"by": "norm", "threshold": 1e-3}},
        "recording": {"every": 10, "statistics": ["update_ratio", "saturated_fraction"]},
    }
    experiment = gradflow.wait(gradflow.submit(spec)["id"])

    norms = gradflow.gradients(experiment["id"])
    clipped = gradflow.gradients(experiment["id"], statistic="clipped_norm")
    saturated = gradflow.gradients(experiment["id"], statistic="saturated_fraction")

    assert norms["steps"] == [0, 10, 20]
    assert 0 < norms["values"][0][0] < 1e-30  # float32 would have rounded most of its entries to zero
    assert max(max(row) for row in clipped["values"]) <= 1e-3 * (1 + 1e-12)
    assert max(max(row) for row in norms["values"]) > 1e-3
    assert len(saturated["variables"]) == len(saturated["values"]) == 60
    rms = gradflow.gradients(experiment["id"], statistic="gradient_rms")
    assert rms["values"][1][0] == pytest.approx(norms["values"][1][0] / 16, rel=1e-12)
