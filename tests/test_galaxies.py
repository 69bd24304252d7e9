"""Galaxies on disk and in memory: round trips, laziness, and every kind of bad file."""

from __future__ import annotations

import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbleflow.describe import describe_set
from hubbleflow.errors import InputError
from hubbleflow.files import atomic_path
from hubbleflow.galaxies import GalaxySet, GalaxyWriter, write_measured
from hubbleflow.measure import Flag
from hubbleflow.pixels import DiskStack
from hubbleflow.survey import SURVEYS, Survey
from hubbleflow.tables import write_table

HSC = Survey.get("hsc-wide")


def some_galaxies(n: int = 20, size: int = 8, seed: int = 0) -> GalaxySet:
    rng = np.random.default_rng(seed)
    columns = {"redshift": rng.random(n) * 3, "category": np.array(["spiral", "café"] * n)[:n], "ra": rng.random(n)}
    planes = {"ivar": rng.random((n, 5, size, size)).astype("f4"), "mask": rng.integers(0, 2, (n, 5, size, size)).astype("u1")}
    measured = {"i_mag": rng.normal(22, 1, n), "flag": np.arange(n, dtype=np.int32)}
    return GalaxySet(
        rng.normal(size=(n, 5, size, size)).astype("f4"),
        HSC,
        columns,
        measured=measured,
        measured_units={"i_mag": "mag"},
        measured_descriptions={"i_mag": "AB magnitude"},
        measured_attrs={"recipe": "test"},
        psf=rng.random((5, 5, 5)).astype("f4"),
        provenance={"seed": seed},
        **planes,
    )


def same(one: GalaxySet, other: GalaxySet) -> None:
    for plane in ("images", "ivar", "mask", "psf"):
        assert np.array_equal(np.asarray(getattr(one, plane)[:]), np.asarray(getattr(other, plane)[:])), plane
    assert one.survey == other.survey
    for table in ("columns", "measured"):
        ours, theirs = getattr(one, table), getattr(other, table)
        assert set(ours) == set(theirs)
        for name in ours:
            assert np.array_equal(ours[name], theirs[name]), name


def test_file_round_trip_keeps_everything(tmp_path: Path) -> None:
    galaxies = some_galaxies(600)  # more than two blocks
    opened = galaxies.write(tmp_path / "set.h5")
    same(galaxies, opened)
    assert opened.measured_units["i_mag"] == "mag" and opened.measured_descriptions["i_mag"] == "AB magnitude"
    assert opened.provenance == {"seed": 0}
    assert opened.content_hash() == galaxies.content_hash()
    assert [path.name for path in tmp_path.iterdir()] == ["set.h5"]


def test_per_galaxy_psf_round_trip(tmp_path: Path) -> None:
    galaxies = some_galaxies(4)
    galaxies.psf = np.random.default_rng(1).random((4, 5, 5, 5)).astype("f4")
    opened = galaxies.write(tmp_path / "set.h5")
    assert np.array_equal(opened[[2, 0]].psf[:], galaxies.psf[[2, 0]])


@given(rows=st.lists(st.integers(0, 19), max_size=30))
def test_rows_on_disk_are_rows_in_memory(rows: list[int], disk_and_memory: tuple[GalaxySet, GalaxySet]) -> None:
    disk, memory = disk_and_memory
    assert np.array_equal(disk.images[rows], memory.images[rows])
    assert np.array_equal(disk[rows].images[:], memory.images[rows])


def test_bands_and_pixels_on_disk_are_those_in_memory(disk_and_memory: tuple[GalaxySet, GalaxySet]) -> None:
    disk, memory = disk_and_memory
    for stack in (disk.images, GalaxySet.concatenate([disk[:12], disk[12:]]).images, disk[:].images):
        for index in ((slice(None), 2), (slice(3, 9), 2, slice(1, 4)), (4, 1), (..., 0), ([5, 2], slice(1, 3)), ...):
            assert np.array_equal(stack[index], memory.images[index]), index


