"""`gradflow up`."""

from typing import Annotated

import typer

from gradflow.cli.extras import require_extra
from gradflow.cli.options import DEFAULT_DATA_DIR, DEFAULT_HOST, DEFAULT_PORT, DataDir, Host, Insecure, Port
from gradflow.cli.output import failure


def up(
    port: Port = DEFAULT_PORT,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    workers: Annotated[int | None, typer.Option(min=1, help="Number of trainers; one per core if omitted.")] = None,
    host: Host = DEFAULT_HOST,
    insecure: Insecure = False,
) -> None:
    """Run the API, the trainers and an embedded Valkey server on this machine until Ctrl-C."""
    require_extra("local")
    from service.local.errors import StackError
    from service.local.stack import run

    try:
        run(port, data_dir, workers, host, insecure)
    except StackError as error:
        raise failure(str(error)) from error
