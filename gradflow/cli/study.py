"""`gradflow study`."""

import re
from pathlib import Path
from typing import Annotated

import typer

from gradflow.cli.files import read_object, require_writable
from gradflow.cli.options import DEFAULT_URL, Key, Url
from gradflow.cli.output import connected, console
from gradflow.client import Client

STUDY_ID = re.compile("[0-9a-f]{24}")


def study(
    study: Annotated[str, typer.Argument(help="A JSON file with `base` and `axes`, or the id of a study.")],
    url: Url = DEFAULT_URL,
    key: Key = None,
    csv: Annotated[Path | None, typer.Option(help="Also write the table to this CSV file.")] = None,
) -> None:
    """Submit a study, or continue to watch one, and show its table when all its experiments have ended."""
    body = None if STUDY_ID.fullmatch(study) else read_object(study, "expected a file with a study, or a study's id")
    if csv is not None:
        require_writable(csv, "--csv")
    with connected(url, key) as client:
        if body is None:
            study_id = study
        else:
            submitted = client.submit_study(body)
            study_id = submitted["id"]
            address = f"{client.url}{submitted['links']['self']}"
            console.print(f"queued {submitted['experiments']} experiments {address}", soft_wrap=True)
        _watch_study(client, study_id, csv)


def _watch_study(client: Client, study_id: str, csv: Path | None) -> None:
    from gradflow.cli.terminal.progress_bars import follow_study
    from gradflow.cli.terminal.study_table import counts_line, study_table

    try:
        ended = follow_study(client, study_id, console)
    except KeyboardInterrupt:
        command = f"gradflow study {study_id} --url {client.url}"
        console.print(f"the study continues; watch it again with: {command}", soft_wrap=True)
        raise typer.Exit(1) from None
    console.print(study_table(ended))
    console.print(counts_line(ended))
    if csv is not None:
        try:
            csv.write_text(client.study_csv(study_id), "utf-8")
        except OSError as error:
            raise typer.BadParameter(f"{csv}: {error.strerror}") from error
    if ended["status"] != "succeeded":
        raise typer.Exit(1)
