"""Blocks that a run has measured and not yet written into the set: after a kill, the next run goes on from them.

They stand in a file beside the set's, `.NAME.measuring`, one record after the other:

    magic, then for each block: length of the record (8 bytes, little endian), SHA-256 of it (32 bytes), the record

and the record is a structured array of the block's columns in NumPy's own format, its number and key in front. A record counts when
it is whole: what a killed process had half written is cut off. A block's key is a hash of all that its numbers were made of
(`block.BlockResult`), so that another recipe, or other pixels, never meet old numbers.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hubbleflow.errors import InputError

MAGIC = b"hubbleflow: blocks measured so far, 1\n"
_KEY, _LENGTH, _DIGEST = 64, 8, 32


class Unfinished:
    """The measured blocks of an interrupted run of the set at `path`, and of this one.

    Raises:
        InputError: a block cannot be written, e.g. because the disk is full.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "set.h5")
        >>> Unfinished(path).add(0, "f" * 64, {"i_flux": np.array([1.0, 2.0])})
        >>> again = Unfinished(path)
        >>> again.keys, again.columns[0]["i_flux"].tolist()
        ({0: 'ffff...'}, [1.0, 2.0])
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        path = Path(path)
        self.path = path.with_name(f".{path.name}.measuring")
        self.keys: dict[int, str] = {}
        self.columns: dict[int, dict[str, np.ndarray]] = {}
        self._writable = os.access(path.parent, os.W_OK)  # the set may be writable where its folder is not: then nothing is kept
        if self.path.is_file() and self._writable:
            self._read()

    def add(self, number: int, key: str, columns: Mapping[str, np.ndarray]) -> None:
        """Keep a block."""
        if not self._writable:
            return
        record = _record(number, key, columns)
        try:
            with open(self.path, "ab") as file:
                if not file.tell():
                    file.write(MAGIC)
                file.write(len(record).to_bytes(_LENGTH, "little") + hashlib.sha256(record).digest() + record)
        except OSError as error:
            raise InputError(f"cannot keep what has been measured in {self.path}: {error.strerror}") from error

    def forget(self) -> None:
        """Remove the file: all is written, or is to be measured afresh."""
        if self._writable:
            self.path.unlink(missing_ok=True)
        self.keys, self.columns = {}, {}

    def _read(self) -> None:
        size = self.path.stat().st_size
        with open(self.path, "rb") as file:
            whole = len(MAGIC) if file.read(len(MAGIC)) == MAGIC else 0
            while whole and (record := _next(file, size)):
                number, key, columns = _parsed(record)
                self.keys[number], self.columns[number] = key, columns
                whole = file.tell()
        if whole < size:
            os.truncate(self.path, whole)


def _next(file: BinaryIO, size: int) -> bytes | None:
    """The next record of a file of `size` bytes, if it is whole."""
    head = file.read(_LENGTH + _DIGEST)
    length = int.from_bytes(head[:_LENGTH], "little")
    if not 0 < length <= size - file.tell():
        return None
    record = file.read(length)
    return record if hashlib.sha256(record).digest() == head[_LENGTH:] else None


def _record(number: int, key: str, columns: Mapping[str, np.ndarray]) -> bytes:
    n = len(next(iter(columns.values())))
    table = np.empty(n, [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    packed = io.BytesIO()
    np.save(packed, table, allow_pickle=False)
    return number.to_bytes(_LENGTH, "little") + key.encode().ljust(_KEY) + packed.getvalue()


def _parsed(record: bytes) -> tuple[int, str, dict[str, np.ndarray]]:
    number, key = int.from_bytes(record[:_LENGTH], "little"), record[_LENGTH : _LENGTH + _KEY].decode().strip()
    table = np.load(io.BytesIO(record[_LENGTH + _KEY :]), allow_pickle=False)
    return number, key, {name: np.ascontiguousarray(table[name]) for name in table.dtype.names}
