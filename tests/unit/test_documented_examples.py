"""The comparison of documented answers with real ones finds every kind of difference."""

import pytest

from tests.support.documented_examples import differences, examples, read_json, text_matches


@pytest.mark.parametrize(
    ("shown", "actual"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ('{"a": 1, "…": "…"}', '{"a": 1, "b": 2}'),
        ('{"a": "…"}', '{"a": {"b": null}}'),
        ('[1, "…"]', "[1, 2, 3]"),
        ('{"id": "/v1/studies/…"}', '{"id": "/v1/studies/0f"}'),
        ('{"made_at": "2026-11-28T12:00:00.000000Z"}', '{"made_at": "2027-01-02T03:04:05.678901Z"}'),
        ('{"train_s": 0.5}', '{"train_s": 70.25}'),
        ('{"slope": 0.63}', '{"slope": 0.6296598885}'),
        ('{"threshold": 0.2}', '{"threshold": 0.2}'),
        ('{"ratio": 1.0}', '{"ratio": 1}'),
    ],
)
def test_an_answer_that_fits_has_no_differences(shown: str, actual: str) -> None:
    assert list(differences(read_json(shown), read_json(actual))) == []


@pytest.mark.parametrize(
    ("shown", "actual"),
    [
        ('{"a": 1}', '{"a": 2}'),
        ('{"a": 1}', '{"a": true}'),
        ('{"a": 1}', '{"a": "1"}'),
        ('{"a": null}', '{"a": 0}'),
        ('{"a": 1}', '{"a": 1, "b": 2}'),
        ('{"a": 1, "b": 2}', '{"a": 1}'),
        ("[1, 2]", "[1]"),
        ("[1]", "[1, 2]"),
        ('[1, "…"]', "[]"),
        ('{"id": "/v1/studies/…"}', '{"id": "/v1/experiments/0f"}'),
        ('{"made_at": "2026-11-28T12:00:00.000000Z"}', '{"made_at": "yesterday"}'),
        ('{"slope": 0.63}', '{"slope": -0.63}'),
        ('{"slope": 0.63}', '{"slope": 0.7}'),
        ('{"threshold": 0.2}', '{"threshold": 0.201}'),
        ('{"spec": {"rate": 0.001}}', '{"spec": {"rate": 0.00101}}'),
    ],
)
def test_an_answer_that_does_not_fit_has_differences(shown: str, actual: str) -> None:
    assert list(differences(read_json(shown), read_json(actual))) != []


def test_the_ellipsis_in_a_text_stands_for_any_text_including_line_ends() -> None:
    assert text_matches("step,a\n0,…\n…", "step,a\n0,1.5\n1,2.5\n")
    assert not text_matches("step,a\n0,…", "step,b\n0,1.5\n")


def test_an_answer_without_a_command_before_it_is_an_error() -> None:
    with pytest.raises(ValueError, match="no command precedes"):
        examples('text\n\n```json\n{"a": 1}\n```\n')
    with pytest.raises(ValueError, match="no command precedes"):
        examples("```sh\ncurl -s a\n```\n\n```json\n1\n```\n\n```json\n2\n```\n")


def test_each_command_of_a_block_is_found_with_its_further_lines() -> None:
    (example,) = examples("```sh\ncurl -s a \\\n  -d 'x'\ncurl -s b\n```\n\n```json\n{}\n```\n")

    assert example.commands == ("curl -s a \\\n  -d 'x'", "curl -s b")
    assert (example.kind, example.answer) == ("json", "{}\n")
