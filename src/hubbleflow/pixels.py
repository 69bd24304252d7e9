"""Stacks of pixel arrays that stay on disk until they are asked for.

GalaxiesML is 17 GB: nothing in this package may load a whole file because it needs a row. A :class:`DiskStack` names a dataset of an HDF5
file and the rows of it that are meant; indexing reads just those, sorted and in contiguous runs (a chunk is one image, so a run costs
what its bytes cost). The file is open only while it is read (half a millisecond a read), so a stack can be sent to another process, and
the file can be written to between reads.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.galaxy_file import open_hdf5

if TYPE_CHECKING:
    import h5py
    from jaxtyping import Int, Shaped

Rows = slice | Sequence[int] | np.ndarray | int


class Stack(Protocol):
    """What an array and a stack on disk have in common: a length, a shape, and rows by slice, integers or mask."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any) -> Any: ...


def row_numbers(rows: Any, length: int) -> np.ndarray:
    """Row numbers that a slice, an integer, a boolean mask or a list of integers means, as int64, negative ones counted from the end.

    Raises:
        IndexError: a row lies outside the stack, or a mask has the wrong length.
    """
    if isinstance(rows, slice):
        return np.arange(length)[rows]
    rows = np.atleast_1d(np.asarray(rows))
    if rows.dtype == bool:
        if rows.shape != (length,):
            raise IndexError(f"a mask of {rows.shape} cannot select from {length} rows")
        return np.flatnonzero(rows)
    rows = rows.astype(np.int64)
    rows = np.where(rows < 0, rows + length, rows)
    if rows.size and (rows.min() < 0 or rows.max() >= length):
        raise IndexError(f"row {int(rows.max())} is outside a stack of {length}")
    return rows


def within(stack: Any, index: Any) -> Any:
    """What numpy's `stack[rows, band, y, x]` or `stack[..., x]` means: rows are read whole, and then cut.

    Example:
        >>> within(np.arange(12).reshape(2, 2, 3), (slice(None), 0)).tolist()
        [[0, 1, 2], [6, 7, 8]]
    """
    rows, *rest = index if isinstance(index, tuple) else (index,)
    if rows is Ellipsis:
        return stack[:][index]
    found = stack[rows]
    return found[tuple(rest)] if isinstance(rows, int | np.integer) else found[(slice(None), *rest)]


