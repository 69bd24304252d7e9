"""Stamps from anywhere: .npz files, folders of pictures, FITS cutouts, HSC scenes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from PIL import Image

from hubbleflow.datasets import NO_DATA, import_archive
from hubbleflow.galaxies import GalaxySet
from hubbleflow.survey import Survey
from test_datasets import refused


# -- .npz -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("layout", ["(n, band, y, x)", "(n, y, x, band)", "fortran"])
def test_npz_layouts_are_told_apart_and_said(tmp_path: Path, save, layout: str) -> None:
    images = np.random.default_rng(0).normal(size=(600, 5, 9, 9)).astype(np.float32)
    stored = np.moveaxis(images, 1, 3).copy() if layout == "(n, y, x, band)" else images
    save(tmp_path / "a.npz", cubes=np.asfortranarray(stored) if layout == "fortran" else stored)
    report = import_archive("images", tmp_path / "a.npz", tmp_path / "set.h5", survey="hsc-wide")
    np.testing.assert_array_equal(GalaxySet.open(tmp_path / "set.h5").images[:], images)
    assert ("(n, band, y, x)" if layout == "fortran" else layout) in report.notes[0]


def test_npz_columns_category_redshift_and_survey(tmp_path: Path) -> None:
    n = 4
    np.savez(
        tmp_path / "a.npz",
        stamps=np.ones((n, 16, 16)),
        kind=np.array(["spiral", "edge-on", "merger", "spiral"]),
        zspec=np.array([0.1, -1, np.nan, 2]),
        specz_redshift=np.zeros(n),
        object_id=np.array(["a", "b", "c", "d"]),
        mask=np.arange(n),
        fluxes=np.ones((n, 11)),
        pickled=np.array([{}, 1, None, "x"], object),
        epoch=np.float32(2000),
    )
    source = tmp_path / "a.npz"
    options = {"survey": "mine", "bands": ["w"], "pixel_scale": 0.3, "zero_point": 25.0}
    report = import_archive("images", source, tmp_path / "set.h5", category="kind", redshift="zspec", **options)
    galaxies = GalaxySet.open(tmp_path / "set.h5")
    assert galaxies.category.tolist() == ["spiral", "edge-on", "merger", "spiral"]
    np.testing.assert_array_equal(galaxies.redshift, [0.1, np.nan, np.nan, 2])
    assert galaxies.columns["object_id"].tolist() == [0, 1, 2, 3]  # always integers: the archive's text is kept beside
    assert galaxies.columns["archive_object_id"].tolist() == ["a", "b", "c", "d"]
    assert galaxies.columns["archive_mask"].tolist() == [0, 1, 2, 3]
    assert galaxies.columns["archive_specz_redshift"].tolist() == [0, 0, 0, 0]
    assert not {"fluxes", "pickled", "epoch"} & set(galaxies.columns)
    assert sum("skipped" in note for note in report.notes) == 3
    assert galaxies.survey == Survey.custom("mine", ("w",), 0.3, 25.0)

    import_archive("images", source, tmp_path / "few.h5", survey="hsc-i", columns=["mask"], category="kind")
    few = GalaxySet.open(tmp_path / "few.h5")
    assert set(few.columns) == {"archive_mask", "category", "n_bad_pixels", "object_id"}
    assert few.survey == Survey.get("hsc-i")


def test_eight_bit_pixels_are_never_flux(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3))
    source, out = tmp_path / "a.npz", tmp_path / "set.h5"
    refused("8-bit display values, not the linear flux that survey 'decals' means", "images", source, out, survey="decals")
    refused("display values, which have no zero point", "images", source, out, survey="sdss-rgb", zero_point=27.0)
    for name in (None, "sdss-rgb"):
        report = import_archive("images", source, out, survey=name)
        assert report.survey.unit == "display value"
        assert report.survey.bands == ("R", "G", "B")
        assert any("display values, not linear flux" in note for note in report.notes)
    assert GalaxySet.open(out).images[1][2, 0, 1] == 64 * 3 + 5


def test_npz_that_cannot_be_read(tmp_path: Path) -> None:
    source, out = tmp_path / "a.npz", tmp_path / "set.h5"

    def check(sentence: str, arrays: dict[str, np.ndarray], **options: object) -> None:
        np.savez(source, **arrays)
        refused(sentence, "images", source, out, **options)

    good = np.zeros((3, 8, 8), np.float32)
    check("pickled Python objects, which are never opened", {"a": np.full((3, 8, 8), None)}, survey="hsc-i")
    check("'label' .* holds pickled Python", {"a": good, "label": np.full(3, None)}, survey="hsc-i", category="label")
    check(r"2 arrays that could be images: name one with --images; it has a \(3, 8, 8\), b", {"a": good, "b": good})
    check("0 arrays that could be images", {"a": np.zeros(3)})
    check("no array 'c': it has a", {"a": good}, images="c")
    check("square stamps", {"a": np.zeros((3, 8, 9))}, survey="hsc-i")
    check("square stamps", {"a": np.zeros((3, 5, 8, 9))}, survey="hsc-i")
    check("band axis cannot be told", {"a": np.zeros((3, 5, 5, 5))}, survey="hsc-wide")
    check("zero rows", {"a": good[:0]}, survey="hsc-i")
    check("pixels of type <U1", {"a": good.astype("<U1")}, survey="hsc-i")
    check("pixels of type bool", {"a": good > 0}, survey="hsc-i")
    check("pixels of type complex64", {"a": good.astype(np.complex64)}, survey="hsc-i")
    check("1 band: name a survey with --survey or the bands with --bands", {"a": good})
    check("unknown survey 'hst': choose one of", {"a": good}, survey="hst")
    check("has 5 bands .* but the images have 1", {"a": good}, survey="hsc-wide")
    check("no band 'x'", {"a": good}, survey="hsc-wide", bands=["x"])
    check("no column 'z': it has 'id'", {"a": good, "id": np.arange(3)}, survey="hsc-i", redshift="z")
    check("no column 'kind'", {"a": good}, survey="hsc-i", category="kind")
    check(r"'z' .* has shape \(2,\), expected one value", {"a": good, "z": np.ones(2)}, survey="hsc-i", redshift="z")
    check(r"'z' .* has shape \(3, 2\)", {"a": good, "z": np.ones((3, 2))}, survey="hsc-i", columns=["z"])
    check("'z' .* cannot be a redshift", {"a": good, "z": np.array(list("abc"))}, survey="hsc-i", redshift="z")
    check("no usable redshift: all 3", {"a": good, "z": np.full(3, -99.0)}, survey="hsc-i", redshift="z")
    source.write_bytes(source.read_bytes()[:300])
    refused("truncated or not an .npz", "images", source, out, survey="hsc-i")
    (tmp_path / "a.txt").write_text("")
    refused("neither an .npz of stamps nor a folder", "images", tmp_path / "a.txt", out)


def test_npz_whose_pixels_end_too_early(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", images=np.zeros((600, 8, 8), np.float32))
    with zipfile.ZipFile(tmp_path / "whole.npz") as whole, zipfile.ZipFile(tmp_path / "short.npz", "w") as short:
        short.writestr("images.npy", whole.read("images.npy")[:-1000])
    sentence = "cannot read .*short.npz: array 'images' ends after 596 of its 600 rows"
    refused(sentence, "images", tmp_path / "short.npz", tmp_path / "set.h5", survey="hsc-i")


# -- pictures ---------------------------------------------------------------------------------------------------------
def picture(path: Path, value: int, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, (*size, len(mode)), np.uint8)
    Image.fromarray(pixels[:, :, 0] if mode == "L" else pixels, mode=None).save(path)
    return pixels


def test_pictures_with_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    pixels = {name: picture(folder / f"{name}.png", number) for number, name in enumerate("abc")}
    table = Table({"file": ["c.png", "a"], "z": [0.5, 0.7], "class": ["spiral", "merger"], "n": [1, 2]}, masked=True)
    table["n"].mask = [True, False]
    table.write(folder / "table.ecsv")
    report = import_archive("images", folder, tmp_path / "set.h5", redshift="z", category="class", survey="sdss-rgb")
    galaxies = GalaxySet.open(tmp_path / "set.h5")
    np.testing.assert_array_equal(galaxies.images[:], np.moveaxis(np.stack([pixels["c"], pixels["a"]]), 3, 1))
    assert galaxies.redshift.tolist() == [0.5, 0.7]
    assert galaxies.category.tolist() == ["spiral", "merger"]
    np.testing.assert_array_equal(galaxies.columns["n"], [np.nan, 2])
    assert galaxies.survey == Survey.get("sdss-rgb")
    assert any("1 files of" in note and "left out" in note for note in report.notes)


def test_pictures_in_folders_named_by_class(tmp_path: Path) -> None:
    first = picture(tmp_path / "p" / "merger" / "1.png", 1, mode="L")
    picture(tmp_path / "p" / "spiral" / "1.png", 2, mode="L")
    report = import_archive("images", tmp_path / "p", tmp_path / "set.h5")
    galaxies = GalaxySet.open(tmp_path / "set.h5")
    assert galaxies.category.tolist() == ["merger", "spiral"]
    assert galaxies.columns["file"].tolist() == ["merger/1.png", "spiral/1.png"]
    assert galaxies.survey.bands == ("grey",)
    np.testing.assert_array_equal(galaxies.images[0][0], first[:, :, 0])
    assert not report.survey.linear


def test_jpeg_and_transparent_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (200, 100, 50)).save(tmp_path / "a.jpg", quality=100)
    Image.new("RGBA", (16, 16), (200, 100, 50, 9)).save(tmp_path / "b.png")
    import_archive("images", tmp_path, tmp_path / "set.h5")
    images = GalaxySet.open(tmp_path / "set.h5").images[:]
    np.testing.assert_allclose(images.mean(axis=(2, 3)), [[200, 100, 50]] * 2, atol=2)


def test_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    folder, out = tmp_path / "p", tmp_path / "set.h5"
    folder.mkdir()
    refused("holds no PNG or JPEG pictures", "images", folder, out)
    picture(folder / "a.png", 0)
    refused("--images names an array", "images", folder, out, images="x")
    refused("table .*absent.csv does not exist", "images", folder, out, table=tmp_path / "absent.csv")
    table = tmp_path / "t.csv"
    table.write_text("name,z\na,1\n")
    refused("no column 'file', .*: it has name, z", "images", folder, out, table=table)
    table.write_text("file,z\na,1\nb,2\n")
    refused("row 2 of .* names the file 'b', which is not in", "images", folder, out, table=table)
    table.write_text("file,z\n")
    refused("has no rows", "images", folder, out, table=table)
    table.write_text("file,z\na,1,2\n")
    refused("cannot read the table", "images", folder, out, table=table)
    refused("cannot tell what kind of table", "images", folder, out, table=folder / "a.png")
    for name in ("one.csv", "two.csv"):
        (folder / name).write_text("file\na\n")
    refused("several tables .one.csv, two.csv.: name one with --table", "images", folder, out)
    (folder / "two.csv").unlink()
    refused("survey 'hsc-i' has 1 bands .* but the images have 3", "images", folder, out, survey="hsc-i")
    (folder / "one.csv").unlink()
    picture(folder / "b.png", 0, size=(9, 9))
    refused("b.png is 9 x 9 px with 3 channel.s., the first picture 8 x 8 with 3", "images", folder, out)
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:60])
    refused("cannot read the picture .*b.png", "images", folder, out)
    (folder / "b.png").write_text("no picture")
    refused("cannot read the picture .*b.png", "images", folder, out)
    picture(folder / "a.png", 0, size=(8, 6))
    refused("a.png is 6 x 8 px, expected square", "images", folder, out)


# -- FITS cutouts -----------------------------------------------------------------------------------------------------
def small_set(n: int = 12) -> GalaxySet:
    rng = np.random.default_rng(3)
    shape = (n, 5, 16, 16)
    columns = {
        "object_id": np.arange(n, dtype=np.int64) + 5,
        "redshift": np.where(np.arange(n) % 3 == 0, np.nan, rng.uniform(0, 4, n)),
        "category": np.array(["spiral", "edge-on"] * (n // 2)),
        "true_sersic_index_of_the_bulge": rng.uniform(0.5, 6, n),
        "secure": np.arange(n) % 2 == 0,
        "ra": rng.uniform(0, 360, n),
        "dec": rng.uniform(-60, 60, n),
    }
    return GalaxySet(
        rng.normal(size=shape).astype(np.float32),
        Survey.get("hsc-wide"),
        columns,
        psf=rng.uniform(size=(n, 5, 7, 7)).astype(np.float32),
        ivar=rng.uniform(size=shape).astype(np.float32),
        mask=rng.integers(0, 2, shape, np.uint8),
    )


def test_fits_round_trip(tmp_path: Path) -> None:
    galaxies = small_set()
    galaxies.write_fits(tmp_path / "cutouts")
    report = import_archive("fits", tmp_path / "cutouts", tmp_path / "set.h5")
    back = GalaxySet.open(tmp_path / "set.h5")
    assert report.n == 12
    assert back.survey == galaxies.survey
    for plane in ("images", "ivar", "mask", "psf"):
        np.testing.assert_array_equal(getattr(back, plane)[:], getattr(galaxies, plane)[:])
    for name, values in galaxies.columns.items():
        np.testing.assert_array_equal(back.columns[name], values, err_msg=name)
        assert back.columns[name].dtype.kind == values.dtype.kind


@pytest.mark.parametrize("name", ["sdss-rgb", "hsc-i", "lsst"])
def test_fits_round_trip_of_other_surveys(tmp_path: Path, name: str) -> None:
    survey = Survey.get(name)
    images = np.random.default_rng(0).normal(size=(2, len(survey.bands), 8, 8)).astype(np.float32)
    GalaxySet(images, survey).write_fits(tmp_path / "cutouts")
    import_archive("fits", tmp_path / "cutouts", tmp_path / "set.h5")
    back = GalaxySet.open(tmp_path / "set.h5")
    assert back.survey == survey
    np.testing.assert_array_equal(back.images[:], images)


def test_galaxies_of_one_name_are_all_written(tmp_path: Path) -> None:
    galaxies = small_set()
    joined = GalaxySet.concatenate([galaxies, galaxies])
    assert len(set(joined.write_fits(tmp_path / "cutouts"))) == 24
    import_archive("fits", tmp_path / "cutouts", tmp_path / "set.h5")
    ids = GalaxySet.open(tmp_path / "set.h5").columns["object_id"]
    assert sorted(ids.tolist()) == sorted(joined.columns["object_id"].tolist())


def band_file(path: Path, zero_points: dict[str, float], flux: float = 100.0, size: int = 8, **cards: object) -> None:
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header.update(cards)
    for band, zero_point in zero_points.items():
        hdu = fits.ImageHDU(np.full((size, size), flux * 10 ** (0.4 * (zero_point - 27)), np.float32), name=band)
        hdu.header["MAGZERO"] = zero_point
        for axis, name, step in ((1, "RA---TAN", -0.2), (2, "DEC--TAN", 0.2)):
            hdu.header[f"CTYPE{axis}"], hdu.header[f"CDELT{axis}"] = name, step / 3600
        hdus.append(hdu)
    path.parent.mkdir(parents=True, exist_ok=True)
    hdus.writeto(path)


def test_fits_zero_points_are_brought_to_one(tmp_path: Path) -> None:
    band_file(tmp_path / "c" / "1.fits", {"U": 27.0, "V": 25.5}, ZSPEC=0.3)
    band_file(tmp_path / "c" / "2.fits", {"U": 30.0, "V": 27.0}, ZSPEC=0.4, CLASS="ring")
    report = import_archive("fits", tmp_path / "c", tmp_path / "set.h5", redshift="zspec", survey="mine", bands=["V", "U"])
    back = GalaxySet.open(tmp_path / "set.h5")
    assert back.survey.bands == ("V", "U")
    assert back.survey.zero_point == 25.5  # the first file's first band
    assert back.survey.pixel_scale_arcsec == pytest.approx(0.2)
    np.testing.assert_allclose(back.survey.magnitude(back.images[:]), 22.0, rtol=1e-6)  # 100 counts at 27
    assert back.redshift.tolist() == [0.3, 0.4]
    assert back.columns["class"].tolist() == ["", "ring"]
    assert any("2 galaxies had bands whose MAGZERO is not 25.5" in note for note in report.notes)


def test_one_fits_file_of_one_plain_image(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.arange(64, dtype=np.int16).reshape(8, 8)).writeto(tmp_path / "a.fits")
    import_archive("fits", tmp_path / "a.fits", tmp_path / "set.h5", survey="hsc-i", bands=["i"])
    back = GalaxySet.open(tmp_path / "set.h5")
    np.testing.assert_array_equal(back.images[0][0], np.arange(64).reshape(8, 8))
    assert back.survey == Survey.get("hsc-i")


def test_fits_with_a_table(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        band_file(tmp_path / "c" / f"{number}.fits", {"I": 27.0}, flux=number)
    (tmp_path / "c" / "table.csv").write_text("file,z,kind\n10,1.5,a\n2.fits,0.5,b\n")
    import_archive("fits", tmp_path / "c", tmp_path / "set.h5", survey="hsc-i", redshift="z", category="kind")
    back = GalaxySet.open(tmp_path / "set.h5")
    assert back.images[:][:, 0, 0, 0].tolist() == [10, 2]
    assert (back.redshift.tolist(), back.category.tolist()) == ([1.5, 0.5], ["a", "b"])


def test_fits_that_cannot_be_read(tmp_path: Path) -> None:
    folder, out = tmp_path / "c", tmp_path / "set.h5"
    folder.mkdir()
    refused("holds no FITS files", "fits", folder, out)
    band_file(folder / "1.fits", {"G": 27.0, "R": 27.0})
    band_file(folder / "2.fits", {"G": 27.0})
    refused("2.fits has no band 'r': it has g", "fits", folder, out)
    refused("1.fits has no band 'i': it has g, r", "fits", folder, out, survey="hsc-wide", bands=["i"])
    (folder / "2.fits").unlink()
    band_file(folder / "2.fits", {"G": 27.0, "R": 27.0}, size=9)
    refused(r"'g' of .*2.fits has shape \(9, 9\), expected square cutouts of one size", "fits", folder, out)
    (folder / "2.fits").write_bytes((folder / "1.fits").read_bytes()[:3000])
    refused("cannot read .*2.fits: it is truncated or not a FITS file", "fits", folder, out)
    (folder / "2.fits").write_text("no FITS")
    refused("cannot read .*2.fits: it is truncated or not a FITS file", "fits", folder, out)
    (folder / "2.fits").unlink()
    (folder / "1.fits").unlink()
    fits.PrimaryHDU().writeto(folder / "1.fits")
    refused("1.fits holds no two-dimensional image", "fits", folder, out)


# -- scenes -----------------------------------------------------------------------------------------------------------
def scene(path: Path, **replaced: np.ndarray) -> dict[str, np.ndarray]:
    """A scene of 40 x 30 px whose pixel values say where they are."""
    y, x = np.mgrid[:40, :30]
    arrays = {
        "images": (np.arange(1, 6)[:, None, None] * 10_000 + y * 100 + x).astype(np.float32),
        "weights": np.ones((5, 40, 30), np.float32),
        "peaks": np.array([[12.0, 20.0], [0.0, 39.0], [500.0, -500.0]]),
        "psfs": np.random.default_rng(0).uniform(size=(5, 41, 41)).astype(np.float32),
    }
    arrays["weights"][2, 20, 13] = 0
    arrays["images"][2, 20, 13] = np.nan  # a bleed: no data, so no bad pixel either
    arrays |= replaced
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays)
    return arrays


def test_scenes_are_cut_at_their_peaks(tmp_path: Path) -> None:
    arrays = scene(tmp_path / "s" / "a.npz")
    scene(tmp_path / "s" / "b.npz", peaks=np.zeros((0, 2)))
    report = import_archive("scenes", tmp_path / "s", tmp_path / "set.h5")
    galaxies = GalaxySet.open(tmp_path / "set.h5")
    images, ivar, mask = galaxies.images[:], galaxies.ivar[:], galaxies.mask[:]
    assert images.shape == (3, 5, 64, 64)
    assert images[0, 0, 32, 32] == 10_000 + 20 * 100 + 12  # the peak
    assert images[0, 4, 30, 35] == 50_000 + 18 * 100 + 15  # 2 px below, 3 px right
    assert images[1, 1, 32, 32] == 20_000 + 39 * 100
    np.testing.assert_array_equal(images[0, 3, 12:52, 20:50], arrays["images"][3])
    assert (images[0, :, :12] == 0).all()
    assert (ivar[0, :, :12] == 0).all()
    assert (mask[0, :, :12] == NO_DATA).all()
    # zero weight within the scene, in one band only
    assert (images[0, 2, 32, 33], ivar[0, 2, 32, 33], mask[0, 2, 32, 33]) == (0, 0, NO_DATA)
    assert (images[0, 1, 32, 33], ivar[0, 1, 32, 33], mask[0, 1, 32, 33]) == (20_000 + 20 * 100 + 13, 1, 0)
    assert galaxies.columns["n_bad_pixels"].tolist() == [0, 0, 0]
    # a peak outside the scene has an empty stamp
    assert (images[2] == 0).all()
    assert (ivar[2] == 0).all()
    np.testing.assert_allclose(galaxies.columns["edge_fraction"][[0, 2]], [1 - 40 * 30 / 64**2, 1])
    np.testing.assert_allclose(galaxies.columns["no_data_fraction"][0], 1 - (40 * 30 * 5 - 1) / 64**2 / 5)
    assert galaxies.columns["scene"].tolist() == ["a"] * 3
    assert galaxies.columns["x"].tolist() == [12, 0, 500]
    for row in range(3):
        np.testing.assert_array_equal(galaxies.psf[row], arrays["psfs"])
    assert galaxies.survey == Survey.get("hsc-udeep")
    assert any("1 scenes have no peaks" in note for note in report.notes)


def test_scenes_that_cannot_be_read(tmp_path: Path) -> None:
    folder, out = tmp_path / "s", tmp_path / "set.h5"
    folder.mkdir()
    refused("holds no .npz scenes", "scenes", folder, out)
    path = folder / "a.npz"
    np.savez(path, images=np.zeros((5, 4, 4)))
    refused("no array 'weights': expected images, weights, peaks, psfs, found images", "scenes", folder, out)
    scene(path, weights=np.zeros((5, 4, 4)))
    refused(r"weights \(5, 4, 4\) must both be", "scenes", folder, out)
    scene(path, peaks=np.zeros(2))
    refused(r"peaks have shape \(2,\), expected \(k, 2\)", "scenes", folder, out)
    scene(path, peaks=np.full((1, 2), np.nan))
    refused("finite numbers", "scenes", folder, out)
    scene(path, psfs=np.zeros((4, 41, 41)))
    refused(r"psfs have shape \(4, 41, 41\), expected \(5", "scenes", folder, out)
    scene(path, images=np.zeros((4, 9, 9)), weights=np.zeros((4, 9, 9)), psfs=np.zeros((4, 3, 3)))
    refused("has 5 bands .* but the images have 4", "scenes", folder, out)
    scene(path, peaks=np.array([{"x": 1}], object))
    refused("truncated, pickled or not an .npz", "scenes", folder, out)
    scene(path, peaks=np.zeros((0, 2)))
    refused("holds no galaxies that could be imported", "scenes", folder, out)
    path.write_bytes(path.read_bytes()[:500])
    refused("cannot read the scene .*a.npz", "scenes", folder, out)


# -- telescopes' own data ---------------------------------------------------------------------------------------------
def test_real_sdss_pictures(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "gz2_rgb64" / "gz2_four_classes.npz"
    report = import_archive("images", source, tmp_path / "set.h5", survey="sdss-rgb", category="label")
    galaxies = GalaxySet.open(tmp_path / "set.h5")
    names, counts = np.unique(galaxies.category, return_counts=True)
    assert (report.n, len(names), set(counts)) == (700, 4, {175})
    assert galaxies.images.shape == (700, 3, 64, 64)
    assert 0 <= galaxies.images[:].min() < galaxies.images[:].max() <= 255
    assert {"asset_id", "gz2_class"} <= set(galaxies.columns)


def test_real_hsc_flux(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "hsc_two_depths" / "hsc_wide_deep_64.npz"
    refused("2 arrays that could be images", "images", source, tmp_path / "set.h5", survey="hsc-i")
    import_archive("images", source, tmp_path / "wide.h5", images="wide", survey="hsc-i")
    galaxies = GalaxySet.open(tmp_path / "wide.h5")
    edge = galaxies.images[:][:, 0, :3, :].ravel()
    assert galaxies.images.shape == (600, 1, 64, 64)
    assert 1.4826 * np.median(np.abs(edge - np.median(edge))) == pytest.approx(0.064, rel=0.25)
    assert galaxies.columns["id"].dtype.kind == "U"


def test_real_xdf_redshifts(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "xdf_specz_rgb64" / "xdf_specz.npz"
    report = import_archive("images", source, tmp_path / "set.h5", survey="xdf-rgb", redshift="zspec")
    galaxies = GalaxySet.open(tmp_path / "set.h5")
    assert (galaxies.columns["flag_redshift"] == 0).all()
    assert galaxies.redshift.min() > 0
    assert 250 < ((galaxies.columns["npix"] >= 40) & galaxies.columns["inside"]).sum() < 310
    assert any("fluxes" in note for note in report.notes)


def test_real_hsc_scenes(shared_data: Path, tmp_path: Path) -> None:
    report = import_archive("scenes", shared_data / "hsc_cosmos_scenes", tmp_path / "set.h5")
    galaxies = GalaxySet.open(tmp_path / "set.h5")
    assert report.n == len(galaxies) == 756
    assert len(set(galaxies.columns["scene"].tolist())) == 100
    images, ivar = galaxies.images[:], galaxies.ivar[:]
    assert (images[ivar == 0] == 0).all()
    # The peaks are where the light is: the centre outshines a ring 8 px away wherever the centre has data.
    y, x = np.mgrid[:64, :64] - 32
    ring, core = np.abs(np.hypot(x, y) - 8) < 0.5, np.hypot(x, y) < 1.5
    light = images[:, 2]
    has_data = (ivar[:, 2] > 0)[:, core].all(axis=1)
    brighter = light[:, core].mean(axis=1) > light[:, ring].mean(axis=1)
    assert has_data.mean() > 0.9
    assert brighter[has_data].mean() > 0.9
    np.testing.assert_allclose(galaxies.psf[:3].sum(axis=(2, 3)), 1, rtol=1e-3)
