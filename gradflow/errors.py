"""The errors that the client raises.

GradflowError
├── ApiError       the service answered and refused the request
└── Unreachable    no gradflow service answers at the address

Two errors of Python's own pass through: `ValueError` and `OSError` from `Client.upload`, for a file that is not a data
set or cannot be read.
"""

from typing import Any


class GradflowError(Exception):
    """Base class of the errors that the client raises."""


class ApiError(GradflowError):
    """The service refused the request.

    Attributes:
        status: HTTP status code, 400 to 599.
        title: name of the status, such as "Unprocessable Entity".
        detail: what is wrong, in one sentence; None if the service does not say.
        errors: one entry per invalid field, with `location`, `message` and `code`; empty if no field is to blame.
    """

    def __init__(self, status: int, title: str, detail: str | None, errors: list[dict[str, Any]]) -> None:
        super().__init__(f"{status} {title}" + (f": {detail}" if detail else ""))
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors


class Unreachable(GradflowError):
    """Nothing answers at the address, the address is not valid, or the server there is not gradflow."""
