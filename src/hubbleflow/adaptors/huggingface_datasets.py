"""Galaxies as a dataset of Hugging Face's `datasets`: a folder of Parquet shards that its `load_dataset` opens as it is.

    FOLDER/data/train-00000-of-00004.parquet    at most 256 MB of images each, 64 galaxies a row group
    FOLDER/README.md                            the dataset's card: survey, units, what every column is

Each row has `image`, Array3D (band, y, x) float32 in linear flux; the columns of the table under their names (`category` as a ClassLabel,
nothing where it is unknown); and what was measured, under `measured_<name>` where the archive has a column of that name. Every shard
carries the features for `datasets` and, under the key `hubbleflow`, survey and provenance as JSON. A block of galaxies is in memory at a
time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.adaptors.extras import imported
from hubbleflow.errors import InputError
from hubbleflow.files import atomic_path, without_nan
from hubbleflow.galaxies import UNITS, GalaxySet
from hubbleflow.galaxy_file import as_text
from hubbleflow.pretrained import upload

if TYPE_CHECKING:
    import datasets
    from jaxtyping import Float32

EXTRA = "huggingface"
SHARD_BYTES = 256 * 10**6
ROWS = 64  # a row group: what a reader of one galaxy has to read


def to_hugging_face(
    galaxies: GalaxySet,
    folder: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    split: str = "train",
    push_to: str | None = None,
    private: bool = False,
    token: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> datasets.Dataset:
    """Write a set as Parquet shards, upload them where that is asked, and open them.

    Args:
        galaxies: the set; never more than a block of it is in memory.
        folder: to be made; it appears when it is whole.
        columns: of the table or of what was measured; all of both where None.
        split: the name of the part, e.g. "test".
        push_to: USER/NAME, a dataset of the Hugging Face hub to write to.
        private, token: see :func:`hubbleflow.pretrained.upload`.
        cache_dir: where `datasets` keeps its copy; its own choice where None.
        on_progress: told of each block how many galaxies it had.

    Returns: the dataset, which `datasets` maps into memory from a copy in its own cache. Where that copy is too much, call
    :func:`write_shards` and open them by `datasets.load_dataset(str(folder), split="train", streaming=True)`.

    Raises:
        InputError: `datasets` is not installed, the folder exists, there is no such column, or the hub says no.

    Example::

        dataset = to_hugging_face(GalaxySet.open("sky.h5"), "sky_dataset", columns=["redshift", "category"])
        dataset.with_format("torch")[0]["image"].shape      # (band, y, x)
    """
    hf = imported("datasets", EXTRA)
    shards = write_shards(galaxies, folder, columns, split=split, on_progress=on_progress)
    if push_to is not None:
        upload(folder, push_to, kind="dataset", private=private, token=token)
    return hf.load_dataset("parquet", data_files={split: [str(path) for path in shards]}, split=split, cache_dir=cache_dir)


def write_shards(
    galaxies: GalaxySet,
    folder: str | os.PathLike[str],
    columns: Sequence[str] | None = None,
    *,
    split: str = "train",
    on_progress: Callable[[int], None] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> list[Path]:
    """The shards and the card alone, see :func:`to_hugging_face`; returns the shards' paths in the set's order."""
    hf, parquet = imported("datasets", EXTRA), imported("pyarrow.parquet", EXTRA)
    folder, table = Path(folder), _columns(galaxies, columns)
    if folder.exists():
        raise InputError(f"{folder} exists already: give the name of a folder that is to be made")
    features = _features(hf, galaxies, table)
    about = json.dumps(without_nan({"survey": galaxies.survey.to_dict(), "provenance": galaxies.provenance}))
    schema = features.arrow_schema.with_metadata(features.arrow_schema.metadata | {b"hubbleflow": about.encode()})
    a_shard = max(1, shard_bytes // (4 * int(np.prod(galaxies.images.shape[1:]))))
    starts = range(0, len(galaxies), a_shard)
    names = [f"data/{split}-{number:05}-of-{len(starts):05}.parquet" for number in range(len(starts))]
    with atomic_path(folder) as temporary:
        (temporary / "data").mkdir(parents=True)
        for name, first in zip(names, starts, strict=True):
            with parquet.ParquetWriter(temporary / name, schema, use_dictionary=False) as writer:
                for start in range(first, min(first + a_shard, len(galaxies)), ROWS):
                    rows = slice(start, min(start + ROWS, first + a_shard))
                    images = np.ascontiguousarray(galaxies.images[rows], np.float32)
                    writer.write_table(_arrow(schema, images, {title: column.values[rows] for title, column in table.items()}, features))
                    if on_progress:
                        on_progress(len(images))
        (temporary / "README.md").write_text(card(galaxies, split, table))
    return [folder / name for name in names]


@dataclass(frozen=True)
class Column:
    """One column to write: text, or numbers in this machine's byte order; its unit, and what it is."""

    values: np.ndarray
    unit: str
    description: str