@pytest.fixture(scope="module")
def disk_and_memory(tmp_path_factory: pytest.TempPathFactory) -> tuple[GalaxySet, GalaxySet]:
    memory = some_galaxies()
    return memory.write(tmp_path_factory.mktemp("sets") / "set.h5"), memory


def test_selection_split_and_concatenation(disk_and_memory: tuple[GalaxySet, GalaxySet]) -> None:
    disk, memory = disk_and_memory
    near = disk[disk.redshift < 1]
    assert np.array_equal(near.images[:], memory.images[memory.redshift < 1])
    one, other = disk.split([0.75, 0.25], seed=3)
    assert (len(one), len(other)) == (15, 5)
    assert not set(one.columns["object_id"]) & set(other.columns["object_id"])
    again = disk.split([0.75, 0.25], seed=3)[0]
    assert np.array_equal(one.columns["object_id"], again.columns["object_id"])
    joined = GalaxySet.concatenate([other, one])
    assert np.array_equal(joined.images[[0, 19, 7]], np.stack([other.images[0], one.images[14], one.images[2]]))
    assert joined.psf is not None
    reversed_twice = disk[::-1][::-1]
    same(reversed_twice, memory)


def test_concatenating_different_surveys_is_refused() -> None:
    i_band = GalaxySet(np.zeros((2, 1, 8, 8), "f4"), Survey.get("hsc-i"))
    with pytest.raises(InputError, match="surveys and stamp sizes must be the same"):
        GalaxySet.concatenate([some_galaxies(2), i_band])


def test_images_stay_on_disk(tmp_path: Path) -> None:
    with GalaxyWriter(tmp_path / "set.h5", HSC) as writer:
        for _ in range(4):
            writer.append(np.ones((100, 5, 16, 16), "f4"), {"redshift": np.ones(100)})
    galaxies = GalaxySet.open(tmp_path / "set.h5")
    assert isinstance(galaxies.images, DiskStack) and isinstance(galaxies[5:50].images, DiskStack)
    assert [len(block) for block in galaxies.blocks(150)] == [150, 150, 100]


def _sum_of(galaxies: GalaxySet) -> float:
    return float(np.asarray(galaxies.images[3:6]).sum())


def test_a_set_travels_to_another_process(disk_and_memory: tuple[GalaxySet, GalaxySet]) -> None:
    disk, memory = disk_and_memory
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_sum_of, (disk,)) == pytest.approx(float(memory.images[3:6].sum()))


def test_table_has_units(disk_and_memory: tuple[GalaxySet, GalaxySet]) -> None:
    table = disk_and_memory[0].table
    assert str(table["ra"].unit) == "deg" and str(table["i_mag"].unit) == "mag"
    assert len(table) == 20


def test_fits_cutouts_have_bands_wcs_and_zero_point(tmp_path: Path) -> None:
    from astropy.io import fits
    from astropy.wcs import WCS

    galaxies = some_galaxies(2)
    paths = galaxies.write_fits(tmp_path / "cutouts")
    assert len(paths) == 2
    with fits.open(paths[1]) as hdus:
        assert [name for name in ("G", "R", "I", "Z", "Y") if name in hdus] == ["G", "R", "I", "Z", "Y"]
        header = hdus["I"].header
        assert header["MAGZERO"] == 27.0 and header["BUNIT"] == "count"
        assert np.array_equal(hdus["I"].data, galaxies.images[1, 2])
        wcs = WCS(header)
        step = wcs.pixel_to_world(4, 3).separation(wcs.pixel_to_world(3, 3)).arcsec
        assert step == pytest.approx(0.168, rel=1e-4)
        assert wcs.pixel_to_world(3.5, 3.5).ra.deg == pytest.approx(galaxies.columns["ra"][1], abs=1e-6)


