"""Studies through the API, on histories as a worker would write them."""

import csv
import io
import itertools
import json
import secrets
import time
from typing import Any

import httpx2
import numpy as np
import pytest
import redis

from service.analysis.profile import levels, slopes
from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.plan import Plan
from service.contract.record import Outcome, Status, Timing
from service.contract.recording_spec import Statistic
from service.contract.study_spec import StudySpec
from service.store.attempts import Attempts
from service.store.experiments import Experiments
from service.store.studies import Studies
from tests.support.plans import new_experiment, plan_of
from tests.support.redis_keys import keys_of
from tests.support.served_api import JSON, RecordedMessages, Rows, attempts_of, problem, submit, write

Json = dict[str, Any]
BASE = {"model": {"kind": "baseline", "depth": 5, "width": 4}, "tags": ["grid"], "name": "rates"}


def post(api: httpx2.Client, axes: Json, base: Json | None = None) -> Json:
    answer = api.post("/v1/studies", json={"base": base or BASE, "axes": axes}, timeout=60)
    assert answer.status_code == 202, answer.text
    study: Json = answer.json()
    assert answer.headers["location"] == study["links"]["self"] == f"/v1/studies/{study['id']}"
    return study


def read(api: httpx2.Client, study: Json, **query: str) -> Json:
    found: Json = api.get(study["links"]["self"], params=query).raise_for_status().json()
    return found


def runs(api: httpx2.Client, study: Json, **query: str | int) -> list[Json]:
    """The experiments of a study in the order of its grid."""
    found = api.get("/v1/experiments", params={"study": study["id"], "limit": 200, **query}).raise_for_status().json()
    return list(reversed(found["experiments"]))


def end(
    store: Experiments, experiment_id: str, steps: int = 125, status: Status = Status.SUCCEEDED, **figures: float
) -> None:
    """End a queued run, with norms that depend on its id."""

    def norms(planned: Plan, statistic: Statistic, rows: int) -> Rows:
        random = np.random.default_rng(int(experiment_id[-6:], 16))
        return random.lognormal(-5, 3, (rows, len(planned.rows_of(statistic))))

    attempt = write(store, experiment_id, steps, make=norms, outcome=figures)
    attempts_of(store).finish(experiment_id, attempt, status, Outcome.model_validate(figures), Timing())


def test_every_combination_becomes_one_experiment(api: httpx2.Client, queue: RecordedMessages) -> None:
    study = post(api, {"model.depth": [2, 5], "training.seed": [0, 1, 2]})
    found = runs(api, study)

    assert [(r["spec"]["model"]["depth"], r["spec"]["training"]["seed"]) for r in found] == [
        (2, 0), (2, 1), (2, 2), (5, 0), (5, 1), (5, 2),
    ]  # fmt: skip
    assert queue.ids == [r["id"] for r in found]
    assert {r["study"] for r in found} == {study["id"]}
    assert {r["links"]["study"] for r in found} == {study["links"]["self"]}
    assert {(r["name"], *r["tags"]) for r in found} == {("rates", "grid")}
    assert study["status"] == "queued"
    assert study["counts"]["queued"] == study["experiments"] == 6
    assert api.post("/v1/experiments", json=found[0]["spec"]).status_code == 202


def test_the_specs_of_a_grid_of_320_are_those_of_experiments_posted_alone(
    api: httpx2.Client, queue: RecordedMessages
) -> None:
    axes: Json = {
        "model.activation": ["sigmoid", "tanh", "relu", "elu", "gelu"],
        "model.depth": [2, 4],
        "training.optimizer.learning_rate": [0.1, 0.01, 0.001, 0.0001],
        "training.seed": list(range(8)),
    }
    base = {"model": {"kind": "mlp", "width": 4}, "training": {"optimizer": "sgd", "epochs": 1}}
    study = post(api, axes, base)
    ids = list(queue.ids)

    answers = [api.get(f"/v1/experiments/{experiment_id}").json() for experiment_id in ids]

    def cell(spec: Json) -> tuple[Any, ...]:
        model, training = spec["model"], spec["training"]
        return model["activation"], model["depth"], training["optimizer"]["learning_rate"], training["seed"]

    assert study["experiments"] == len(ids) == 320
    assert [cell(found["spec"]) for found in answers] == list(itertools.product(*axes.values()))
    for found in answers[::40]:
        assert found["spec"]["training"]["optimizer"]["name"] == "sgd"
        alone = api.post("/v1/experiments", json=found["spec"])
        assert alone.status_code == 202, alone.text
        assert alone.json()["spec"] == found["spec"]
    assert len(study["table"]) == 40
    assert all((row["replicates"], row["missing"], row["metrics"]) == (0, 8, {}) for row in study["table"])