def _columns(galaxies: GalaxySet, names: Sequence[str] | None) -> dict[str, Column]:
    """The columns to write, under their names in the dataset."""
    taken = {name: (values, UNITS.get(name, ""), "") for name, values in galaxies.columns.items()}
    for name, values in galaxies.measured.items():
        title = name if name not in galaxies.columns else f"measured_{name}"
        taken[title] = (values, galaxies.measured_units.get(name, ""), galaxies.measured_descriptions.get(name, ""))
    for name in names or ():
        if name not in taken:
            raise InputError(f"no column {name!r} in this set: it has {', '.join(list(taken)[:12])}")
    return {title: Column(_plain(values), unit, what) for title, (values, unit, what) in taken.items() if names is None or title in names}


def _plain(values: np.ndarray) -> np.ndarray:
    return as_text(values) if values.dtype.kind in "OSU" else values.astype(values.dtype.newbyteorder("="))


def _features(hf: Any, galaxies: GalaxySet, table: Mapping[str, Column]) -> Any:
    found: dict[str, Any] = {"image": hf.Array3D(shape=tuple(galaxies.images.shape[1:]), dtype="float32")}
    for name, column in table.items():
        if name == "category":
            found[name] = hf.ClassLabel(names=sorted(set(column.values.tolist()) - {""}))
        else:
            found[name] = hf.Value("string" if column.values.dtype.kind == "U" else column.values.dtype.name)
    return hf.Features(found)


def _arrow(schema: Any, images: Float32[np.ndarray, "n band y x"], columns: Mapping[str, np.ndarray], features: Any) -> Any:
    """A block as an Arrow table; images become lists of lists of lists, which is how `datasets` stores an Array3D."""
    arrow = imported("pyarrow", EXTRA)
    stored = arrow.array(images.ravel())
    for length in reversed(images.shape[1:]):
        stored = arrow.ListArray.from_arrays(np.arange(0, len(stored) + 1, length, dtype=np.int32), stored)
    arrays = [arrow.ExtensionArray.from_storage(schema.field("image").type, stored)]
    for name, values in columns.items():
        if name == "category":
            numbers = {label: number for number, label in enumerate(features[name].names)}
            arrays.append(arrow.array([numbers.get(label) for label in values.tolist()], arrow.int64()))
        else:
            arrays.append(arrow.array(values.tolist() if values.dtype.kind == "U" else values, schema.field(name).type))
    return arrow.Table.from_arrays(arrays, schema=schema)


def card(galaxies: GalaxySet, split: str, table: Mapping[str, Column]) -> str:
    """README.md of the folder."""
    survey, size = galaxies.survey, galaxies.image_size
    scale = f", {survey.pixel_scale_arcsec:g} arcsec a pixel" if survey.pixel_scale_arcsec else ""
    zero_point = f", AB zero point {survey.zero_point:g}" if survey.zero_point is not None else ""
    flux = f"linear flux in {survey.unit}" if survey.linear else survey.unit
    rows = "\n".join(f"| `{name}` | {column.unit} | {column.description} |" for name, column in table.items())
    return f"""---
tags: [astronomy, galaxies]
configs:
- config_name: default
  data_files:
  - split: {split}
    path: data/{split}-*.parquet
---
# {len(galaxies):,} galaxies of {survey.name}

`image`: {len(survey.bands)} x {size} x {size} ({", ".join(survey.bands)}), {flux}{zero_point}{scale}.

| column | unit | what |
|---|---|---|
{rows}

Written by hubbleflow. Survey and provenance stand as JSON in every shard, under the key `hubbleflow` of its metadata.
"""
