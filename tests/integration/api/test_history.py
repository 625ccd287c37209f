"""The history of an experiment: gradient statistics, metrics and the trained model."""

from typing import Any

import httpx2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.contract.plan import Plan
from service.contract.record import Outcome, Status, Timing
from service.contract.recording_spec import Statistic
from service.store.attempts import Attempts
from service.store.experiments import Experiments
from tests.support.keras_specs import with_a_layer_next_to_the_output
from tests.support.recorded_runs import nan_in_the_middle, write_with_nan
from tests.support.served_api import Rows, problem, submit, write


def test_a_running_experiment_shows_what_it_has_recorded_so_far(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api)
    assert api.get(f"/v1/experiments/{experiment_id}/gradients").json()["steps"] == []
    write_with_nan(store, experiment_id, steps=100)
    path = f"/v1/experiments/{experiment_id}"

    assert api.get(path).json()["status"] == "running"
    whole = api.get(f"{path}/gradients").json()
    assert whole["statistic"] == "gradient_norm"
    assert len(whole["variables"]) == len(whole["values"]) == 12
    assert whole["first_nonfinite_step"] == 50
    assert whole["values"][0][50] is None
    part = api.get(f"{path}/gradients", params={"role": "bias", "layer": "dense_1*", "start": 10, "stop": 12}).json()
    assert [v["name"] for v in part["variables"]] == ["dense_1/bias", "dense_10/bias"]
    assert part["steps"] == [10, 11]
    assert part["values"][0] == [10 * 24 + 3, 11 * 24 + 3]
    fewer = api.get(f"{path}/gradients", params={"max_points": 10}).json()
    assert len(fewer["steps"]) == 10
    assert fewer["values"][1][-1] == whole["values"][1][-1]
    metrics = api.get(f"{path}/metrics").json()
    assert metrics["epochs"] == [1]
    assert metrics["accuracy"] == [0.75]
    assert metrics["val_loss"] == [None]
    assert len(metrics["step_loss"]) == 100
    running = api.get("/v1/experiments?status=running").json()["experiments"]
    assert [experiment["progress"]["step"] for experiment in running] == [100]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("role=wheel", "role"),
        ("format=xml", "format"),
        ("statistic=gradient", "statistic"),
        ("start=-1", "start"),
        ("start=one", "start"),
        ("stop=1.5", "stop"),
        ("start=18446744073709551616", "start"),
        ("stop=" + "9" * 5000, "stop"),
        ("max_points=1", "max_points"),
        ("layer=" + "x" * 201, "layer"),
    ],
)
def test_an_invalid_query_parameter_is_refused_by_name(api: httpx2.Client, query: str, field: str) -> None:
    [error] = problem(api.get(f"/v1/experiments/{submit(api)}/gradients?{query}"), 422)["errors"]

    assert error["location"] == f"query.{field}"