def test_a_study_has_the_warnings_of_its_experiments(api: httpx2.Client) -> None:
    study = post(api, {"model.depth": [2, 30, 40], "training.seed": [0, 1]})

    found = runs(api, study)

    assert [bool(run["warnings"]) for run in found] == [False, False, True, True, True, True]
    told = list(dict.fromkeys(warning for run in found for warning in run["warnings"]))
    assert study["warnings"] == [f"2 of 6 experiments: {warning}" for warning in told]
    assert read(api, study)["warnings"] == study["warnings"]
    (alike,) = post(api, {"training.seed": [0, 1, 2]}, {"model": "baseline"})["warnings"]
    assert alike == api.post("/v1/experiments", json={"model": "baseline"}).json()["warnings"][0]
    assert post(api, {"training.seed": [0]})["warnings"] == []


def test_a_study_of_many_networks_has_some_warnings_and_the_number_of_others(api: httpx2.Client) -> None:
    study = post(api, {"model.depth": list(range(20, 60))})

    told = {warning for run in runs(api, study) for warning in run["warnings"]}

    assert len(study["warnings"]) == 21
    assert study["warnings"][-1] == f"and {len(told) - 20} more, in the warnings of the experiments"


def test_a_single_experiment_belongs_to_no_study(api: httpx2.Client) -> None:
    assert api.get(f"/v1/experiments/{submit(api)}").json()["study"] is None


def test_the_experiments_of_a_study_are_filtered_by_status_and_tag_and_paged(
    api: httpx2.Client, store: Experiments
) -> None:
    post(api, {"training.seed": [0, 1]})
    study = post(api, {"training.seed": [0, 1, 2, 3]})
    submit(api)
    first = runs(api, study)[0]["id"]
    end(store, first)

    assert [r["id"] for r in runs(api, study, status="succeeded")] == [first]
    assert len(runs(api, study, status="queued", tag="grid")) == 3
    assert runs(api, study, tag="other") == []
    page = api.get("/v1/experiments", params={"study": study["id"], "limit": 3}).json()
    rest = api.get("/v1/experiments", params={"study": study["id"], "limit": 3, "cursor": page["next_cursor"]}).json()
    assert len(page["experiments"]) + len(rest["experiments"]) == 4
    assert rest["next_cursor"] is None


def test_a_study_is_queued_then_running_then_succeeded(
    api: httpx2.Client, store: Experiments, attempts: Attempts
) -> None:
    study = post(api, {"training.seed": [0, 1]})
    first, second = (r["id"] for r in runs(api, study))
    attempt = write(store, first, 50)

    running = read(api, study)
    assert running["status"] == "running"
    assert running["counts"] == {"queued": 1, "running": 1, "succeeded": 0, "failed": 0, "cancelled": 0}
    assert running["progress"] == {"step": 50, "total_steps": 250}

    attempts.finish(first, attempt, Status.SUCCEEDED, Outcome(), Timing())
    end(store, second)
    assert read(api, study)["status"] == "succeeded"


def test_one_failed_run_makes_a_failed_study(api: httpx2.Client, store: Experiments) -> None:
    study = post(api, {"training.seed": [0, 1]})
    first, second = (r["id"] for r in runs(api, study))
    end(store, first)
    end(store, second, status=Status.FAILED)

    found = read(api, study)

    assert found["status"] == "failed"
    assert (found["table"][0]["replicates"], found["table"][0]["missing"]) == (1, 1)