def test_survey_json_round_trips_and_magnitudes_invert() -> None:
    for survey in SURVEYS.values():
        assert Survey.from_json(survey.to_json()) == survey
    assert HSC.flux(HSC.magnitude(3.0)) == pytest.approx(3.0)
    assert HSC.count_nanojansky == pytest.approx(57.544, abs=1e-3)
    assert np.isnan(HSC.magnitude(-1.0))
    assert HSC.pixel_scale.to_value("arcsec / pix") == 0.168


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_bytes(b"not hdf5 at all"), "damaged, or not an HDF5 file"),
        (lambda path: _hdf5(path, flux=np.zeros(3)), "no dataset 'image'"),
        (lambda path: _hdf5(path, image=np.zeros((3, 64, 64))), "expected \\(n, band, y, x\\)"),
        (lambda path: _hdf5(path, image=np.zeros((3, 5, 8, 9))), "square stamps"),
        (lambda path: _hdf5(path, image=np.zeros((3, 5, 8, 8), "c8")), "expected numbers"),
        (lambda path: _hdf5(path, image=np.zeros((0, 5, 8, 8), "f4")), "zero rows"),
        (lambda path: _hdf5(path, image=np.zeros((3, 2, 8, 8), "f4")), "names no survey"),
        (lambda path: _hdf5(path, image=np.zeros((3, 5, 8, 8), "f4"), specz_redshift=np.zeros(2)), "has 2 rows but 'image' has 3"),
        (lambda path: _hdf5(path, image=np.zeros((3, 5, 8, 8), "f4"), ivar=np.zeros((3, 5, 4, 4))), "ivar has shape"),
    ],
)
def test_bad_files_get_one_sentence(tmp_path: Path, make, sentence: str) -> None:
    path = tmp_path / "bad.h5"
    make(path)
    with pytest.raises(InputError, match=sentence) as caught:
        GalaxySet.open(path)
    assert "\n" not in str(caught.value)


def _hdf5(path: Path, **datasets: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values


def test_truncated_file_is_said_to_be_truncated(tmp_path: Path) -> None:
    path = tmp_path / "set.h5"
    some_galaxies(50).write(path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InputError, match="truncated"):
        GalaxySet.open(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "set.h5"
    some_galaxies(3).write(path)
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="killed"), GalaxyWriter(path, HSC) as writer:
        writer.append(np.zeros((2, 5, 8, 8), "f4"))
        raise RuntimeError("killed")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.h5"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")
    with pytest.raises(InputError, match="No space left on device; what was there before is untouched"), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise OSError(28, os.strerror(28))
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_gets_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(InputError, match="cannot write"):
        some_galaxies(2).write(tmp_path / "set.h5")


def test_a_folder_that_cannot_be_made_gets_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"):
        some_galaxies(2).write(tmp_path / "file" / "set.h5")


def test_an_empty_file_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no galaxies"), GalaxyWriter(tmp_path / "set.h5", HSC):
        pass
    assert not list(tmp_path.iterdir())


def test_measurements_replace_older_ones(tmp_path: Path) -> None:
    galaxies = some_galaxies(3).write(tmp_path / "set.h5")
    assert galaxies.images[0].shape == (5, 8, 8)
    write_measured(tmp_path / "set.h5", {"r_mag": np.arange(3.0)}, {"r_mag": "mag"}, {}, {"recipe": "second"})
    opened = GalaxySet.open(tmp_path / "set.h5")
    assert list(opened.measured) == ["r_mag"] and opened.measured_attrs == {"recipe": "second"}
    assert np.array_equal(opened.images[:], galaxies.images[:])


def test_measuring_again_does_not_grow_the_file(tmp_path: Path) -> None:
    path = tmp_path / "set.h5"
    some_galaxies(3).write(path)
    columns = {"r_mag": np.arange(3.0), "name": np.array(["a", "b", "c"])}
    write_measured(path, columns, {"r_mag": "mag"}, {"r_mag": "magnitude"}, {"recipe": "first", "number": 1, "gone": 1})
    size = path.stat().st_size
    for number in range(20):
        write_measured(path, {**columns, "r_mag": np.arange(3.0) + number}, {"r_mag": "AB"}, {}, {"recipe": "second", "bits": {"A": 1}})
        assert path.stat().st_size == size
    opened = GalaxySet.open(path)
    assert opened.measured["r_mag"].tolist() == [19, 20, 21] and opened.measured["name"].tolist() == ["a", "b", "c"]
    assert opened.measured_units["r_mag"] == "AB" and opened.measured_descriptions["r_mag"] == ""
    assert opened.measured_attrs == {"recipe": "second", "bits": '{"A": 1}'}
    with h5py.File(path) as file:
        assert not {"measured.old", "measured.partial"} & set(file)


