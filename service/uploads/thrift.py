"""As much of Thrift's compact protocol as the headers in a Parquet file need.

pyarrow reads these headers too, but it has a process aborted by some that contradict themselves, as soon as Python asks
for a column's metadata, and it allocates what a page's header claims.
"""

from typing import Any

Fields = dict[int, "Fields"]  # the numbers of fields to keep, with those within them; {} keeps a plain value

_DEPTH = 16
_STRUCT_COST = 4  # of the budget; any other element of a list costs one


class Reader:
    """Reads structs out of bytes. IndexError: the bytes end too early. ValueError: they are no struct, or too long."""

    def __init__(self, content: bytes, budget: int) -> None:
        self._content = content
        self._budget = budget
        self.at = 0

    def struct(self, wanted: Fields, depth: int = 0) -> dict[int, Any]:
        """The fields wanted of the struct that begins here."""
        if depth > _DEPTH:
            raise ValueError("structs within structs")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            inner = wanted.get(number)
            value = self._value(head & 15, inner or {}, depth)
            if inner is not None:
                if number in fields:  # others may believe the other
                    raise ValueError(f"field {number} twice")
                fields[number] = value
        return fields

    def _value(self, kind: int, wanted: Fields, depth: int) -> Any:
        """A number, struct or list; None for what no header needs."""
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 12:
            return self.struct(wanted, depth + 1)
        if kind in (9, 10):
            return self._list(wanted, depth + 1)
        if kind == 8:
            self._skip(self._varint())
        elif kind in (3, 7):
            self._skip(1 if kind == 3 else 8)
        elif kind not in (1, 2):  # true and false, which are in the kind; maps are nowhere in Parquet
            raise ValueError(f"kind {kind}")
        return None

    def _list(self, wanted: Fields, depth: int) -> list[Any]:
        head = self._byte()
        size, kind = head >> 4, head & 15
        if size == 15:
            size = self._varint()
        self._budget -= size * (_STRUCT_COST if kind == 12 else 1)
        if self._budget < 0:
            raise ValueError("lists too long")
        if depth > _DEPTH:
            raise ValueError("lists within lists")
        if kind in (1, 2):
            self._skip(size)
            return []
        return [self._value(kind, wanted, depth) for _ in range(size)]

    def _byte(self) -> int:
        byte = self._content[self.at]
        self.at += 1
        return byte

    def _skip(self, length: int) -> None:
        self.at += length
        if self.at > len(self._content):
            raise IndexError

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number of more than 64 bits")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
