"""Order and distribution of the tests over parallel processes: slow files first, the shared stack in one process."""

from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).parents[1]
STACK = "stack: RunningStack"  # how a test asks for the stack that a whole process shares

# Directories in which a file takes many seconds, slowest first. They start first, so that all processes end together.
SLOW_FIRST = ("chaos", "fuzz", "e2e", "integration/local", "integration/worker", "unit/worker", "integration/api")


class StackInOneProcess(LoadScopeScheduling):  # type: ignore[misc]
    """Runs each file in one process, and every file that uses the shared stack in the same one, so it starts once."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "stack" if _uses_stack(TESTS.parent / file) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Distribute by file; xdist calls this where `--numprocesses` is given."""
    return StackInOneProcess(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow files first; tests of one file keep their order."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    if _uses_stack(item.path):
        return -1
    directory = item.path.parent.relative_to(TESTS).as_posix()
    return next((i for i, slow in enumerate(SLOW_FIRST) if directory.startswith(slow)), len(SLOW_FIRST))


@cache  # of a test file, which does not change while the tests run
def _uses_stack(file: Path) -> bool:
    return STACK in file.read_text()
