"""`gradflow keys`; tests/integration/api/test_serving.py tests it against Redis."""

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
