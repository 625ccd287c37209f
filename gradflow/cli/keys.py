"""`gradflow keys`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gradflow.cli.extras import require_extra
from gradflow.cli.output import console, errors, failure

if TYPE_CHECKING:
    from service.store.keys import Keys

keys = typer.Typer(help="Manage API keys. Once a key exists, the API requires one.", no_args_is_help=True)

Owner = Annotated[str, typer.Argument(help="Owner of the key; experiments belong to their owner.")]
RedisUrl = Annotated[str | None, typer.Option(help="Address of Redis; GRADFLOW_REDIS_URL if omitted.")]
StackDataDir = Annotated[Path | None, typer.Option(help="Data directory of a running `gradflow up`, instead of Redis.")]


@keys.command()
def add(
    name: Owner,
    operator: Annotated[bool, typer.Option("--operator", help="The key sees and changes all experiments.")] = False,
    redis_url: RedisUrl = None,
    data_dir: StackDataDir = None,
) -> None:
    """Create an API key and print it once. From the first key on, every request requires a key."""
    with _stored_keys(redis_url, data_dir) as stored:
        key = stored.add(name, operator)
    typer.echo(key)
    errors.print("save this key now: only its hash is stored. It is valid within a second.")


@keys.command("list")
def list_keys(redis_url: RedisUrl = None, data_dir: StackDataDir = None) -> None:
    """List owner, id and creation time of each key; the keys themselves are not stored."""
    from rich.table import Table

    with _stored_keys(redis_url, data_dir) as stored:
        table = Table("owner", "id", "created", "access", box=None)
        known = stored.all()
        for key in known.keys:
            holder = key.holder
            access = "all experiments" if holder.operator else "own experiments"
            table.add_row(holder.name, key.id, f"{holder.created_at:%Y-%m-%d %H:%M}", access)
    console.print(table)
    for key_id in known.unreadable:
        command = f"gradflow keys remove ANY --id {key_id}"
        errors.print(f"the entry of key {key_id} is damaged, and the API rejects the key; remove it with: {command}")


@keys.command()
def remove(
    name: Owner,
    key_id: Annotated[str | None, typer.Option("--id", help="Remove only the key with this id.")] = None,
    redis_url: RedisUrl = None,
    data_dir: StackDataDir = None,
) -> None:
    """Remove all keys of an owner and keep their experiments.

    Without any key, an API on a loopback address, or one started with --insecure, accepts every request.
    """
    with _stored_keys(redis_url, data_dir) as stored:
        removed = stored.remove(name, key_id)
    console.print(f"{removed} removed; the API rejects them within a second")


@contextmanager
def _stored_keys(redis_url: str | None, data_dir: Path | None) -> Iterator["Keys"]:
    """The keys in the Redis server that the options name; errors become one line instead of a traceback."""
    require_extra("server")
    from service.contract.errors import NotFound, StoreUnavailable
    from service.store.connection import connect
    from service.store.keys import Keys
    from service.store.settings import RedisSettings

    if redis_url and data_dir:
        raise typer.BadParameter("--redis-url and --data-dir exclude each other")
    try:
        if data_dir:
            require_extra("local")
            from service.local.data_directory import DataDirectory

            directory = DataDirectory(data_dir)
            if (fault := directory.socket_fault()) is not None:
                raise failure(fault)
            settings = directory.redis_settings
        else:
            settings = RedisSettings(url=redis_url) if redis_url else RedisSettings()
        with connect(settings) as client:
            yield Keys(client)
    except StoreUnavailable as error:
        raise failure(f"{error}; use --redis-url, or --data-dir with the directory of a running stack") from error
    except (NotFound, ValueError) as error:
        raise failure(str(error)) from error
