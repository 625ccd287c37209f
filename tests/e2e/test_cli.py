"""The command `gradflow` against a running stack."""

import json
from pathlib import Path

from tests.support.command_line import gradflow, unframed
from tests.support.running_stack import RunningStack, free_port

STUDY = {
    "base": {"model": {"kind": "mlp", "depth": 3, "width": 4}, "training": {"epochs": 1}},
    "axes": {"model.activation": ["relu", "tanh"], "training.seed": [0, 1]},
}


def test_run_trains_a_spec_from_a_file_and_shows_every_kernel(stack: RunningStack, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"name": "from a file", "model": {"kind": "improved", "depth": 3, "width": 8}}))

    done = gradflow("run", str(spec), url=stack.url)

    assert done.returncode == 0, done.stderr
    for layer in ("dense_0", "dense_1", "dense_2", "output"):
        assert layer in done.stdout
    assert "█" in done.stdout
    assert "succeeded: loss" in done.stdout
    listed = gradflow("list", url=stack.url).stdout
    assert "from a file" in listed
    assert done.stdout.split("/v1/experiments/")[1].split()[0] in listed


def test_watch_shows_an_experiment_that_has_already_ended(stack: RunningStack) -> None:
    queued = gradflow("run", "baseline", url=stack.url).stdout
    experiment_id = queued.split("/v1/experiments/")[1].split()[0]

    done = gradflow("watch", experiment_id, url=stack.url)

    assert done.returncode == 0
    assert "decades lost" in done.stdout


def test_a_run_shows_its_verdict_and_can_be_diagnosed_and_compared_with_theory(
    stack: RunningStack, tmp_path: Path
) -> None:
    done = gradflow("run", "baseline", url=stack.url)
    experiment_id = done.stdout.split("/v1/experiments/")[1].split()[0]
    figure = tmp_path / "theory.png"

    diagnosed = gradflow("diagnose", experiment_id, url=stack.url)
    other = gradflow("diagnose", experiment_id, "--rules", "sagemaker", url=stack.url)
    compared = gradflow("theory", experiment_id, "--png", str(figure), url=stack.url)
    predicted = gradflow("theory", "baseline", url=stack.url)

    assert "warning: vanishing gradient" in " ".join(done.stdout.split())
    assert "verdict: vanishing" in done.stdout
    assert "verdict: vanishing (rules: gradflow)" in diagnosed.stdout
    assert "dense_0" in diagnosed.stdout
    assert "rules: sagemaker" in other.stdout
    assert "from the samples and errors of the first batch of the run" in compared.stdout
    assert "measured" in compared.stdout
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "from the spec alone" in predicted.stdout
    assert [c.returncode for c in (done, diagnosed, other, compared, predicted)] == [0] * 5


def test_a_refusal_of_the_service_is_one_line_and_exit_status_1(stack: RunningStack, tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text('{"model": {"kind": "baseline", "depth": -1}}')

    for arguments in (["run", str(spec)], ["watch", "nix"]):
        done = gradflow(*arguments, url=stack.url)
        assert done.returncode == 1
        assert done.stderr.startswith("gradflow: 4")
        assert len(done.stderr.splitlines()) == 1


def test_a_closed_port_is_an_error_with_the_command_that_startsgradflow() -> None:
    done = gradflow("list", url=f"http://127.0.0.1:{free_port()}")

    assert done.returncode == 1
    assert "nothing answers" in done.stderr
    assert "gradflow up" in done.stderr


def test_a_file_that_is_missing_or_not_json_is_a_usage_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")

    for name in ("missing.json", str(broken)):
        done = gradflow("run", name)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_an_uploaded_data_set_can_be_used_by_a_spec(stack: RunningStack, tmp_path: Path) -> None:
    file = tmp_path / "xor.csv"
    file.write_text("a,b,odd\n" + "0,0,no\n0,1,yes\n1,0,yes\n1,1,no\n" * 10)
    kept = gradflow("upload", str(file), "--label", "odd", url=stack.url)
    assert kept.returncode == 0, kept.stderr
    assert "40 samples of 2 features, 2 classes in odd" in kept.stdout
    spec = tmp_path / "spec.json"
    data = json.loads(kept.stdout.partition("; use ")[2])
    spec.write_text(json.dumps({"model": {"kind": "mlp", "hidden_units": [7, 3]}, "data": data}))

    done = gradflow("run", str(spec), url=stack.url)

    assert done.returncode == 0, done.stderr
    assert "mlp 7-3, upload" in gradflow("list", url=stack.url).stdout


def test_a_file_that_is_not_a_data_set_is_refused_with_the_row_at_fault(stack: RunningStack, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("a,label\n1,x\n2,y\nthree,x\n4,y\n")

    refused = gradflow("upload", str(file), url=stack.url)
    unknown = gradflow("upload", str(tmp_path / "data.txt"), url=stack.url)

    assert refused.returncode == 1
    assert "row 3" in refused.stderr
    assert unknown.returncode == 2
    assert ".parquet" in unknown.stderr


def test_a_study_is_submitted_watched_and_shown_as_a_table(stack: RunningStack, tmp_path: Path) -> None:
    file, kept = tmp_path / "study.json", tmp_path / "table.csv"
    file.write_text(json.dumps(STUDY))

    done = gradflow("study", str(file), "--csv", str(kept), url=stack.url)

    assert done.returncode == 0, done.stderr
    assert "queued 4 experiments" in done.stdout
    assert "succeeded: 4 succeeded" in done.stdout
    assert "±" in done.stdout
    lines = kept.read_text().splitlines()
    assert lines[0].startswith("model.activation,replicates,missing,diverged,")
    assert [line.split(",")[:3] for line in lines[1:]] == [["relu", "2", "0"], ["tanh", "2", "0"]]
    again = gradflow("study", done.stdout.split("/v1/studies/")[1].split()[0], url=stack.url)
    assert again.returncode == 0
    assert "queued" not in again.stdout.splitlines()[0]
    assert "succeeded: 4 succeeded" in again.stdout


def test_an_invalid_study_is_refused_in_one_line(stack: RunningStack, tmp_path: Path) -> None:
    file = tmp_path / "study.json"
    file.write_text(json.dumps(STUDY | {"axes": {"model.depth": [0]}}))

    done = gradflow("study", str(file), url=stack.url)

    assert done.returncode == 1
    assert "model.depth=0" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_file_with_a_study_is_a_usage_error(tmp_path: Path) -> None:
    done = gradflow("study", str(tmp_path / "none.json"))

    assert done.returncode == 2
    assert "a study's id" in unframed(done.stderr)
