"""Every answer of a real server conforms to the OpenAPI document."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2
from hypothesis import settings

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SHORT = 10  # cases per operation and phase with the default profile of Hypothesis; the same ones in each run
SEED = 20_261_124
SECONDS_A_CASE = 2


def cases() -> list[str]:
    """Options: a few cases that are always the same, or many new ones with `--hypothesis-profile=fuzz`."""
    chosen = settings().max_examples
    few = chosen == settings.get_profile("default").max_examples
    return ["--max-examples", f"{SHORT}", "--seed", f"{SEED}"] if few else ["--max-examples", f"{chosen}"]


def test_schemathesis_finds_no_fault_in_any_phase_with_any_check(api: httpx2.Client, tmp_path: Path) -> None:
    binaries = Path(sys.executable).parent
    command = shutil.which("schemathesis", path=os.pathsep.join([str(binaries), os.environ["PATH"]]))
    assert command is not None, "schemathesis is not installed"
    options = ["--config-file", str(HERE / "schemathesis.toml")]
    # Every check is on by default; naming them here would override schemathesis.toml for single operations.
    phases = ["--phases", "examples,coverage,fuzzing,stateful", *cases()]
    output = ["--continue-on-failure", "--no-color", "--generation-database", "none", "--report-dir", str(tmp_path)]

    done = subprocess.run(
        [command, *options, "run", f"{api.base_url}/openapi.json", *phases, *output],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600 + SECONDS_A_CASE * 20 * settings().max_examples,
        check=False,
    )

    print(done.stdout[-2000:])  # noqa: T201 - shows the number of cases, with `-s`
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert api.get("/livez").status_code == 200
