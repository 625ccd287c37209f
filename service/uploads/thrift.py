"""Reads the part of Thrift's compact protocol that the headers in a Parquet file use.

pyarrow reads these headers as well, but some contradictory headers abort the process as soon as Python reads the
metadata of a column, and pyarrow allocates the size that the header of a page claims.
"""

from typing import Any

Fields = dict[int, "Fields"]  # ids of fields to keep, with the fields within them; {} keeps a plain value

_DEPTH = 16
_STRUCT_COST = 4  # of the budget; any other element of a list costs 1


class Reader:
    """Reads structs from bytes. It raises IndexError if the bytes end too early, ValueError if they are invalid."""

    def __init__(self, content: bytes, budget: int) -> None:
        self._content = content
        self._budget = budget
        self.at = 0

    def struct(self, wanted: Fields, depth: int = 0) -> dict[int, Any]:
        """Return the wanted fields of the struct at the current position."""
        if depth > _DEPTH:
            raise ValueError("structs are nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            inner = wanted.get(number)
            value = self._value(head & 15, inner or {}, depth)
            if inner is not None:
                if number in fields:  # other readers may use the other value
                    raise ValueError(f"field {number} occurs twice")
                fields[number] = value
        return fields

    def _value(self, kind: int, wanted: Fields, depth: int) -> Any:
        """Return a number, struct or list; None for other types, which are skipped."""
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
        elif kind not in (1, 2):  # 1 and 2 are true and false; Parquet uses no maps
            raise ValueError(f"the type {kind} is unknown")
        return None

    def _list(self, wanted: Fields, depth: int) -> list[Any]:
        head = self._byte()
        size, kind = head >> 4, head & 15
        if size == 15:
            size = self._varint()
        self._budget -= size * (_STRUCT_COST if kind == 12 else 1)
        if self._budget < 0:
            raise ValueError("lists are too long")
        if depth > _DEPTH:
            raise ValueError("lists are nested too deeply")
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
        raise ValueError("a number has more than 64 bits")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