def test_the_table_has_means_over_seeds(api: httpx2.Client, store: Experiments) -> None:
    study = post(api, {"training.optimizer.learning_rate": [0.1, 0.01], "training.seed": [0, 1, 2]})
    for i, run in enumerate(runs(api, study)):
        end(store, run["id"], loss=float(i), val_accuracy=0.5 + i / 10)

    first, second = read(api, study)["table"]

    assert first["axes"] == {"training.optimizer.learning_rate": 0.1}
    assert second["axes"] == {"training.optimizer.learning_rate": 0.01}
    assert first["metrics"]["loss"]["mean"] == pytest.approx(1.0)
    assert first["metrics"]["loss"]["std"] == pytest.approx(1.0)
    assert first["metrics"]["loss"]["ci95"] == pytest.approx(4.302653 / 3**0.5)
    assert second["metrics"]["val_accuracy"]["mean"] == pytest.approx(0.9)
    assert "mse" not in first["metrics"]


def test_slope_and_level_are_computed_at_the_requested_steps(api: httpx2.Client, store: Experiments) -> None:
    study = post(api, {"training.seed": [0, 1, 2]})
    ids = [run["id"] for run in runs(api, study)]
    for run_id, steps in zip(ids, (125, 125, 60), strict=True):
        end(store, run_id, steps)
    norms = [np.array(api.get(f"/v1/experiments/{i}/gradients").json()["values"], np.float64) for i in ids]

    metrics = read(api, study, steps="0,100,-1,-2")["table"][0]["metrics"]

    for step, of in (("0", norms), ("100", norms[:2]), ("-1", norms), ("-2", norms)):
        column = np.array([values[:, int(step)] for values in of])
        assert metrics[f"slope@{step}"]["count"] == len(of)
        assert metrics[f"slope@{step}"]["mean"] == pytest.approx(slopes(column).mean())
        assert metrics[f"level@{step}"]["mean"] == pytest.approx(levels(column).mean())


def test_a_table_agrees_with_numpy_on_the_norms_that_the_service_answers(
    api: httpx2.Client, store: Experiments
) -> None:
    study = post(api, {"model.depth": [4, 7], "training.seed": [0, 1, 2]})
    found = runs(api, study)
    for run in found:
        end(store, run["id"])

    table = read(api, study, steps="0,-1")["table"]

    for row, members in zip(table, (found[:3], found[3:]), strict=True):
        for step in (0, -1):
            profiles = []
            for run in members:
                answer = api.get(f"/v1/experiments/{run['id']}/gradients").json()
                kernels = [i for i, variable in enumerate(answer["variables"]) if variable["role"] == "kernel"]
                profiles.append(np.log10([answer["values"][i][step] for i in kernels])[1:-1])
            figures = {
                f"slope@{step}": [np.polyfit(np.arange(len(profile)), profile, 1)[0] for profile in profiles],
                f"level@{step}": [profile.mean() for profile in profiles],
            }
            for name, values in figures.items():
                assert row["metrics"][name]["count"] == 3
                assert row["metrics"][name]["mean"] == pytest.approx(np.mean(values))
                assert row["metrics"][name]["std"] == pytest.approx(np.std(values, ddof=1))
                assert row["metrics"][name]["ci95"] == pytest.approx(4.302653 * np.std(values, ddof=1) / 3**0.5)


def test_a_step_that_was_not_recorded_has_no_metrics(api: httpx2.Client, store: Experiments) -> None:
    study = post(api, {"training.seed": [0, 1]}, BASE | {"recording": {"every": 10}})
    for run in runs(api, study):
        end(store, run["id"])  # 125 steps, of which 13 are recorded

    (row,) = read(api, study, steps="0,-13,-14,-200,124,1000")["table"]

    assert {name for name in row["metrics"] if name.startswith("slope")} == {"slope@0", "slope@-13", "slope@124"}
    assert row["metrics"]["slope@-13"] == row["metrics"]["slope@0"]


def test_without_recorded_norms_the_table_has_no_slope(api: httpx2.Client, store: Experiments) -> None:
    study = post(api, {"training.seed": [0]}, BASE | {"recording": {"statistics": ["dead_fraction"]}})
    (run,) = runs(api, study)
    end(store, run["id"], loss=1.0)

    assert "loss" in read(api, study)["table"][0]["metrics"]


