"""An uploaded data set on one line."""

from rich.text import Text

from gradflow.cli.terminal.printable_text import printable
from gradflow.client import Json


def dataset_line(dataset: Json) -> Text:
    """Size and labels of the data set, and the `data` of a spec that uses it."""
    size = f"{dataset['rows']:,} samples of {dataset['columns']:,} features"
    labels = "regression targets" if dataset["classes"] is None else f"{len(dataset['classes'])} classes"
    usage = f'{{"source": "upload", "dataset_id": "{dataset["id"]}"}}'
    return printable(f"{dataset['id']}: {size}, {labels} in {dataset['label']}; use {usage}")
