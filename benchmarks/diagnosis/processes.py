"""Trains many runs in a few processes, one file per run; existing files are kept."""

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from benchmarks.diagnosis.case import RunSpec
from service.contract.architecture import architecture_of


def path_of(folder: Path, run: RunSpec) -> Path:
    """The file of a run."""
    return folder / f"{run.key}.npz"


def train_all(runs: Sequence[RunSpec], folder: Path, processes: int) -> None:
    """Train all runs that have no file yet; one process trains all runs of an architecture, one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = list({run.key: run for run in runs if not path_of(folder, run).exists()}.values())
    began, made = time.monotonic(), 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_prepare) as pool:
        groups = [pool.submit(_train_group, group, folder) for group in _by_architecture(missing)]
        for group in as_completed(groups):
            made += group.result()
            print(f"{made:5d} of {len(missing)} runs, {time.monotonic() - began:.0f} s", flush=True)


def _by_architecture(runs: Sequence[RunSpec]) -> Iterator[list[RunSpec]]:
    groups: dict[str, list[RunSpec]] = {}
    for run in runs:
        groups.setdefault(architecture_of(run.plan), []).append(run)
    yield from sorted(groups.values(), key=len, reverse=True)


def _prepare() -> None:
    """Give the process one thread: at these sizes two processes are faster than two threads."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    from worker.training.device import configure

    configure(threads=1)


def _train_group(runs: Sequence[RunSpec], folder: Path) -> int:
    from benchmarks.diagnosis.training import train  # imports TensorFlow, only in the processes that train
    from worker.training.programs import Programs

    programs = Programs()
    for run in runs:
        train(run.plan, programs).save(path_of(folder, run))
    programs.forget(runs[0].plan)
    return len(runs)