@pytest.mark.parametrize(
    "columns", [{"r_mag": np.arange(3.0)}, {"i_mag": np.zeros(3), "flag": np.zeros(3, np.int32)}], ids=["swap", "over"]
)
def test_a_writer_that_is_killed_never_leaves_a_mixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns) -> None:
    path = tmp_path / "set.h5"
    galaxies = some_galaxies(3).write(path)

    def killed(*arguments) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hubbleflow.measured_file._set", killed)
    with pytest.raises(KeyboardInterrupt):
        write_measured(path, columns, {}, {}, {"recipe": "second"})
    monkeypatch.undo()
    left = GalaxySet.open(path)
    assert left.measured == {} or np.array_equal(left.measured["i_mag"], galaxies.measured["i_mag"])
    assert bool(left.measured) == ("r_mag" in columns)
    write_measured(path, columns, {}, {}, {"recipe": "second"})
    assert set(GalaxySet.open(path).measured) == set(columns)


def test_old_measurements_are_used_until_the_new_stand(tmp_path: Path) -> None:
    some_galaxies(3).write(tmp_path / "set.h5")
    with h5py.File(tmp_path / "set.h5", "r+") as file:
        file.move("measured", "measured.old")
    assert GalaxySet.open(tmp_path / "set.h5").measured["flag"].tolist() == [0, 1, 2]


HOLD = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+'); print('open', flush=True); sys.stdin.readline(); file.close()"


def test_a_locked_file_is_waited_for_and_then_said_to_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    galaxies = some_galaxies(3).write(tmp_path / "set.h5")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "set.h5"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "open\n"
    with monkeypatch.context() as quick:
        quick.setattr("hubbleflow.galaxy_file.PAUSE_S", 0.01)
        for use in (lambda: galaxies.images[0], lambda: GalaxySet.open(tmp_path / "set.h5")):
            with pytest.raises(InputError, match="cannot read .*set.h5: another program has it open and has locked it"):
                use()
        with pytest.raises(InputError, match="cannot add measurements to .*: another program has it open"):
            write_measured(tmp_path / "set.h5", {"r_mag": np.arange(3.0)}, {}, {}, {})
    waited = []
    monkeypatch.setattr("time.sleep", lambda seconds: waited.append(seconds) or holder.communicate("close\n"))
    assert galaxies.images[0].shape == (5, 8, 8)
    assert len(waited) == 1 and holder.returncode == 0


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(13, "Permission denied"), "its permissions do not allow it"),
        (OSError("unable to lock file, errno = 37, error message = 'No locks available'"), "knows no locks; set HDF5_USE_FILE_LOCKING"),
        (OSError(5, "Input/output error"), "Input/output error"),
    ],
)
def test_a_file_that_cannot_be_opened_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error, sentence) -> None:
    some_galaxies(2).write(tmp_path / "set.h5")

    def refuse(*arguments) -> None:
        raise error

    monkeypatch.setattr("h5py.File", refuse)
    with pytest.raises(InputError, match=sentence) as caught:
        GalaxySet.open(tmp_path / "set.h5")
    assert "damaged" not in str(caught.value)


def test_a_foreign_column_called_measured_is_no_measurement(tmp_path: Path) -> None:
    path = tmp_path / "foreign.h5"
    _hdf5(path, image=np.zeros((3, 5, 8, 8), "f4"), measured=np.arange(3))
    opened = GalaxySet.open(path)
    assert opened.measured == {} and opened.columns["archive_measured"].tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="it has a column 'measured'"):
        write_measured(path, {"r_mag": np.zeros(3)}, {}, {}, {})
    with pytest.raises(InputError, match="a column cannot be called measured"):
        GalaxySet(np.zeros((2, 5, 8, 8), "f4"), HSC, {"measured": np.zeros(2)}).write(tmp_path / "set.h5")


