"""`python -m tests.chaos`: runs campaigns in parallel and appends one line per campaign to a file of results."""

import argparse
import concurrent.futures
import json
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.chaos import report, ten_kills
from tests.chaos.campaign import KINDS, Campaign, Result, references
from tests.chaos.plain import contrast


def main() -> int:
    """Return the exit status: 1 if any run is lost, wrong or claimed twice."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=list(KINDS), help="kind of fault, may be repeated; default: all"
    )
    parser.add_argument("--count", type=int, default=10, help="number of faults per kind")
    parser.add_argument("--default-settings", action="store_true", help="leases of 30 s instead of 3 s")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(31))
    parser.add_argument("--side-by-side", type=int, default=2, help="number of parallel stacks")
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="time after which a campaign injects no further fault"
    )
    parser.add_argument("--results", type=Path, default=Path("chaos-results.jsonl"))
    parser.add_argument(
        "--references", type=Path, help="file of the digests of undisturbed runs; read if it exists, otherwise written"
    )
    parser.add_argument("--ten-kills", action="store_true", help="only measure one long run that is killed ten times")
    parser.add_argument("--contrast", action="store_true", help="only measure plain Celery under the same faults")
    parser.add_argument("--report", action="store_true", help="only write docs/reliability.md from the results")
    options = parser.parse_args()
    if options.report:
        report.write(options.results)
        return 0
    with tempfile.TemporaryDirectory(prefix="gradflow-chaos-") as temporary:
        if options.ten_kills:
            _keep(report.related(options.results, "ten-kills"), [ten_kills.measure(Path(temporary), options.seed)])
            return 0
        if options.contrast:
            losses = contrast.measure(Path(temporary), options.seed)
            _keep(report.related(options.results, "contrast"), [asdict(one) for one in losses])
            return 0
        known = _references(options.references, Path(temporary, "references"))
        kinds = options.only or [kind for kind in KINDS if kind != "everything"]

        def one(number: int) -> Result:
            name = kinds[number]
            directory = Path(temporary, f"{number}")
            campaign = Campaign(name, directory, known, options.seed + number, short=not options.default_settings)
            try:
                result = campaign.run(options.count, 60 * options.minutes)
            except Exception as error:
                campaign.result.wrong.append(f"the campaign was aborted: {error!r}")
                result = campaign.result
                kept = Path(f"{options.results}.{name.replace(' ', '-')}.log")
                kept.write_text("\n".join(log.read_text(errors="replace") for log in directory.glob("*.log")))
            result.keep(options.results)
            print(
                f"{name}: {result.count} faults, {result.runs} runs, {len(result.wrong)} wrong, {result.seconds:.0f} s"
            )
            for why in result.wrong:
                print(f"  {why}")
            return result

        with concurrent.futures.ThreadPoolExecutor(options.side_by_side) as stacks:
            results = list(stacks.map(one, range(len(kinds))))
    return int(any(result.wrong or result.double_claims or result.server_errors for result in results))


def _keep(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _references(kept: Path | None, directory: Path) -> dict[str, str]:
    if kept is not None and kept.exists():
        found: dict[str, str] = json.loads(kept.read_text())
        return found
    found = references(directory)
    if kept is not None:
        kept.write_text(json.dumps(found))
    return found


if __name__ == "__main__":
    sys.exit(main())
