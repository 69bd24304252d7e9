"""What has been computed of a set of galaxies is kept, and found again by what it was made of.

    CACHE/measurements-<hash>.npz     columns, one array each; pixel statistics, features and read redshifts likewise
    CACHE/redshift-cnn-<hash>/        a trained judge: the folder of a model

The hash in a name is that of everything that the numbers depend on: the set's pixels, the recipe, the weights of a network, the source
code of a function. So nothing in a cache can be out of date, and any of it may be deleted at any time. Entries are arrays without pickles,
written whole or not at all; one that cannot be read is made again.
"""

from __future__ import annotations

import importlib
import inspect
import os
import shutil
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.farm import Farm, Here, Processes, cores
from hubbleflow.files import atomic_path, content_hash, make_folder
from hubbleflow.galaxies import BLOCK, GalaxySet
from hubbleflow.pixels import IndexedStack

VARIABLE = "HUBBLEFLOW_CACHE"
NAMES = "names"  # the array of an entry that holds its columns' names
DIGITS = 32  # of an entry's hash
ALONE = 2000  # galaxies below which starting workers costs more than it saves


class Cache:
    """A folder of entries; without a folder nothing is kept.

    Attributes:
        folder: where, or None.
        taken: what was found there, and whose it is: ("measurements", "real set").
        trouble: why an entry could not be written, if one could not: the work goes on.

    Raises:
        InputError: the folder cannot be made or written.

    Example:
        >>> import tempfile
        >>> cache = Cache(Path(tempfile.mkdtemp()))
        >>> for _ in range(2):
        ...     found = cache.arrays("squares", "real set", ["3"], lambda: {"x": np.arange(3) ** 2})
        >>> found["x"].tolist(), cache.said()
        ([0, 1, 4], 'real set: squares')
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.taken: list[tuple[str, str]] = []
        self.trouble = ""
        self._hashes: list[tuple[Any, BlockHashes]] = []  # of stacks that are in use: keeping them keeps their identities
        if self.folder is not None:
            make_folder(self.folder)

    def __bool__(self) -> bool:
        return self.folder is not None

    @classmethod
    def opened(cls, folder: str | os.PathLike[str] | None = None, kept: bool = True) -> Cache:
        """The cache in a folder; in the user's own where none is given, if it can be written; none at all unless it is to be `kept`.

        Raises:
            InputError: the given folder cannot be made or written.
        """
        if folder is not None or not kept:
            return cls(folder if kept else None)
        try:
            return cls(default_folder())
        except InputError as error:
            without = cls()
            without.trouble = str(error)
            return without

    def said(self) -> str:
        """What was taken, whose by whose; "" for nothing."""
        whose = dict.fromkeys(owner for _, owner in self.taken)
        return "; ".join(f"{owner}: {', '.join(kind for kind, theirs in self.taken if theirs == owner)}" for owner in whose)

    def arrays(self, kind: str, whose: str, made_of: Sequence[str], make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of an entry, or what `make` gives, which is then kept."""
        found = self.get(kind, whose, made_of)
        if found is None:
            found = dict(make())
            self.put(kind, made_of, found)
        return found

    def get(self, kind: str, whose: str, made_of: Sequence[str]) -> dict[str, np.ndarray] | None:
        """The arrays of an entry; None where there is none that can be read."""
        path = self.place(kind, made_of, ".npz")
        if path is None or not path.is_file():
            return None
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:  # it leaves a damaged file open
                found = {str(name): stored[str(number)] for number, name in enumerate(stored[NAMES])}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None
        self.taken.append((kind, whose))
        return found

    def put(self, kind: str, made_of: Sequence[str], arrays: Mapping[str, np.ndarray]) -> None:
        """Keep an entry; a full disk is no reason to stop."""
        path = self.place(kind, made_of, ".npz")
        if path is None:
            return
        stored: dict[str, Any] = {NAMES: np.array(list(arrays), str)}
        for number, values in enumerate(map(np.asarray, arrays.values())):
            stored[str(number)] = values.astype(str) if values.dtype.hasobject else values  # no pickles
        try:
            with atomic_path(path) as temporary:
                np.savez(temporary, **stored)
        except InputError as error:
            self.trouble = str(error)

    def place(self, kind: str, made_of: Sequence[str], suffix: str = "") -> Path | None:
        """Where an entry stands, or would; None without a folder."""
        return None if self.folder is None else self.folder / f"{kind.replace(' ', '-')}-{content_hash(*made_of)[:DIGITS]}{suffix}"

    def forget(self, path: Path) -> None:
        """Remove an entry that is damaged."""
        if self.folder is not None and path.parent == self.folder:
            shutil.rmtree(path, ignore_errors=True)

    def hash_of(self, galaxies: GalaxySet, workers: int | None = None) -> str:
        """SHA-256 over the survey and every plane of pixels, read in one pass, once a process; columns play no part."""
        return content_hash(galaxies.survey.to_json(), *self._passed(galaxies, workers).planes)

    def content_hash(self, galaxies: GalaxySet, workers: int | None = None) -> str:
        """The set's own :meth:`~hubbleflow.galaxies.GalaxySet.content_hash`, from the same one pass."""
        return galaxies.content_hash(self._passed(galaxies, workers).images)

    def _passed(self, galaxies: GalaxySet, workers: int | None) -> BlockHashes:
        known = next((found for stack, found in self._hashes if stack is galaxies.images), None)
        if known is None:
            known = block_hashes(galaxies, workers)
            self._hashes.append((galaxies.images, known))
        return known


