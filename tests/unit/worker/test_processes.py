"""A worker's processes end with the process that owns them."""

import os
import subprocess
import sys

from worker.processes import process_name

# The middle process starts one that calls exit_with_parent, prints its id, and is killed.
MIDDLE = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
CHILD = """
import os, sys
from worker.processes import exit_with_parent
exit_with_parent(os.getppid())
print(flush=True)
while True:
    pass
"""


def test_a_process_ends_with_its_parent_even_if_the_parent_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MIDDLE, CHILD], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as middle:
        assert middle.stdout is not None
        assert middle.stderr is not None
        pid = int(middle.stdout.readline())

        assert middle.stderr.read() == b""  # the child holds this pipe until it ends

    assert not os.path.exists(f"/proc/{pid}/exe")  # noqa: PTH110


def test_a_process_is_named_after_host_and_id() -> None:
    host, _, pid = process_name().rpartition(":")

    assert host
    assert int(pid) == os.getpid()