def test_losses_beyond_float64_are_null_in_json_and_empty_in_csv(api: httpx2.Client, store: Experiments) -> None:
    study = post(api, {"training.seed": [0, 1]})
    for run, loss in zip(runs(api, study), (1.7e308, 1.6e308), strict=True):
        end(store, run["id"], loss=loss)

    (row,) = read(api, study)["table"]
    (line,) = csv.DictReader(io.StringIO(api.get(study["links"]["self"], params={"format": "csv"}).text))

    assert row["metrics"]["loss"] == {"count": 2, "mean": None, "std": None, "ci95": None}
    assert [line[f"loss.{part}"] for part in ("mean", "std", "ci95")] == ["", "", ""]


def test_if_every_tenth_step_is_recorded_the_previous_recorded_step_counts(
    api: httpx2.Client, store: Experiments
) -> None:
    study = post(api, {"training.seed": [0]}, BASE | {"recording": {"every": 10}})
    (run,) = runs(api, study)
    end(store, run["id"])

    metrics = read(api, study, steps="20,25")["table"][0]["metrics"]

    assert metrics["level@25"] == metrics["level@20"]
    assert metrics["level@20"]["ci95"] is None


def test_csv_and_json_are_the_same_table(api: httpx2.Client, store: Experiments) -> None:
    study = post(api, {"model.activation": ["relu", "tanh"], "training.seed": [0, 1]}, {"model": {"kind": "mlp"}})
    for run in runs(api, study)[:3]:
        end(store, run["id"], loss=0.1 + int(run["id"][-1], 16))

    answer = api.get(study["links"]["self"], params={"format": "csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text)))

    assert answer.headers["content-type"].startswith("text/csv")
    for row, expected in zip(rows, read(api, study)["table"], strict=True):
        assert row["model.activation"] == expected["axes"]["model.activation"]
        assert int(row["replicates"]) == expected["replicates"]
        assert int(row["missing"]) == expected["missing"]
        for name, summary in expected["metrics"].items():
            for part in ("mean", "std", "ci95"):
                assert (float(row[f"{name}.{part}"]) if row[f"{name}.{part}"] else None) == summary[part]


@pytest.mark.parametrize(
    ("axes", "location", "words"),
    [
        ({"training.batch_size": [8, 0], "model.depth": [2]}, "body.base.training.batch_size", "training.batch_size=0"),
        ({"model.height": [2]}, "body.base.model.height", "model.height=2: Extra"),
        ({"model.depth": [5000]}, "body.base.model.depth", "layers"),
        (
            {"data": [{"source": "diabetes"}], "training.loss": ["categorical_crossentropy"]},
            "body.base.training.loss",
            "needs classes",
        ),
        ({"data": [{"source": "upload", "dataset_id": "0" * 24}]}, "body.base.data.dataset_id", "no data set"),
        ({"training.epochs.x": [1]}, "body.base.training.epochs", "epochs"),
        ({"training.seed": list(range(2001))}, "body.axes", "study_experiments: 2,001"),
        ({"training.seed": list(range(50)), "data.seed": list(range(50))}, "body.axes", "2,500"),
        ({"epochs": [1]}, "body.axes.epochs", "a path must begin with model, data, training or recording"),
        ({"model.depth": []}, "body.axes.model.depth", "at least one value"),
    ],
)
def test_an_invalid_combination_is_named_and_nothing_is_queued(
    api: httpx2.Client, queue: RecordedMessages, client: redis.Redis, axes: Json, location: str, words: str
) -> None:
    base = BASE | {"training": {"epochs": 3}}
    answer = api.post("/v1/studies", json={"base": base, "axes": axes})

    (error,) = problem(answer, 422)["errors"]
    assert error["location"] == location
    assert words in error["message"]
    assert queue.ids == []
    assert keys_of(client) == []


def test_nan_and_infinity_are_refused(api: httpx2.Client) -> None:
    body = '{"base": {"model": "baseline"}, "axes": {"training.optimizer.learning_rate": [NaN]}}'

    problem(api.post("/v1/studies", content=body, headers=JSON), 422)


@pytest.mark.parametrize(
    ("base", "axes"),
    [
        ('{"model": "baseline", "training": {"epochs": NaN}}', '{"training.epochs": [1]}'),
        ('{"model": {"kind": "mlp", "activation": "\\ud800"}}', '{"model.activation": ["relu"]}'),
        ('{"model": ' + "[" * 300 + "]" * 300 + "}", '{"model": ["baseline"]}'),
        ('{"model": ' + "[" * 800 + "]" * 800 + "}", '{"model": ["baseline"]}'),
        ('{"model": "baseline"}', '{"model": [' + "[" * 800 + "]" * 800 + "]}"),
        ('{"model": "baseline"}', '{"\\ud800": [1]}'),
        ('{"model": "baseline"}', '{"model": ["\\ud800"]}'),
    ],
)
def test_a_base_that_is_not_strict_json_is_refused_even_if_an_axis_replaces_it(
    api: httpx2.Client, client: redis.Redis, base: str, axes: str
) -> None:
    answer = api.post("/v1/studies", content=f'{{"base": {base}, "axes": {axes}}}', headers=JSON)

    (error,) = problem(answer, 422)["errors"]
    assert error["location"].startswith(("body.base", "body.axes"))
    assert keys_of(client) == []


def test_a_study_that_is_nested_too_deeply_is_refused(api: httpx2.Client) -> None:
    body = '{"base": {"model": ' + "[" * 50_000 + '}, "axes": {"model": ["baseline"]}}'

    (error,) = problem(api.post("/v1/studies", content=body, headers=JSON), 422)["errors"]
    assert error["code"] == "json"


@pytest.mark.parametrize("steps", ["first", "1,", "9" * 15, ",".join(map(str, range(17)))])
def test_invalid_steps_are_refused(api: httpx2.Client, steps: str) -> None:
    study = post(api, {"training.seed": [0]})

    (error,) = problem(api.get(study["links"]["self"], params={"steps": steps}), 422)["errors"]
    assert error["location"] == "query.steps"


def test_cancelling_ends_queued_experiments_and_asks_running_ones_to_stop(
    api: httpx2.Client, store: Experiments, attempts: Attempts
) -> None:
    study = post(api, {"training.seed": [0, 1, 2]})
    running = runs(api, study)[0]["id"]
    attempt = write(store, running, 25)

    asked = api.post(study["links"]["cancel"])
    assert asked.status_code == 202
    assert asked.json()["counts"] == {"queued": 0, "running": 1, "succeeded": 0, "failed": 0, "cancelled": 2}
    assert store.get(running).cancel_requested

    attempts.finish(running, attempt, Status.CANCELLED, Outcome(), Timing())
    again = api.post(study["links"]["cancel"])
    assert again.status_code == 200
    assert again.json()["status"] == "cancelled"


def test_a_study_whose_runs_succeeded_before_they_saw_the_cancel_has_succeeded(
    api: httpx2.Client, store: Experiments, attempts: Attempts
) -> None:
    study = post(api, {"training.seed": [0]})
    (run,) = runs(api, study)
    attempt = write(store, run["id"], 125)
    assert api.post(study["links"]["cancel"]).status_code == 202

    attempts.finish(run["id"], attempt, Status.SUCCEEDED, Outcome(), Timing())

    assert read(api, study)["status"] == "succeeded"


def test_a_study_without_remaining_experiments_has_not_succeeded(api: httpx2.Client) -> None:
    study = post(api, {"training.seed": [0, 1]})
    for run in runs(api, study):
        assert api.delete(f"/v1/experiments/{run['id']}").status_code == 204

    found = read(api, study)

    assert (found["status"], sum(found["counts"].values()), found["experiments"]) == ("failed", 0, 2)
    assert found["table"][0]["missing"] == 2


def test_deleting_removes_everything_and_is_refused_while_an_experiment_runs(
    api: httpx2.Client, store: Experiments, client: redis.Redis, attempts: Attempts
) -> None:
    study = post(api, {"model.depth": [2, 3], "training.seed": [0, 1]})
    first, second, *_ = (run["id"] for run in runs(api, study))
    end(store, first)
    attempt = write(store, second, 25)

    problem(api.delete(study["links"]["self"]), 409)
    attempts.finish(second, attempt, Status.CANCELLED, Outcome(), Timing())
    assert api.delete(study["links"]["self"]).status_code == 204

    assert keys_of(client) == []
    for method in (api.get, api.delete):
        problem(method(study["links"]["self"]), 404)
    problem(api.post(study["links"]["cancel"]), 404)


def test_a_deleted_experiment_counts_as_missing(api: httpx2.Client, store: Experiments) -> None:
    study = post(api, {"training.seed": [0, 1]})
    first, second = (run["id"] for run in runs(api, study))
    end(store, first)
    assert api.delete(f"/v1/experiments/{second}").status_code == 204

    found = read(api, study)

    assert found["status"] == "succeeded"
    assert (found["table"][0]["replicates"], found["table"][0]["missing"]) == (1, 1)


def test_a_study_that_the_client_sends_twice_is_created_once(
    store: Experiments, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, attempts: Attempts
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "abcdef")
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_000_000_000)
    planned, studies = plan_of(model="baseline"), Studies(client)
    spec = StudySpec(base={"model": "baseline"}, axes={"training.seed": [0, 1]})
    new = [new_experiment(planned.spec, (), planned.shape, "a", 1, GradientNormLayout.of(planned))] * 2
    study, (first, second) = studies.create(spec, new, (), ())
    claim = attempts.claim_next("cpu", "here:1")
    assert claim is not None

    again, ids = studies.create(spec, new, (), ())

    assert (again.study, ids) == (study.study, [first, second])

    assert store.get(claim.experiment_id).status == Status.RUNNING
    assert store.queued() == [second]
    assert client.zcard("gradflow:queued:a") == 1


def test_studies_are_listed_newest_first_page_by_page(api: httpx2.Client) -> None:
    ids = []
    for seed in range(3):
        ids.append(post(api, {"training.seed": [seed]})["id"])
        time.sleep(0.002)

    first = api.get("/v1/studies", params={"limit": 2}).json()
    rest = api.get("/v1/studies", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [s["id"] for s in first["studies"] + rest["studies"]] == ids[::-1]
    assert rest["next_cursor"] is None
    assert "table" not in first["studies"][0]
    problem(api.get("/v1/studies", params={"cursor": "nonsense"}), 400)


def test_a_study_has_an_etag_that_changes_with_it(api: httpx2.Client, store: Experiments) -> None:
    study = post(api, {"training.seed": [0]})
    etag = api.get(study["links"]["self"]).headers["etag"]
    assert api.get(study["links"]["self"], headers={"if-none-match": etag}).status_code == 304

    end(store, runs(api, study)[0]["id"])

    assert api.get(study["links"]["self"], headers={"if-none-match": etag}).status_code == 200


def test_a_list_shows_the_same_summary_as_the_study_itself(api: httpx2.Client, store: Experiments) -> None:
    post(api, {"training.seed": [0]})
    study = post(api, {"training.seed": [0, 1, 2, 3]})
    first, second, third, _ = (run["id"] for run in runs(api, study))
    end(store, first)
    end(store, second, status=Status.FAILED)
    write(store, third, 60)

    alone = read(api, study)
    listed = next(s for s in api.get("/v1/studies").json()["studies"] if s["id"] == study["id"])

    assert listed == {name: value for name, value in alone.items() if name not in ("base", "table", "warnings")}
    assert listed["counts"] == {"queued": 1, "running": 1, "succeeded": 1, "failed": 1, "cancelled": 0}


def test_tags_of_a_study_do_not_change_its_base(api: httpx2.Client) -> None:
    body = {"base": BASE, "axes": {"training.seed": [0]}, "name": "mine", "tags": ["paper"]}
    study = api.post("/v1/studies", json=body).json()

    assert (study["name"], study["tags"]) == ("mine", ["paper"])
    assert runs(api, study)[0]["tags"] == ["grid"]


def test_replicates_that_diverged_are_counted(api: httpx2.Client, store: Experiments) -> None:
    study = post(api, {"training.optimizer.learning_rate": [9.0, 0.1], "training.seed": [0, 1]})
    first, *others = (run["id"] for run in runs(api, study))
    end(store, first, diverged_at_step=3)
    for other in others:
        end(store, other, loss=1.0)

    table = read(api, study)["table"]
    lines = csv.DictReader(io.StringIO(api.get(study["links"]["self"], params={"format": "csv"}).text))

    assert [(row["replicates"], row["diverged"], row["metrics"]["loss"]["count"]) for row in table] == [
        (2, 1, 1),
        (2, 0, 2),
    ]
    assert [(line["diverged"], line["loss.count"]) for line in lines] == [("1", "1"), ("0", "2")]


def keras_config(*units: int) -> Json:
    """A Sequential model of Dense layers and one sigmoid unit, in the form that Keras prints."""
    dense = [{"units": size, "activation": "tanh"} for size in units] + [{"units": 1, "activation": "sigmoid"}]
    layers: list[tuple[str, Json]] = [
        ("InputLayer", {"batch_shape": [None, 20]}),
        *(("Dense", config) for config in dense),
    ]
    named = [
        {"module": "keras.layers", "class_name": kind, "config": config | {"name": f"layer_{i}"}}
        for i, (kind, config) in enumerate(layers)
    ]
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "own", "layers": named}}


