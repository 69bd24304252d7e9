"""HST's galaxies as HSC would see them: light, place and sharpness against what is known, and folders that will not do."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.simulate import add_noise
from hubbleflow.simulate.hst import SOURCE, Task, draw, read_folder, simulate_hst
from hubbleflow.simulate.seeing import median_psf
from hubbleflow.survey import Survey

galsim = pytest.importorskip("galsim", reason="GalSim absent: pip install 'hubbleflow[galsim]'")

HSC = Survey.get("hsc-wide")
STAMPS, LIGHT = "real_galaxy_catalog_26_extension_example.fits", "real_galaxy_catalog_26_extension_example_fits.fits"
COUNT = 22  # more than one task


@pytest.fixture(scope="module")
def folder(shared_data, tmp_path_factory):
    """The first galaxies of the real folder."""
    small = tmp_path_factory.mktemp("hst")
    for path in (shared_data / "hst_cosmos").iterdir():
        shutil.copyfile(path, small / path.name)
    for name in (STAMPS, LIGHT):
        Table.read(small / name)[:COUNT].write(small / name, overwrite=True)
    return small


@pytest.fixture(scope="module")
def seen(folder, tmp_path_factory) -> GalaxySet:
    return simulate_hst(folder, tmp_path_factory.mktemp("out") / "hst.h5", noise=False, progress=False)


@pytest.fixture
def copy(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def spoiled(copy, name, change):
    """The folder with one table changed."""
    table = Table.read(copy / name)
    change(table)
    table.write(copy / name, overwrite=True)
    return copy


# -- what is drawn -----------------------------------------------------------------------------------------------------------------
def test_columns_are_the_catalogues(folder, seen):
    light, stamps = Table.read(folder / LIGHT), Table.read(folder / STAMPS)
    assert np.array_equal(seen.columns["object_id"], light["IDENT"]) and set(seen.columns["source"]) == {SOURCE}
    np.testing.assert_allclose(seen.redshift, light["ZPHOT"], rtol=1e-6)
    np.testing.assert_allclose(seen.columns["hst_f814w_mag"], stamps["MAG"], rtol=1e-6)
    for band in HSC.bands:
        np.testing.assert_allclose(seen.columns[f"true_{band}_mag"], light[f"HSC_{band}"], rtol=1e-6)
    assert seen.images.shape == (COUNT, 5, 64, 64) and seen.survey == HSC
    assert np.asarray(seen.psf).shape == (5, 41, 41)


def test_light_is_the_magnitudes(seen):
    # but for the PSF's wings, of which as much leaves the stamp as leaves one that is centred on a point: 0.1 to 1 %
    flux = np.stack([HSC.flux(seen.columns[f"true_{band}_mag"]) for band in HSC.bands], axis=1)
    share = seen.images[:].sum(axis=(2, 3)) / flux
    assert (share < 1.0005).all() and (share > 0.985).all()
    assert np.ptp(share, axis=0).max() < 2e-3  # the same for all galaxies of a band


def test_a_galaxy_of_known_shape_is_seen_as_galsim_sees_it(folder, tmp_path):
    """A Gaussian on HST's stamp, blurred by the catalogue's own PSF: deconvolved, it must be the plain Gaussian through the HSC PSF."""
    made = tmp_path / "made"
    shutil.copytree(folder, made)
    stamps = Table.read(made / STAMPS)
    size, sigma = 121, 0.25
    with fits.open(made / "real_galaxy_PSF_images_extension.fits") as hdus:
        psf = galsim.InterpolatedImage(galsim.Image(hdus[int(stamps["PSF_HDU"][0])].data.astype(float), scale=0.03), flux=1.0)
    galaxy = galsim.Gaussian(sigma=sigma, flux=50.0).shear(q=0.6, beta=35 * galsim.degrees).shift(0.1, -0.05)
    image = galsim.Convolve(galaxy, psf).drawImage(nx=size, ny=size, scale=0.03, method="no_pixel").array
    fits.HDUList([fits.PrimaryHDU(image.astype(np.float32))]).writeto(made / "made.fits")
    stamps["GAL_FILENAME"][0], stamps["GAL_HDU"][0] = "made.fits", 0
    stamps.write(made / STAMPS, overwrite=True)
    flux = np.full((1, 5), 300.0)
    images, _, _ = draw(Task(made / STAMPS, np.array([0]), flux, HSC, 64, 1, noise=False))
    for band, (fwhm, beta) in enumerate(zip(HSC.psf_fwhm_arcsec, median_psf(HSC).betas, strict=True)):
        exact = galsim.Convolve(galaxy.withFlux(300.0), galsim.Moffat(beta=beta, fwhm=fwhm)).drawImage(nx=64, ny=64, scale=0.168).array
        assert np.abs(images[0, band] - exact).max() < 5e-3 * exact.max()


def test_one_morphology_in_all_bands(seen):
    # z and y have the same seeing, so that their images differ by a factor and by the wings of the PSF alone
    z, y = seen.images[:][:, 3], seen.images[:][:, 4]
    for a, b in zip(z, y, strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.995


def test_hst_noise_is_the_rms_that_padding_with_it_shows(folder, seen):
    # GalSim can fill what lies outside HST's stamp with noise of the same kind: its rms on HSC's pixels is the column's
    catalogue = galsim.RealGalaxyCatalog(STAMPS, dir=str(folder))
    catalogue.noise_file_name = [f"{galsim.meta_data.share_dir}/acs_I_unrot_sci_20_cf.fits"] * COUNT
    ratio = []
    for row in range(8):
        galaxy = galsim.RealGalaxy(catalogue, index=row, noise_pad_size=20, rng=galsim.BaseDeviate(row + 1))
        sky = galsim.RealGalaxy(catalogue, index=row, rng=galsim.BaseDeviate(1))
        scale = float(HSC.flux(seen.columns["true_i_mag"][row])) / sky.flux
        moffat = galsim.Moffat(beta=median_psf(HSC).betas[2], fwhm=0.58)
        image = galsim.Convolve(galaxy * scale, moffat).drawImage(nx=100, ny=100, scale=0.168).array
        ratio.append(image[:, :30].std() / (HSC.noise[2] * seen.columns["hst_noise"][row]))
    catalogue.close()
    assert np.mean(ratio) == pytest.approx(1, abs=0.1)
    assert 0.1 < np.median(seen.columns["hst_noise"]) < 0.3


def test_noise_is_the_surveys_and_the_seeds(folder, seen, tmp_path):
    noisy = simulate_hst(folder, tmp_path / "noisy.h5", seed=5, workers=2, progress=False)
    clean = seen.images[:]
    assert np.array_equal(noisy.images[:], add_noise(clean.copy(), HSC, 5, np.arange(COUNT)))
    added = noisy.images[:] - clean
    assert added[..., :8, :].std(axis=(0, 2, 3)) == pytest.approx(HSC.noise, rel=0.15)


def test_other_surveys_and_sizes(folder):
    decals = Survey.get("decals")
    galaxies = read_folder(folder, decals)
    rows = np.array([0, 1])
    images, _, _ = draw(Task(galaxies.catalogue, rows, decals.flux(galaxies.mag)[rows], decals, 48, 1, noise=False))
    assert images.shape == (2, 3, 48, 48)
    assert images.sum(axis=(2, 3)) == pytest.approx(decals.flux(galaxies.mag)[rows], rel=0.03)


# -- what will not do --------------------------------------------------------------------------------------------------------------
def test_without_galsim(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "galsim", None)
    with pytest.raises(InputError, match=r"pip install 'hubbleflow\[galsim\]'"):
        simulate_hst(tmp_path, tmp_path / "out.h5")


def test_no_folder_and_an_empty_one(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        simulate_hst(tmp_path / "none", tmp_path / "out.h5")
    with pytest.raises(InputError, match="holds no RealGalaxyCatalog"):
        simulate_hst(tmp_path, tmp_path / "out.h5")


@pytest.mark.parametrize(("name", "value"), [("seed", -1), ("image_size", 4), ("image_size", 64.5)])
def test_numbers_out_of_range(tmp_path, name, value):
    with pytest.raises(InputError, match=f"{name} must be a whole number"):
        simulate_hst(tmp_path, tmp_path / "out.h5", **{name: value})


def test_some_of_the_galaxies(folder, seen, tmp_path):
    first = simulate_hst(folder, tmp_path / "three.h5", 3, noise=False, progress=False)
    assert np.array_equal(first.images[:], seen.images[:3])
    for n in (0, COUNT + 1, 2.5):
        with pytest.raises(InputError, match=f"n must be a whole number of at least 1 and at most {COUNT}, but"):
            simulate_hst(folder, tmp_path / "out.h5", n)


def test_surveys_without_such_bands(folder, tmp_path):
    with pytest.raises(InputError, match="has no column HSC_u, which survey 'sdss' needs"):
        simulate_hst(folder, tmp_path / "out.h5", survey="sdss")
    with pytest.raises(InputError, match="cannot be simulated"):
        simulate_hst(folder, tmp_path / "out.h5", survey="sdss-rgb")


def test_no_table_of_light(copy, tmp_path):
    (copy / LIGHT).unlink()
    with pytest.raises(InputError, match="holds no table of redshifts and magnitudes"):
        simulate_hst(copy, tmp_path / "out.h5")


def test_tables_that_disagree(copy, tmp_path):
    spoiled(copy, LIGHT, lambda table: table.remove_row(1))
    with pytest.raises(InputError, match="both must describe the same galaxies"):
        simulate_hst(copy, tmp_path / "out.h5")


@pytest.mark.parametrize(("column", "value"), [("HSC_z", 99.0), ("HSC_g", np.nan), ("ZPHOT", -1.0)])
def test_impossible_values(copy, tmp_path, column, value):
    def change(table):
        table[column][2] = value

    ident = Table.read(copy / LIGHT)["IDENT"][2]
    with pytest.raises(InputError, match=f"{column} of galaxy {ident} .* is {value:g}, but must be from"):
        simulate_hst(spoiled(copy, LIGHT, change), tmp_path / "out.h5")


@pytest.mark.parametrize("how", ["missing", "truncated", "noise"])
def test_damaged_files(copy, tmp_path, how):
    path = copy / "real_galaxy_images_extension.fits"
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:20_000])
    else:
        path.write_bytes(b"no FITS file")
    out = tmp_path / "out.h5"
    with pytest.raises(InputError, match="cannot read .*fetch it again") as caught:
        simulate_hst(copy, out, progress=False)
    assert "\n" not in str(caught.value) and not out.exists()