@pytest.mark.parametrize("text", ["made by hand", "[1, 2]"])
def test_provenance_that_is_no_object_is_kept_as_text(tmp_path: Path, text: str) -> None:
    _hdf5(tmp_path / "foreign.h5", image=np.zeros((3, 5, 8, 8), "f4"))
    with h5py.File(tmp_path / "foreign.h5", "r+") as file:
        file.attrs["provenance"] = text
    assert GalaxySet.open(tmp_path / "foreign.h5").provenance == {"text": text}


@pytest.mark.parametrize("text", ["[1, 2]", '"hsc-wide"', "3", "null", '{"name": "x"}', "hsc-wide"])
def test_a_survey_attribute_that_is_no_survey_is_a_sentence(tmp_path: Path, text: str) -> None:
    _hdf5(tmp_path / "foreign.h5", image=np.zeros((3, 5, 8, 8), "f4"))
    with h5py.File(tmp_path / "foreign.h5", "r+") as file:
        file.attrs["survey"] = text
    with pytest.raises(InputError, match="foreign.h5: (not a survey|the survey attribute is not JSON)"):
        GalaxySet.open(tmp_path / "foreign.h5")


def test_what_cannot_be_written_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worked = []
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path, tmp_path / "file" / "set.h5"):
        with pytest.raises(InputError, match="cannot write"), atomic_path(path):
            worked.append(path)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InputError, match="may not be written"), atomic_path(tmp_path / "set.h5"):
        worked.append(tmp_path)
    assert not worked and (tmp_path / "file").read_text() == "in the way"


def test_redshift_is_numbers_and_category_is_text(tmp_path: Path) -> None:
    images = np.zeros((2, 5, 8, 8), "f4")
    for values in (["0.1", "0.2"], [True, False], [1j, 2j]):
        with pytest.raises(InputError, match="column 'redshift' must hold numbers, got"):
            GalaxySet(images, HSC, {"redshift": np.array(values)})
    with pytest.raises(InputError, match="column 'redshift' must hold numbers, got 'unknown'"):
        GalaxySet(images, HSC, {"redshift": np.array(["unknown", 0.2], object)})
    assert np.isnan(GalaxySet(images, HSC, {"redshift": np.array([None, 0.2], object)}).redshift[0])
    for values, text in (([3, 4], ["3", "4"]), ([b"Sa", b"Sb"], ["Sa", "Sb"]), (["E", "café"], ["E", "café"])):
        galaxies = GalaxySet(images, HSC, {"category": np.array(values)})
        assert galaxies.columns["category"].tolist() == text and galaxies.columns["category"].dtype.kind == "U"
        assert galaxies.write(tmp_path / "set.h5").category.tolist() == text


def test_cutouts_stay_in_their_folder(tmp_path: Path) -> None:
    names = np.array(["../evil", "a/b", "a_b", "..", "/etc/x", "plain-1"])
    paths = GalaxySet(np.zeros((6, 5, 8, 8), "f4"), HSC, {"object_id": names}).write_fits(tmp_path / "cutouts")
    assert len(set(paths)) == 6 and all(path.parent == tmp_path / "cutouts" and path.exists() for path in paths)
    assert paths[-1].name == "plain-1.fits" and not paths[0].name.startswith(".")
    assert {path.name for path in tmp_path.iterdir()} == {"cutouts"}


def test_tables_in_every_format_hold_names_beyond_ascii(tmp_path: Path) -> None:
    from astropy.table import Table

    galaxies = some_galaxies(4)
    for suffix, name in ((".fits", "caf\\xe9"), (".ecsv", "café"), (".csv", "café")):
        table = Table.read(write_table(galaxies, tmp_path / f"t{suffix}"))
        assert str(table["category"][1]) == name and len(table) == 4
    assert galaxies.category[1] == "café"


def test_flagged_means_untrusted() -> None:
    galaxies = some_galaxies(4)
    galaxies.measured["flag"] = np.array([0, Flag.BLENDED, Flag.NOT_DETECTED, Flag.NOT_DETECTED | Flag.BLENDED])
    assert "; not to be trusted: 2 galaxies" in describe_set(galaxies)