def default_folder() -> Path:
    """What HUBBLEFLOW_CACHE names; else `hubbleflow` in XDG_CACHE_HOME, or in ~/.cache where that is not set."""
    own = os.environ.get(VARIABLE)
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hubbleflow"


def farm_for(n: int, workers: int | None = None) -> Farm:
    """Where work on n galaxies is done: in this process for few of them, else in `workers` others, as many as there are cores where that is
    not said.

    Linear algebra on two threads and on one differs in the last bits, and workers have one each: so that the number of workers changes no
    number, whether there are any depends on n alone, and even a single one is a process of its own.

    Raises:
        InputError: `workers` is less than 1.

    Example:
        >>> with farm_for(10, workers=8) as farm:
        ...     type(farm).__name__
        'Here'
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    return Here() if n < ALONE else Processes(workers or cores())


@dataclass(frozen=True)
class BlockHashes:
    """SHA-256 of the images of every block of a set, and of all of its planes (images, inverse variances, mask, PSFs)."""

    images: tuple[str, ...]
    planes: tuple[str, ...]


def block_hashes(galaxies: GalaxySet, workers: int | None = None) -> BlockHashes:
    """The same whatever the number of workers."""
    with farm_for(len(galaxies), workers) as farm:
        found = list(farm.map(_hash_of_block, pixel_blocks(galaxies)))
    return BlockHashes(tuple(images for images, _ in found), tuple(planes for _, planes in found))


def pixel_blocks(galaxies: GalaxySet) -> Iterator[GalaxySet]:
    """The set in pieces that cost little to send to another process: no columns, and images on disk stay there."""
    for first in range(0, len(galaxies), BLOCK):
        part = galaxies[first : first + BLOCK]
        yield GalaxySet(part.images, part.survey, psf=part.psf, ivar=part.ivar, mask=part.mask)


def _hash_of_block(block: GalaxySet) -> tuple[str, str]:
    block = block.in_memory()
    images, psf = content_hash(np.ascontiguousarray(block.images).tobytes()), block.psf
    parts: list[bytes | str] = [images, str(block.images.shape)]
    for plane in (block.ivar, block.mask, *((psf.whole, psf.rows) if isinstance(psf, IndexedStack) else (psf,))):
        values = np.zeros(0) if plane is None else np.ascontiguousarray(plane)
        parts += [f"{values.shape} {values.dtype.str}", values.tobytes()]
    return images, content_hash(*parts)


def source_hash(function: Any) -> str:
    """SHA-256 over the source of the module that a function stands in and of all modules of this package that it draws upon.

    Example:
        >>> source_hash(block_hashes) == source_hash(_hash_of_block) != source_hash(InputError)
        True
    """
    todo, seen = [function.__module__], set[str]()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        module = sys.modules.get(name) or importlib.import_module(name)
        for value in vars(module).values():
            used = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if isinstance(used, str) and used.startswith("hubbleflow."):
                todo.append(used)
    return content_hash(*(_source(name) for name in sorted(seen)))


def _source(name: str) -> str:
    try:
        return inspect.getsource(sys.modules[name])
    except OSError:  # installed without its source: the version must do
        return f"{name} {version('hubbleflow')}"
