"""Cursors that say nothing to the client and are checked when they come back."""

import base64
import binascii
import re

from service.contract.errors import BadCursor


def cursor_of(experiment_id: str | None) -> str | None:
    """The cursor of the page after this experiment."""
    if experiment_id is None:
        return None
    return base64.urlsafe_b64encode(f"1:{experiment_id}".encode()).decode().rstrip("=")


def position_of(cursor: str | None) -> str | None:
    """The experiment that a cursor stands for.

    Raises:
        BadCursor: no answer of ours contained it.
    """
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise BadCursor("cursor: take it from `next_cursor` of an earlier answer") from error
    match = re.fullmatch(r"1:([0-9a-f]{24})", text)
    if match is None:
        raise BadCursor("cursor: take it from `next_cursor` of an earlier answer")
    return match[1]
