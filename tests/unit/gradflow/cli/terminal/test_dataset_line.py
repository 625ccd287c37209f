"""An uploaded data set on one line."""

import pytest

from gradflow.cli.terminal.dataset_line import dataset_line
from tests.support.answers import Json

DATASET: Json = {"id": "d", "rows": 1234, "columns": 30, "label": "kind", "classes": ["a", "b"]}


@pytest.mark.parametrize(("classes", "labels"), [(["a", "b"], "2 classes"), (None, "regression targets")])
def test_a_data_set_is_shown_with_its_size_labels_and_use(classes: list[str] | None, labels: str) -> None:
    line = dataset_line(DATASET | {"classes": classes}).plain

    assert line == (f'd: 1,234 samples of 30 features, {labels} in kind; use {{"source": "upload", "dataset_id": "d"}}')


def test_a_label_with_control_characters_is_harmless() -> None:
    assert "\x1b" not in dataset_line(DATASET | {"label": "\x1b[2J"}).plain
