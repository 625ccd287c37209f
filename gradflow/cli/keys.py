"""The commands `gradflow keys …`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from service.store.keys import Keys

app = typer.Typer(help="API keys: who may ask, and whose experiments they see.", no_args_is_help=True)
console, errors = Console(highlight=False, markup=False), Console(stderr=True, highlight=False, markup=False)

Name = Annotated[str, typer.Argument(help="Whose key it is; experiments belong to this name.")]
RedisUrl = Annotated[str | None, typer.Option(help="Where Redis is. Default: GRADFLOW_REDIS_URL.")]
DataDir = Annotated[Path | None, typer.Option(help="Instead: the data directory of a `gradflow up` that runs.")]


@app.command()
def add(
    name: Name,
    operator: Annotated[bool, typer.Option("--operator", help="Sees and changes what everybody made.")] = False,
    redis_url: RedisUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, this once. From the first key on, nothing is answered without one."""
    with _keys(redis_url, data_dir) as keys:
        key = keys.add(name, operator)
    typer.echo(key)
    errors.print("keep it: only its hash is stored. It counts within a second.")


@app.command("list")
def list_keys(redis_url: RedisUrl = None, data_dir: DataDir = None) -> None:
    """Who has a key, since when, and its id; never the key itself."""
    from rich.table import Table

    with _keys(redis_url, data_dir) as keys:
        table = Table("name", "id", "made", "sees", box=None)
        known = keys.all()
        for key in known.keys:
            holder = key.holder
            sees = "all" if holder.operator else "own"
            table.add_row(holder.name, key.id, f"{holder.created_at:%Y-%m-%d %H:%M}", sees)
    console.print(table)
    for key_id in known.unreadable:
        errors.print(f"the entry of key {key_id} is damaged and lets nobody in: gradflow keys remove ANY --id {key_id}")


@app.command()
def remove(
    name: Name,
    key_id: Annotated[str | None, typer.Option("--id", help="Only the key of this id.")] = None,
    redis_url: RedisUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Forget all keys of a name; what it made stays. Without any key left, all is open to who reaches it."""
    with _keys(redis_url, data_dir) as keys:
        gone = keys.remove(name, key_id)
    console.print(f"{gone} removed; refused within a second")


@contextmanager
def _keys(redis_url: str | None, data_dir: Path | None) -> Iterator["Keys"]:
    """Those of the server that the options name; what goes wrong is one clear line."""
    from service.contract.errors import NotFound, StoreUnavailable
    from service.store.connection import connect
    from service.store.keys import Keys
    from service.store.settings import RedisSettings

    if redis_url and data_dir:
        raise typer.BadParameter("--redis-url and --data-dir are two answers to one question")
    try:
        if data_dir:
            from service.local.stack import socket_path

            settings = RedisSettings(url=f"unix://{socket_path(data_dir.resolve())}", password=None)
        else:
            settings = RedisSettings(url=redis_url) if redis_url else RedisSettings()
        with connect(settings) as client:
            yield Keys(client)
    except StoreUnavailable as error:
        raise _refusal(f"{error}; say where it is with --redis-url, or --data-dir of a stack that runs") from error
    except (NotFound, ValueError) as error:
        raise _refusal(str(error)) from error


def _refusal(message: str) -> typer.Exit:
    errors.print(f"gradflow: {message}", style="red", soft_wrap=True)
    return typer.Exit(1)