@given(
    start=st.integers(0, 21) | st.just(2**40),
    stop=st.none() | st.integers(0, 21) | st.just(2**40),
    max_points=st.none() | st.integers(2, 21) | st.just(10**30),
    layer=st.text(max_size=50),
    file=st.sampled_from(["json", "json", "csv", "npz"]),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_range_of_steps_and_any_layer_pattern_is_answered(
    api: httpx2.Client, store: Experiments, start: int, stop: int | None, max_points: int | None, layer: str, file: str
) -> None:
    known = store.page(status=Status.RUNNING, tag=None, limit=1, before=None).records
    experiment_id = known[0].id if known else submit(api)
    if not known:
        write_with_nan(store, experiment_id, steps=20)
    query = {"start": start, "stop": stop, "max_points": max_points, "layer": layer, "format": file}
    sent = {name: value for name, value in query.items() if value is not None}

    answer = api.get(f"/v1/experiments/{experiment_id}/gradients", params=sent)

    assert answer.status_code == 200
    if file == "json":
        body = answer.json()
        window = [*range(20)][start : 20 if stop is None else stop]
        if max_points is None or max_points >= len(window):
            assert body["steps"] == window
        else:
            assert len(body["steps"]) <= max_points
            assert body["steps"] == sorted(set(body["steps"]) & set(window))
        assert all(len(row) == len(body["steps"]) for row in body["values"])


def test_thinning_keeps_the_first_nonfinite_step(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api)
    write_with_nan(store, experiment_id, steps=100)
    path = f"/v1/experiments/{experiment_id}/gradients"

    assert api.get(path).json()["first_nonfinite_step"] == 50
    assert api.get(path, params={"max_points": 10}).json()["first_nonfinite_step"] == 50


@pytest.mark.parametrize(
    ("name", "media_type", "magic"),
    [
        ("csv", "text/csv; charset=utf-8", b"step,"),
        ("npz", "application/zip", b"PK"),
        ("parquet", "application/vnd.apache.parquet", b"PAR1"),
    ],
)
def test_gradients_can_be_read_as_csv_npz_and_parquet(
    api: httpx2.Client, store: Experiments, name: str, media_type: str, magic: bytes
) -> None:
    experiment_id = submit(api)
    write_with_nan(store, experiment_id, steps=10)

    answer = api.get(f"/v1/experiments/{experiment_id}/gradients?format={name}")

    assert answer.headers["content-type"] == media_type
    assert answer.content.startswith(magic)


def _gradients(api: httpx2.Client, experiment_id: str, **query: str | int) -> dict[str, Any]:
    answer = api.get(f"/v1/experiments/{experiment_id}/gradients", params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_a_statistic_that_was_not_recorded_is_404_with_the_recorded_ones(api: httpx2.Client) -> None:
    experiment_id = submit(api, recording={"statistics": ["weight_norm"]})

    answer = api.get(f"/v1/experiments/{experiment_id}/gradients?statistic=update_ratio")

    detail = problem(answer, 404)["detail"]
    assert "update_ratio was not recorded" in detail
    assert detail.endswith("names gradient_norm, weight_norm")


def test_each_recorded_statistic_can_be_read(api: httpx2.Client, store: Experiments) -> None:
    chosen = [str(statistic) for statistic in Statistic]
    clipping = {"gradient_clipping": {"by": "norm", "threshold": 1.0}}
    model = {"kind": "mlp", "depth": 2}
    experiment_id = submit(api, model=model, recording={"statistics": chosen}, training=clipping)

    def make(planned: Plan, statistic: Statistic, rows: int) -> Rows:
        return np.full((rows, len(planned.rows_of(statistic))), float(chosen.index(statistic)))

    write(store, experiment_id, 3, make=make)

    for number, statistic in enumerate(chosen):
        found = _gradients(api, experiment_id, statistic=statistic, role="bias")
        assert found["statistic"] == statistic
        assert found["steps"] == [0, 1, 2]
        if Statistic(statistic).of_activations:
            assert [row["name"] for row in found["variables"]] == ["dense_0", "dense_1"]
            assert {row["role"] for row in found["variables"]} == {"activation"}
        else:
            assert [row["name"] for row in found["variables"]] == [
                *("dense_0/bias", "dense_1/bias", "output/bias"),
            ]
        if statistic != "gradient_rms":
            assert all(row == [number] * 3 for row in found["values"])


def test_activation_statistics_are_filtered_by_layer_and_not_by_role(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api, model={"kind": "mlp", "depth": 11}, recording={"statistics": ["dead_fraction"]})
    write(store, experiment_id, 2)

    found = _gradients(api, experiment_id, statistic="dead_fraction", layer="dense_1*", role="kernel")

    assert [row["name"] for row in found["variables"]] == ["dense_1", "dense_10"]
    assert found["values"] == [[1, 12], [10, 21]]
    assert [row["depth"] for row in found["variables"]] == [1, 10]


def test_root_mean_squares_are_computed_from_the_norms(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api, model={"kind": "baseline", "depth": 1, "width": 4})
    write(store, experiment_id, 2)  # kernel [20, 4], bias [4], kernel [4, 1], bias [1]

    found = _gradients(api, experiment_id, statistic="gradient_rms", role="all")

    norms = _gradients(api, experiment_id, role="all")["values"]
    assert norms == [[0, 4], [1, 5], [2, 6], [3, 7]]
    expected = np.array(norms) / np.sqrt([[80], [4], [4], [1]])
    np.testing.assert_allclose(np.array(found["values"]), expected, rtol=1e-6)
    assert found["statistic"] == "gradient_rms"


@pytest.mark.parametrize(
    ("start", "stop", "steps"),
    [
        (0, None, [0, 7, 14, 21, 28]),
        (7, None, [7, 14, 21, 28]),
        (8, 21, [14]),
        (8, 22, [14, 21]),
        (14, 15, [14]),
        (15, 21, []),
        (0, 0, []),
        (0, 1, [0]),
        (29, None, []),
        (21, 8, []),
    ],
)
def test_start_and_stop_are_steps_even_if_only_some_were_recorded(
    api: httpx2.Client, store: Experiments, start: int, stop: int | None, steps: list[int]
) -> None:
    experiment_id = submit(api, recording={"every": 7})
    write(store, experiment_id, 30)  # 0, 7, 14, 21, 28
    window = {"start": start} | ({} if stop is None else {"stop": stop})

    found = _gradients(api, experiment_id, **window)

    assert found["steps"] == steps
    assert found["values"][0] == [24 * (step // 7) for step in steps]
    metrics = api.get(f"/v1/experiments/{experiment_id}/metrics").json()
    assert metrics["steps"] == list(range(30))  # the loss of every step is recorded


def test_the_first_nonfinite_step_is_a_step_even_if_only_some_were_recorded(
    api: httpx2.Client, store: Experiments
) -> None:
    experiment_id = submit(api, recording={"every": 7})
    write(store, experiment_id, 30, make=nan_in_the_middle)

    assert _gradients(api, experiment_id)["first_nonfinite_step"] == 14
    assert _gradients(api, experiment_id, max_points=2)["first_nonfinite_step"] == 14
    assert _gradients(api, experiment_id, start=15)["first_nonfinite_step"] is None


def test_a_variable_without_gradient_has_nulls_that_are_not_nonfinite_values(
    api: httpx2.Client, store: Experiments
) -> None:
    experiment_id = submit(api, model=with_a_layer_next_to_the_output())
    write(store, experiment_id, 4)

    found = _gradients(api, experiment_id)

    assert [(v["name"], v["has_gradient"]) for v in found["variables"]] == [
        *(("unused/kernel", False), ("output/kernel", True)),
    ]
    assert found["values"] == [[None] * 4, [0, 2, 4, 6]]
    assert found["first_nonfinite_step"] is None
    rms = _gradients(api, experiment_id, statistic="gradient_rms")
    assert rms["values"][0] == [None] * 4
    assert rms["first_nonfinite_step"] is None


def test_float64_values_are_exact(api: httpx2.Client, store: Experiments) -> None:
    experiment_id = submit(api, training={"precision": "float64"}, recording={"statistics": ["weight_norm"]})
    tiny = 1.2345678901234567e-300

    def make(planned: Plan, statistic: Statistic, rows: int) -> Rows:
        return np.full((rows, len(planned.rows_of(statistic))), tiny)

    write(store, experiment_id, 5, make=make, epochs=np.array([[1 / 3, 0.5, 2 / 3, 0.25]]))

    for statistic in ("gradient_norm", "weight_norm"):
        found = _gradients(api, experiment_id, statistic=statistic, start=1, stop=3)
        assert (found["steps"], found["values"]) == ([1, 2], [[tiny, tiny]] * 12)
    metrics = api.get(f"/v1/experiments/{experiment_id}/metrics").json()
    assert (metrics["loss"], metrics["val_loss"]) == ([1 / 3], [2 / 3])
    assert metrics["step_loss"] == np.linspace(1, 0, 5).tolist()


def test_regression_has_errors_and_classification_has_accuracy(api: httpx2.Client, store: Experiments) -> None:
    numbers, classes = submit(api, data={"source": "diabetes"}), submit(api)
    rows = np.array([[4.0, 4.0, 1.5, 9.0, 9.0, 2.5], [1.0, 1.0, 0.5, np.nan, np.nan, np.nan]])
    write(store, numbers, 5, epochs=rows, outcome={"loss": 1.0, "mse": 1.0, "mae": 0.5, "val_mse": 9.0})
    write_with_nan(store, classes, 5)

    measured = api.get(f"/v1/experiments/{numbers}/metrics").json()
    assert measured == {
        "epochs": [1, 2],
        "loss": [4, 1],
        "accuracy": [None, None],
        "mse": [4, 1],
        "mae": [1.5, 0.5],
        "val_loss": [9, None],
        "val_accuracy": [None, None],
        "val_mse": [9, None],
        "val_mae": [2.5, None],
        "steps": [0, 1, 2, 3, 4],
        "step_loss": [1, 0.75, 0.5, 0.25, 0],
    }
    outcome = api.get(f"/v1/experiments/{numbers}").json()["outcome"]
    assert (outcome["accuracy"], outcome["mse"], outcome["mae"], outcome["val_mse"]) == (None, 1, 0.5, 9)
    measured = api.get(f"/v1/experiments/{classes}/metrics").json()
    assert (measured["accuracy"], measured["mse"], measured["val_mae"]) == ([0.75], [None], [None])


def test_a_kept_model_is_downloaded_byte_for_byte(api: httpx2.Client, store: Experiments, attempts: Attempts) -> None:
    experiment_id = submit(api, recording={"keep_model": True})
    path = api.get(f"/v1/experiments/{experiment_id}").json()["links"]["model"]
    assert path == f"/v1/experiments/{experiment_id}/model"
    assert "no model yet: the experiment is queued" in problem(api.get(path), 404)["detail"]
    attempt = write_with_nan(store, experiment_id, steps=10)
    assert "no model yet: the experiment is running" in problem(api.get(path), 404)["detail"]
    file = b"PK\3\4 \0\xff" * 1000

    attempts.keep_model(experiment_id, attempt, file)
    attempts.finish(experiment_id, attempt, Status.SUCCEEDED, Outcome(), Timing())

    answer = api.get(path)
    assert (answer.status_code, answer.content) == (200, file)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert f'filename="{experiment_id}.keras"' in answer.headers["content-disposition"]
    assert api.delete(f"/v1/experiments/{experiment_id}").status_code == 204
    assert "no experiment" in problem(api.get(path), 404)["detail"]


def test_a_missing_model_is_404_with_the_reason(api: httpx2.Client, store: Experiments, attempts: Attempts) -> None:
    not_asked_for, failed = submit(api), submit(api, recording={"keep_model": True})
    cancelled = submit(api, recording={"keep_model": True})
    attempt = write_with_nan(store, failed, steps=10)
    attempts.finish(failed, attempt, Status.FAILED, Outcome(), Timing(), "why")
    api.post(f"/v1/experiments/{cancelled}/cancel")

    def detail(experiment_id: str) -> str:
        found: str = problem(api.get(f"/v1/experiments/{experiment_id}/model"), 404)["detail"]
        return found

    assert "set recording.keep_model" in detail(not_asked_for)
    assert "model" not in api.get(f"/v1/experiments/{not_asked_for}").json()["links"]
    assert detail(failed).endswith("failed")
    assert detail(cancelled).endswith("cancelled")
