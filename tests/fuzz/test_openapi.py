"""The OpenAPI document against a real server: what it says is what is answered, whatever is sent."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2
from hypothesis import settings

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SHORT = 10  # cases an operation and phase, where no longer profile of hypothesis is chosen: the same ones each time
SEED = 20_261_124
SECONDS_A_CASE = 2


def cases() -> list[str]:
    """Which of each operation: a few that are always the same, or with `--hypothesis-profile=fuzz` many new ones."""
    chosen = settings().max_examples
    few = chosen == settings.get_profile("default").max_examples
    return ["--max-examples", f"{SHORT}", "--seed", f"{SEED}"] if few else ["--max-examples", f"{chosen}"]


def test_schemathesis_finds_no_fault_in_any_phase_with_any_check(api: httpx2.Client, tmp_path: Path) -> None:
    beside = Path(sys.executable).parent
    command = shutil.which("schemathesis", path=os.pathsep.join([str(beside), os.environ["PATH"]]))
    assert command is not None, "schemathesis is not installed"
    told = ["--config-file", str(HERE / "schemathesis.toml")]
    # Every check is on as it is; naming them here would overrule what schemathesis.toml says of single operations.
    asked = ["--phases", "examples,coverage,fuzzing,stateful", *cases()]
    shown = ["--continue-on-failure", "--no-color", "--generation-database", "none", "--report-dir", str(tmp_path)]

    done = subprocess.run(
        [command, *told, "run", f"{api.base_url}/openapi.json", *asked, *shown],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600 + SECONDS_A_CASE * 20 * settings().max_examples,
        check=False,
    )

    print(done.stdout[-2000:])  # noqa: T201 - how many cases there were, with `-s`
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert api.get("/livez").status_code == 200
