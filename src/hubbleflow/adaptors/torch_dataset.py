"""Galaxies for PyTorch's DataLoader: a set's, read when they are asked for, or a generator's, drawn without end.

    GalaxyDataset       map-style: item i is galaxy i; a batch is read at once, in runs of neighbouring rows
    GeneratedDataset    iterable: galaxies 0, 1, 2, ... of one seed, drawn in blocks; worker w of W draws the blocks b = w, w + W, ...

Items are dictionaries of tensors: `image` (band, y, x) float32, in flux or in a stretch's network units, and one entry a column:
numbers as float32 or int64, truth values as bool, `category` as its class's number (-1 where unknown), other text as it is. Pixels that
are not finite are 0, the sky, as in training.

No file is open between reads, and what goes to a worker is a path and the columns: workers may be forked or spawned, each opens the
file itself. A galaxy depends on (seed, its number, its conditions) alone, and so does what a block is asked for: the union of what the
workers draw is one and the same set whatever their number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator

if TYPE_CHECKING:
    from jaxtyping import Float32
    from torch import Tensor

    from hubbleflow.stretch import Stretch

    Item = dict[str, Any]

NATURAL = ("redshift", "category")  # columns that an item has where none are named
PLANES = ("ivar", "mask")  # may be named like columns
DRAWN_AT_ONCE = 64


class GalaxyDataset(Dataset):
    """A set of galaxies as a map-style dataset.

    Args:
        galaxies: a set, or the path of its HDF5 file.
        columns: names of the table or of what was measured, or "ivar", "mask"; `redshift` and `category`, where there are such, if None.
        stretch: makes network units of flux, e.g. a generator's; the image stays flux where None.
        transform: called with the image tensor; what it returns stands in its place.
        classes: names of the classes in the order of their numbers, e.g. of a training set; sorted names of this set's where None.

    Attributes:
        classes: as above; empty where `category` is not among the columns.

    Raises:
        InputError: the file cannot be read, there is no such column or plane, or a galaxy's category is none of `classes`.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> columns = {"redshift": np.array([0.1, 0.2, 0.3]), "category": np.array(["spiral", "", "elliptical"])}
        >>> dataset = GalaxyDataset(GalaxySet(np.zeros((3, 1, 8, 8), np.float32), Survey.get("hsc-i"), columns))
        >>> dataset.classes, dataset[0]["image"].shape, dataset[0]["category"].item(), dataset[1]["category"].item()
        (('elliptical', 'spiral'), torch.Size([1, 8, 8]), 1, -1)
        >>> next(iter(torch.utils.data.DataLoader(dataset, batch_size=2)))["redshift"]
        tensor([0.1000, 0.2000])
    """

    def __init__(
        self,
        galaxies: GalaxySet | str | os.PathLike[str],
        columns: Sequence[str] | None = None,
        stretch: Stretch | None = None,
        transform: Callable[[Tensor], Any] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        galaxies = galaxies if isinstance(galaxies, GalaxySet) else GalaxySet.open(galaxies)
        names = [name for name in NATURAL if name in galaxies.columns] if columns is None else list(columns)
        self.images, self.stretch, self.transform = galaxies.images, stretch, transform
        self.planes = {name: getattr(galaxies, name) for name in names if name in PLANES}
        if missing := [name for name, plane in self.planes.items() if plane is None]:
            raise InputError(f"{galaxies.path or 'the set'} has no {missing[0]}: leave it out of columns")
        taken = {name: galaxies.column(name) for name in names if name not in PLANES}
        self.classes: tuple[str, ...] = ()
        if "category" in taken:
            self.classes = tuple(classes or sorted(set(taken["category"].tolist()) - {""}))
            taken["category"] = class_numbers(taken["category"], self.classes)
        self.columns = {name: as_column(values) for name, values in taken.items()}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Item:
        return self.__getitems__([i])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[Item]:
        """The items of several rows, read at once: DataLoader asks so for a batch."""
        chosen = np.asarray(rows, np.int64)
        images = torch.from_numpy(np.asarray(self.images[chosen], np.float32))
        planes = {name: torch.from_numpy(np.asarray(plane[chosen])) for name, plane in self.planes.items()}
        columns = {name: values[chosen] for name, values in self.columns.items()} | planes
        return items_of(images, columns, self.stretch, self.transform)


class GeneratedDataset(IterableDataset):
    """Galaxies drawn from a generator for as long as they are asked for.

    Args:
        generator: one, or its name (see :meth:`TrainedModel.from_pretrained`): then every worker opens it itself.
        conditions: name -> one value for all, or several, which galaxies take in turn; from the training set's distribution where None.
        n: how many; without end where None.
        seed: of all of them; with conditions named, galaxy i is galaxy i of `generator.sample(conditions, n, seed)`.
        stretch, transform, classes: as for :class:`GalaxyDataset`; classes are the generator's own where None.
        steps, guidance, sampler, extrapolate: see :meth:`Generator.sample`.

    Raises:
        InputError: the generator cannot be opened or asked so.

    Example (with a folder that `hubbleflow train` wrote)::

        dataset = GeneratedDataset("model", {"redshift": 0.5}, seed=1)
        batch = next(iter(DataLoader(dataset, batch_size=32, num_workers=2)))
        batch["image"]      # (32, band, y, x); batch["object_id"] numbers the galaxies
    """

    def __init__(
        self,
        generator: Generator | str | os.PathLike[str],
        conditions: Mapping[str, Any] | None = None,
        n: int | None = None,
        seed: int = 0,
        *,
        stretch: Stretch | None = None,
        transform: Callable[[Tensor], Any] | None = None,
        classes: Sequence[str] | None = None,
        steps: int | None = None,
        guidance: float = 1.0,
        sampler: str | None = None,
        extrapolate: bool = False,
    ) -> None:
        self.generator, self.n, self.seed, self.stretch, self.transform, self.classes = generator, n, seed, stretch, transform, classes
        self.conditions = None if conditions is None else {name: np.atleast_1d(np.asarray(value)) for name, value in conditions.items()}
        self.steps, self.guidance, self.sampler, self.extrapolate = steps, guidance, sampler, extrapolate
        if isinstance(generator, Generator):  # what is asked wrongly is told at once, and not by a worker
            generator.conditions.encode(self._asked(generator, 0), extrapolate)

    def __iter__(self) -> Iterator[Item]:
        generator = self.generator if isinstance(self.generator, Generator) else Generator.from_pretrained(self.generator)
        worker = get_worker_info()
        first, apart = (worker.id, worker.num_workers) if worker else (0, 1)
        classes = self.classes or next((column.classes for column in generator.conditions.columns if column.name == "category"), ())
        for block in count(first, apart):
            start = block * DRAWN_AT_ONCE
            if self.n is not None and start >= self.n:
                return
            (images, columns), *_ = generator.draw(
                self._asked(generator, block),
                self.seed,
                steps=self.steps,
                guidance=self.guidance,
                sampler=self.sampler,
                extrapolate=self.extrapolate,
                batch_size=DRAWN_AT_ONCE,
                offset=start,
            )
            if "category" in columns:
                columns["category"] = class_numbers(columns["category"], classes)
            ready = {name: as_column(values) for name, values in columns.items()}
            yield from items_of(torch.from_numpy(images), ready, self.stretch, self.transform)

    def _asked(self, generator: Generator, block: int) -> dict[str, np.ndarray]:
        """What the galaxies of a block are asked to be."""
        start = block * DRAWN_AT_ONCE
        rows = np.arange(start, start + DRAWN_AT_ONCE if self.n is None else min(start + DRAWN_AT_ONCE, self.n))
        if not self.conditions:
            return generator.draw_conditions(len(rows), self.seed, start)
        return generator.asked({name: values[rows % len(values)] for name, values in self.conditions.items()}, len(rows), self.seed)


def items_of(
    images: Float32[Tensor, "n band y x"], columns: Mapping[str, Any], stretch: Stretch | None, transform: Callable[[Tensor], Any] | None
) -> list[Item]:
    """One dictionary a galaxy; columns are tensors, or lists of text."""
    x = images.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    y = x if stretch is None else stretch(x)
    return [
        {"image": transform(y[row]) if transform else y[row], **{name: values[row] for name, values in columns.items()}}
        for row in range(len(y))
    ]


def as_column(values: np.ndarray) -> Any:
    """A column as a tensor: floats as float32, whole numbers as int64, truth values as bool; text stays an array of it."""
    kinds = {"f": np.float32, "i": np.int64, "u": np.int64, "b": np.bool_}
    return torch.from_numpy(values.astype(kinds[values.dtype.kind])) if values.dtype.kind in kinds else values.astype(str)


def class_numbers(names: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """(n,) the number of each name among the classes; -1 for "".

    Raises:
        InputError: a name is none of them.
    """
    numbers = {"": -1} | {name: number for number, name in enumerate(classes)}
    if unknown := sorted(set(names.tolist()) - set(numbers)):
        raise InputError(f"category {unknown[0]!r} is none of the classes {', '.join(classes)}")
    return np.array([numbers[name] for name in names.tolist()], np.int64)