NETWORK = keras_config(*[4] * 40)


def test_a_keras_network_is_used_in_every_combination(api: httpx2.Client) -> None:
    wide = keras_config(9)
    networks = [{"kind": "keras", "config": config} for config in (NETWORK, wide)]

    study = post(api, {"training.seed": [0, 1], "model": networks}, {"name": "x"})

    assert [run["spec"]["model"]["config"] for run in runs(api, study)] == [NETWORK, wide] * 2


def test_a_study_with_more_models_than_the_cache_holds_keeps_them_apart(api: httpx2.Client) -> None:
    models = [{"kind": "baseline", "depth": depth} for depth in range(1, 41)]

    study = post(api, {"training.seed": [0, 1], "model": models}, {})

    assert [run["spec"]["model"]["depth"] for run in runs(api, study)] == [m["depth"] for m in models] * 2


def test_specs_that_need_too_much_memory_together_are_refused(
    api: httpx2.Client, client: redis.Redis, queue: RecordedMessages
) -> None:
    base = {"model": {"kind": "keras", "config": json.dumps(NETWORK).ljust(100_000)}}

    answer = api.post("/v1/studies", json={"base": base, "axes": {"training.seed": list(range(700))}})

    (error,) = problem(answer, 422)["errors"]
    assert (error["location"], error["limit"], error["maximum"]) == ("body.base", "study_bytes", 2**26)
    assert error["value"] > 2**26
    assert (keys_of(client), queue.ids) == ([], [])


