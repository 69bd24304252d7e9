"""PSFs that galaxies of one pointing share: stored once, found by every galaxy."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from astropy.io import fits

from hubbleflow.datasets import import_archive
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet, GalaxyWriter
from hubbleflow.pixels import IndexedStack
from hubbleflow.survey import Survey

HSC = Survey.get("hsc-wide")
PSFS = np.random.default_rng(0).random((3, 5, 5, 5)).astype("f4")
POINTING = np.array([0, 0, 0, 2, 2, 1, 1, 0])


def images(n: int) -> np.ndarray:
    return np.random.default_rng(n).random((n, 5, 8, 8)).astype("f4")


@pytest.fixture
def pointings(tmp_path: Path) -> GalaxySet:
    """Four blocks of three pointings, the first of them visited twice."""
    with GalaxyWriter(tmp_path / "pointings.h5", HSC) as writer:
        for number, count in ((0, 3), (2, 2), (1, 2), (0, 1)):
            writer.append(images(count), {"pointing": np.full(count, number)}, psf=PSFS[number])
    return GalaxySet.open(tmp_path / "pointings.h5")


def stored(galaxies: GalaxySet) -> int:
    assert galaxies.path is not None
    with h5py.File(galaxies.path) as file:
        return len(file["psf"])


def test_a_psf_is_stored_once_and_found_by_each_galaxy(pointings: GalaxySet) -> None:
    assert stored(pointings) == 3
    assert isinstance(pointings.psf, IndexedStack) and pointings.psf.shape == (8, 5, 5, 5)
    assert np.array_equal(pointings.psf[:], PSFS[POINTING])
    assert np.array_equal(pointings.psf[3], PSFS[2]) and np.array_equal(pointings.psf[[7, 5]], PSFS[[0, 1]])
    assert np.array_equal(np.asarray(pointings.psf), PSFS[POINTING])
    assert "psf_index" not in pointings.columns


def test_selections_splits_blocks_and_memory_keep_each_galaxys_psf(pointings: GalaxySet) -> None:
    for part in (pointings[::-1], pointings[pointings.columns["pointing"] > 0], *pointings.split([0.5, 0.5], seed=1)):
        expected = PSFS[part.columns["pointing"]]
        assert np.array_equal(part.psf[:], expected)
        assert np.array_equal(part.in_memory().psf[:], expected)
        for block in part.blocks(3):
            assert np.array_equal(block.psf[:], PSFS[block.columns["pointing"]])
            assert isinstance(block.psf.whole, np.ndarray) and len(block.psf.whole) == len(np.unique(block.columns["pointing"]))


def test_writing_a_selection_stays_compact(pointings: GalaxySet, tmp_path: Path) -> None:
    part = pointings[[7, 3, 4, 0]].write(tmp_path / "part.h5")
    assert stored(part) == 2
    assert np.array_equal(part.psf[:], PSFS[[0, 2, 2, 0]])


def test_many_blocks_share_a_psf(tmp_path: Path) -> None:
    shared = GalaxySet(images(600), HSC, psf=IndexedStack(PSFS, np.arange(600) % 3))
    written = shared.write(tmp_path / "many.h5")
    assert stored(written) == 3
    assert np.array_equal(written.psf[[0, 1, 599]], PSFS[[0, 1, 599 % 3]])


def test_joined_sets_keep_their_psfs(pointings: GalaxySet, tmp_path: Path) -> None:
    one = GalaxySet(images(2), HSC, psf=PSFS[1])
    other = GalaxySet(images(2), HSC, psf=PSFS[2])
    each = GalaxySet(images(2), HSC, psf=PSFS[:2])
    assert np.array_equal(GalaxySet.concatenate([one, one]).psf, PSFS[1])
    joined = GalaxySet.concatenate([other, pointings, one])
    assert np.array_equal(joined.psf[:], PSFS[[2, 2, *POINTING, 1, 1]])
    assert stored(joined.write(tmp_path / "joined.h5")) == 3
    mixed = GalaxySet.concatenate([each, pointings[2:6]])
    assert np.array_equal(mixed.psf[[1, 3]], PSFS[[1, 2]])
    assert np.array_equal(mixed.write(tmp_path / "mixed.h5").psf[:], PSFS[[0, 1, *POINTING[2:6]]])
    assert GalaxySet.concatenate([one, GalaxySet(images(1), HSC)]).psf is None
    assert GalaxySet.concatenate([one, GalaxySet(images(1), HSC, psf=np.ones((5, 3, 3), "f4"))]).psf is None


def test_one_psf_a_galaxy_is_stored_as_before(tmp_path: Path) -> None:
    written = GalaxySet(images(3), HSC, psf=PSFS).write(tmp_path / "each.h5")
    with h5py.File(tmp_path / "each.h5") as file:
        assert file["psf"].shape == PSFS.shape and "psf_index" not in file
    assert np.array_equal(written.psf[:], PSFS)


def test_fits_and_the_archive_reader_find_the_psf(pointings: GalaxySet, tmp_path: Path) -> None:
    paths = pointings.write_fits(tmp_path / "cutouts")
    with fits.open(paths[5]) as hdus:
        assert np.array_equal(hdus["I_PSF"].data, PSFS[1, 2])
    assert pointings.path is not None
    import_archive("galaxiesml", pointings.path, tmp_path / "copy.h5")
    assert np.array_equal(GalaxySet.open(tmp_path / "copy.h5").psf[:], PSFS[POINTING])


def test_mistakes_get_a_sentence(pointings: GalaxySet, tmp_path: Path) -> None:
    with GalaxyWriter(tmp_path / "set.h5", HSC) as writer:
        writer.append(images(2), psf=PSFS[0])
        with pytest.raises(InputError, match="differently from the blocks before it"):
            writer.append(images(2))
        with pytest.raises(InputError, match="differently from the blocks before it"):
            writer.append(images(3), psf=PSFS)
        with pytest.raises(InputError, match="expected \\(5, y, x\\)"):
            writer.append(images(2), psf=PSFS[0, :2])
        with pytest.raises(InputError, match="psf_index must hold whole numbers from 0 to 2"):
            writer.append(images(2), psf=PSFS, psf_index=np.array([0, 3]))
    assert pointings.path is not None
    with h5py.File(pointings.path, "r+") as file:
        file["psf_index"][0] = 3
    with pytest.raises(InputError, match="'psf_index' must hold 8 row numbers of 'psf'"):
        GalaxySet.open(pointings.path)