class _Rows(ABC):
    """What indexing has in common: a child says its shape, how it reads rows by number, and how it selects them."""

    shape: tuple[int, ...]
    dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Shaped[np.ndarray, ...]:
        """Read rows into memory; an integer gives one row without the leading axis."""
        if isinstance(rows, tuple | EllipsisType):
            return within(self, rows)
        if isinstance(rows, int | np.integer):
            return self[[rows]][0]
        return self._read(row_numbers(rows, len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    @abstractmethod
    def _read(self, rows: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n ..."]:
        """These rows, in this order."""

    @abstractmethod
    def select(self, rows: Any) -> _Rows:
        """Fewer rows; nothing is read."""


class DiskStack(_Rows):
    """Rows of one HDF5 dataset, read when indexed.

    Args:
        path: the HDF5 file.
        dataset: name of a dataset of shape (n, ...).
        rows: which rows, in which order; None for all.
        dtype: what indexing returns.

    Raises:
        InputError: here and at every reading: the file is not there (any more), or is locked by somebody who writes to it.
    """

    def __init__(self, path: str | os.PathLike[str], dataset: str, rows: np.ndarray | None = None, dtype: Any = np.float32) -> None:
        self.path, self.dataset, self.dtype, self.rows = str(path), dataset, np.dtype(dtype), rows
        with open_hdf5(self.path) as file:
            stored = file[dataset].shape
        self.shape = (stored[0] if rows is None else len(rows), *stored[1:])

    def select(self, rows: Any) -> DiskStack:
        """The same dataset, fewer rows; nothing is read."""
        chosen = row_numbers(rows, len(self))
        return DiskStack(self.path, self.dataset, chosen if self.rows is None else self.rows[chosen], self.dtype)

    def _read(self, rows: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n ..."]:
        stored = rows if self.rows is None else self.rows[rows]
        out = np.empty((len(stored), *self.shape[1:]), self.dtype)
        if not len(stored):
            return out
        unique, where = np.unique(stored, return_inverse=True)
        starts = np.flatnonzero(np.diff(unique, prepend=unique[0] - 2) > 1)
        ordered = len(unique) == len(stored) and bool((where[1:] > where[:-1]).all())
        target = out if ordered else np.empty((len(unique), *self.shape[1:]), self.dtype)
        with open_hdf5(self.path) as file:
            dataset = file[self.dataset]
            for first, last in zip(starts, [*starts[1:], len(unique)], strict=True):
                target[first:last] = dataset[unique[first] : unique[first] + (last - first)]
        if not ordered:
            out[:] = target[where]
        return out


class ChainedStack(_Rows):
    """Several stacks end to end, none of them copied."""

    def __init__(self, parts: Sequence[Stack]) -> None:
        self.parts = list(parts)
        self.offsets = np.cumsum([0, *(len(part) for part in self.parts)])
        self.shape = (int(self.offsets[-1]), *self.parts[0].shape[1:])

    def select(self, rows: Any) -> SelectedStack:
        """Fewer rows; nothing is read."""
        return SelectedStack(self, row_numbers(rows, len(self)))

    def _read(self, rows: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n ..."]:
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        owner = np.searchsorted(self.offsets, rows, side="right") - 1
        for number in np.unique(owner):
            here = owner == number
            out[here] = self.parts[number][rows[here] - self.offsets[number]]
        return out


class SelectedStack(_Rows):
    """Some rows of another stack, by number."""

    def __init__(self, whole: Stack, rows: np.ndarray) -> None:
        self.whole, self.rows = whole, rows
        self.shape = (len(rows), *whole.shape[1:])

    def select(self, rows: Any) -> SelectedStack:
        """Fewer rows; nothing is read."""
        return SelectedStack(self.whole, self.rows[row_numbers(rows, len(self))])

    def _read(self, rows: Int[np.ndarray, " n"]) -> Shaped[np.ndarray, "n ..."]:
        return self.whole[self.rows[rows]]


class IndexedStack(SelectedStack):
    """A few items that many rows share, such as the PSFs of a survey's pointings: row g is `whole[rows[g]]`.

    Example:
        >>> psf = IndexedStack(np.stack([np.zeros((5, 3, 3)), np.ones((5, 3, 3))]), np.array([0, 0, 1, 1]))
        >>> psf.shape, psf[1:3].max(axis=(1, 2, 3)).tolist()
        ((4, 5, 3, 3), [0.0, 1.0])
    """

    def select(self, rows: Any) -> IndexedStack:
        """Fewer rows; nothing is read."""
        return IndexedStack(self.whole, self.rows[row_numbers(rows, len(self))])

    def in_memory(self) -> IndexedStack:
        """The same rows, with those items that they use in memory, each once."""
        used, rows = np.unique(self.rows, return_inverse=True)
        return IndexedStack(self.whole[used], rows)


def open_psf(file: h5py.File, path: str | os.PathLike[str], n: int) -> Any:
    """The PSF that a file of `n` galaxies holds: one for all in memory, or a stack on disk with one a galaxy; None if there is none.

    Raises:
        InputError: `psf_index` does not fit the galaxies or the PSFs.
    """
    if "psf" not in file:
        return None
    psf = file["psf"]
    if "psf_index" not in file:
        return DiskStack(path, "psf") if psf.ndim == 4 else psf[:]
    index: Int[np.ndarray, " n"] = file["psf_index"][:]
    if psf.ndim != 4 or index.shape != (n,) or index.dtype.kind not in "iu" or not 0 <= index.min() <= index.max() < len(psf):
        raise InputError(
            f"{path}: 'psf_index' must hold {n} row numbers of 'psf', which has shape {psf.shape}, but has shape {index.shape} and type"
            f" {index.dtype}; write the file again"
        )
    return IndexedStack(DiskStack(path, "psf"), index.astype(np.int64))


def join_psfs(psfs: Sequence[Any], lengths: Sequence[int]) -> Any:
    """The PSF of sets joined end to end: still one if all have the same, else a stack; None where a set has none or sizes differ."""
    if any(psf is None for psf in psfs) or len({tuple(psf.shape[-3:]) for psf in psfs}) > 1:
        return None
    if all(len(psf.shape) == 3 and np.array_equal(psf, psfs[0]) for psf in psfs):
        return psfs[0]
    stacks = [IndexedStack(psf[None], np.zeros(n, np.int64)) if len(psf.shape) == 3 else psf for psf, n in zip(psfs, lengths, strict=True)]
    if not all(isinstance(stack, IndexedStack) for stack in stacks):
        return ChainedStack(stacks)
    whole = ChainedStack([stack.whole for stack in stacks])
    return IndexedStack(whole, np.concatenate([stack.rows + first for stack, first in zip(stacks, whole.offsets, strict=False)]))


def in_memory(stack: Any) -> Any:
    """A stack read into memory (what rows share, once); None stays None."""
    return None if stack is None else stack.in_memory() if isinstance(stack, IndexedStack) else stack[:]


def select(stack: Any, rows: Any) -> Any:
    """Fewer rows of an array (a view or copy) or of a stack on disk (nothing is read); None stays None."""
    if stack is None:
        return None
    return stack.select(rows) if hasattr(stack, "select") else stack[row_numbers(rows, len(stack)) if not isinstance(rows, slice) else rows]
