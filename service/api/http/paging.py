"""Pages of a list: opaque cursors, and the query parameters that every list takes."""

import base64
import binascii
import re
from typing import Annotated

from fastapi import Query

from service.contract.errors import BadCursor

DEFAULT_LIMIT = 50
NEXT_CURSOR = "`cursor` of the next page; null on the last page."
UNREADABLE = "Damaged records that belong on this page and are left out; the log of the API names their ids."

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=100)]


def cursor_of(last_id: str | None) -> str | None:
    """The cursor of the page that follows this id; None if there is none."""
    if last_id is None:
        return None
    return base64.urlsafe_b64encode(f"1:{last_id}".encode()).decode().rstrip("=")


def position_of(cursor: str | None) -> str | None:
    """The id in a cursor; the page begins after it.

    Raises:
        BadCursor: The cursor comes from no answer of this API.
    """
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise BadCursor("cursor: use `next_cursor` of an earlier answer") from error
    match = re.fullmatch(r"1:([0-9a-f]{24})", text)
    if match is None:
        raise BadCursor("cursor: use `next_cursor` of an earlier answer")
    return match[1]
