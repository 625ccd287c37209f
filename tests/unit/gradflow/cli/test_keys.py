"""`gradflow keys`; tests/integration/api/test_serving.py tests it against Redis."""

from pathlib import Path

from service.local.data_directory import DataDirectory
from tests.support.command_line import gradflow, unframed


def test_two_addresses_of_redis_are_a_usage_error() -> None:
    done = gradflow("keys", "list", "--redis-url", "redis://127.0.0.1:1", "--data-dir", ".gradflow")

    assert done.returncode == 2
    assert "--redis-url and --data-dir exclude each other" in unframed(done.stderr)


def test_without_redis_the_error_names_the_options_that_find_it() -> None:
    done = gradflow("keys", "list", "--redis-url", "unix:///no/such/socket")

    assert done.returncode == 1
    assert done.stderr.startswith("gradflow: ")
    assert "--redis-url" in done.stderr
    assert "--data-dir" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_socket_directory_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / ("deep/" * 40))
    directory.socket.parent.symlink_to(tmp_path)
    try:
        done = gradflow("keys", "list", "--data-dir", str(directory.path))
    finally:
        directory.socket.parent.unlink()

    assert done.returncode == 1
    assert done.stderr == f"gradflow: {directory.socket.parent} is a symbolic link: remove it\n"
