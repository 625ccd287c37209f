"""Measure and write the results into docs/benchmarks.md: `make bench`, or `python -m benchmarks PART …`."""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.report import machine
from benchmarks.report.page import PAGE, Part, format_ratio, table, with_part
from benchmarks.report.targets import Result

# Each part imports what it measures, so that a part that only sends HTTP requests does not load TensorFlow.


def _steps() -> Part:
    _one_thread()
    from benchmarks.engine import steps

    return steps.measure()


def _statistics() -> Part:
    _one_thread()
    from benchmarks.engine import recording

    return recording.measure()


def _checkpoints() -> Part:
    _one_thread()
    from benchmarks.engine import checkpoints

    return checkpoints.measure()


def _runs() -> Part:
    from benchmarks.service import runs

    return runs.measure()


def _depth() -> Part:
    from benchmarks.service import depth

    return depth.measure()


def _study() -> Part:
    from benchmarks.service import study

    return study.measure()


def _memory() -> Part:
    from benchmarks.service import memory

    return memory.measure()


def _reading() -> Part:
    from benchmarks.service import reading

    times = reading.measure()
    rows = [(time.format, f"{time.answer_ms:,.0f} ms", format_ratio(time.to_json_dumps)) for time in times]
    text = f"{reading.ROUNDS} rounds in turns.\n\n{table(('format', 'whole answer', 'against `json.dumps`'), rows)}"
    return Part([Result("9", time.format, time.to_json_dumps) for time in times if time.format == "json"], text)


def _submitting() -> Part:
    from benchmarks.service import submitting

    times = submitting.measure()
    rows = [("submission of the preset", f"{times.submission_us:,.0f} µs"), ("bare route", f"{times.bare_us:,.0f} µs")]
    text = f"{submitting.ROUNDS} rounds in turns.\n\n{table(('', 'time per request'), rows)}"
    return Part([Result("11", f"{submitting.CLIENTS} clients", times.submissions_to_bare)], text)


def _load() -> Part:
    from benchmarks.service import load

    return load.measure()


def _diagnosing() -> Part:
    from benchmarks.diagnosis import long_run as diagnosing

    return diagnosing.measure()


def _scaling() -> Part:
    from benchmarks.service import scaling

    return scaling.measure()


PARTS: Mapping[str, Callable[[], Part]] = {
    "steps": _steps,
    "statistics": _statistics,
    "checkpoints": _checkpoints,
    "runs": _runs,
    "depth": _depth,
    "study": _study,
    "memory": _memory,
    "reading": _reading,
    "submitting": _submitting,
    "load": _load,
    "diagnosing": _diagnosing,
    "scaling": _scaling,
}


def main() -> None:
    """Measure the named parts, or all; write each to the page as soon as it is measured."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    arguments.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; default: all")
    arguments.add_argument("--print", action="store_true", help="print the results and do not change the page")
    asked = arguments.parse_args()
    unknown = sorted(set(asked.parts) - set(PARTS))
    if unknown:
        arguments.error(f"there is no part {', '.join(unknown)}")
    failed = []
    for name in asked.parts or PARTS:
        where, began = machine.described(), time.monotonic()
        try:
            found = PARTS[name]()
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        part = Part(found.results, f"{where}\n\n{found.text}")
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        if asked.print:
            print(part.text, *part.results, sep="\n", flush=True)
        else:
            PAGE.write_text(with_part(PAGE.read_text(), name, part))
    if failed:
        sys.exit(f"not measured, for the reasons above: {', '.join(failed)}")


def _one_thread() -> None:
    """Give TensorFlow one thread, as a trainer has, unless an earlier part has configured it."""
    from worker.training import device

    device.configure(threads=1)


if __name__ == "__main__":
    main()