def test_two_thousand_experiments_are_accepted_and_read(api: httpx2.Client, queue: RecordedMessages) -> None:
    rates = [i / 1e4 for i in range(1, 251)]
    study = post(api, {"training.optimizer.learning_rate": rates, "training.seed": list(range(8))})

    assert len(queue.ids) == len(set(queue.ids)) == 2000
    assert queue.ids == sorted(queue.ids)
    assert len(read(api, study)["table"]) == 250


def test_the_example_of_the_documentation_runs(api: httpx2.Client) -> None:
    schema = api.get("/openapi.json").json()["components"]["schemas"]["StudySpec"]

    for example in schema["examples"]:
        assert api.post("/v1/studies", json=example).status_code == 202


def test_an_uploaded_data_set_is_kept_until_the_runs_have_ended(api: httpx2.Client) -> None:
    lines = "\n".join(f"{i},{i % 7},{i % 2}" for i in range(60))
    kept = api.post("/v1/datasets", content=f"a,b,c\n{lines}", headers={"content-type": "text/csv"}).json()
    study = post(api, {"training.seed": [0, 1]}, BASE | {"data": {"source": "upload", "dataset_id": kept["id"]}})

    problem(api.delete(kept["links"]["self"]), 409)
    api.post(study["links"]["cancel"])
    assert api.delete(kept["links"]["self"]).status_code == 204
    answer = api.post("/v1/studies", json={"base": study["base"], "axes": study["axes"]})
    assert problem(answer, 422)["errors"][0]["location"] == "body.base.data.dataset_id"


def test_a_stored_study_equals_the_submitted_one(api: httpx2.Client) -> None:
    axes = {"model.kind": ["baseline", "improved"], "training.seed": [3]}
    found = read(api, post(api, axes))

    assert found["axes"] == json.loads(json.dumps(axes))
    assert found["base"] == BASE
