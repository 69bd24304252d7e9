"""Blended scenes of HSC UltraDeep COSMOS, as the deblender's test data publishes them (lsst/testdata_deblender): a
stamp at every detected peak.

A scene is an .npz of `images` (band, y, x) in counts at zero point 27, `weights` (inverse variance; 0 where there are
no data), `peaks` (k, 2) as (x, y) and `psfs` (band, v, u). Each peak becomes one galaxy: a stamp of `--size` px (64)
whose pixel (size // 2, size // 2) is the peak's. Pixels outside the scene, and those of zero weight, are 0 and have
inverse variance 0; the mask marks them (bit 2, ``NO_DATA``). The PSF is the scene's, for each galaxy its own copy.

Columns: `scene` (the file's name), `peak` (its number there), `x`, `y` (px in the scene), `edge_fraction` (share of
the stamp that lies outside the scene) and `no_data_fraction` (share of the pixels of all bands without data, the
former included). Stars and saturated cores are among the peaks.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.datasets._archive import Archive, Block, ImportOptions, Reading, resolve_survey
from hubbleflow.datasets._flags import NO_DATA
from hubbleflow.errors import InputError
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    from jaxtyping import Float, Int

STAMP = 64
KEYS = ("images", "weights", "peaks", "psfs")


def read(source: Path, options: ImportOptions) -> Reading:
    """A folder of scenes, or one scene.

    Raises:
        InputError: no scenes are there, or one of them lacks an array or has arrays that do not fit together.
    """
    files = sorted(source.glob("*.npz")) if source.is_dir() else [source]
    if not files:
        raise InputError(f"{source} holds no .npz scenes")
    first = read_scene(files[0])
    survey = resolve_survey(options, len(first["images"]), eight_bit=False, default=Survey.get("hsc-udeep"))
    notes = [f"{len(files):,} scenes"]
    return Reading(survey, _blocks(files, first, options.size or STAMP, notes), None, notes)


def read_scene(path: Path) -> dict[str, np.ndarray]:
    """The four arrays of a scene.

    Raises:
        InputError: the file is damaged, an array is missing, or shapes disagree.
    """
    try:
        # Opened here, because numpy leaves a file that is no .npz open.
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
            for key in KEYS:
                if key not in file:
                    raise InputError(f"scene {path} has no array {key!r}: expected {', '.join(KEYS)}, found {', '.join(file.files)}")
            scene = {key: file[key] for key in KEYS}
    except InputError:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read the scene {path}: it is truncated, pickled or not an .npz file") from error
    images, weights, peaks, psfs = (scene[key] for key in KEYS)
    if images.ndim != 3 or images.dtype.kind not in "fiu" or weights.shape != images.shape:
        raise InputError(f"scene {path}: images {images.shape} and weights {weights.shape} must both be (band, y, x) numbers")
    if peaks.ndim != 2 or peaks.shape[1] != 2 or not np.isfinite(peaks).all():
        raise InputError(f"scene {path}: peaks have shape {peaks.shape}, expected (k, 2) finite numbers as (x, y)")
    if psfs.ndim != 3 or len(psfs) != len(images):
        raise InputError(f"scene {path}: psfs have shape {psfs.shape}, expected ({len(images)}, y, x)")
    return scene


def cut_stamps(
    plane: Float[np.ndarray, "band y x"], x: Int[np.ndarray, " k"], y: Int[np.ndarray, " k"], size: int
) -> Float[np.ndarray, "k band v u"]:
    """Square stamps whose pixel (size // 2, size // 2) is pixel (y, x) of the plane; NaN outside it.

    Example:
        >>> cut_stamps(np.arange(9.0).reshape(1, 3, 3), np.array([0]), np.array([1]), 3)[0, 0]
        array([[nan,  0.,  1.],
               [nan,  3.,  4.],
               [nan,  6.,  7.]])
    """
    # Padding by a whole stamp leaves room for peaks outside the plane, whose stamps are empty.
    padded = np.pad(plane, ((0, 0), (size, size), (size, size)), constant_values=np.nan)
    left = np.clip(x - size // 2 + size, 0, plane.shape[2] + size)
    low = np.clip(y - size // 2 + size, 0, plane.shape[1] + size)
    return np.stack([padded[:, b : b + size, a : a + size] for a, b in zip(left, low, strict=True)])


def _blocks(files: list[Path], first: dict[str, np.ndarray], size: int, notes: list[str]) -> Iterator[Block]:
    without_peaks = 0
    for number, path in enumerate(files):
        scene = first if number == 0 else read_scene(path)
        for key, axis in (("images", 0), ("psfs", slice(None))):
            if scene[key].shape[axis] != first[key].shape[axis]:
                raise InputError(f"scene {path}: {key} have shape {scene[key].shape}, those of {files[0].name} {first[key].shape}")
        if not len(scene["peaks"]):
            without_peaks += 1
            continue
        yield scene_block(scene, path.stem, size)
    if without_peaks:
        notes.append(f"{without_peaks:,} scenes have no peaks and bring no galaxy")


def scene_block(scene: dict[str, np.ndarray], name: str, size: int = STAMP) -> Block:
    """The galaxies of one scene."""
    peaks = np.asarray(scene["peaks"], float)
    x, y = np.round(peaks).astype(int).T
    images = cut_stamps(scene["images"].astype(np.float32), x, y, size)
    # Outside the scene the weight is NaN by cut_stamps, which is not > 0 either.
    weights = cut_stamps(scene["weights"].astype(np.float32), x, y, size)
    inside = cut_stamps(np.ones((1, *scene["images"].shape[1:]), np.float32), x, y, size)[:, 0] == 1
    no_data = ~(weights > 0)
    k = len(peaks)
    columns = {
        "scene": np.full(k, name),
        "peak": np.arange(k),
        "x": peaks[:, 0],
        "y": peaks[:, 1],
        "edge_fraction": 1 - inside.mean(axis=(1, 2)),
        "no_data_fraction": no_data.mean(axis=(1, 2, 3)),
    }
    return Block(
        np.where(no_data, np.float32(0), images),
        columns,
        ivar=np.where(no_data, np.float32(0), weights),
        mask=np.where(no_data, np.uint8(NO_DATA), np.uint8(0)),
        psf=np.broadcast_to(scene["psfs"].astype(np.float32), (k, *scene["psfs"].shape)),
    )


ARCHIVE = Archive(
    name="scenes",
    description="a folder of HSC scenes (.npz of images, weights, peaks, psfs)",
    options=("survey", "bands", "pixel_scale", "zero_point", "size"),
    read=read,
)
