"""What a column may be trusted for: light beyond the PSF image, misfits, cut-off cores, killed runs, tables that explain themselves."""

from __future__ import annotations

import galsim
import h5py
import numpy as np
import pytest

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import Flag, SersicFlag, measure, measure_file, sersic_flags, shape_flags
from hubbleflow.survey import Survey
from test_sersic_fit import PSF_IMAGE, SIZE, draw, noise

HSC_I = Survey.get("hsc-i")


def test_a_psf_that_holds_most_of_the_light_loses_none_of_it():
    seeing = galsim.Moffat(beta=1.7, fwhm=3.5)  # wings as HSC's
    whole, cut = (seeing.drawImage(nx=n, ny=n, scale=1, dtype=float).array for n in (121, 41))
    images = (draw(500.0, radius=4.0, n=1.0, psf=seeing) + noise(2))[:, None].astype(np.float32)
    fluxes = [measure(GalaxySet(images, HSC_I, psf=psf[None]), progress=False).columns["i_sersic_flux"] for psf in (whole, cut, 37 * cut)]
    assert 0.95 < cut.sum() < 0.98
    assert fluxes[0] == pytest.approx(500.0, rel=0.015)
    assert fluxes[1] == pytest.approx(fluxes[0], rel=0.015)  # taken at its word
    assert fluxes[2] == pytest.approx(fluxes[1] * cut.sum(), rel=1e-3)  # a matter of units: all of the light is in it


def test_what_no_profile_describes_is_flagged():
    y, x = np.mgrid[:SIZE, :SIZE] - 31.5
    galaxy = draw(3000.0, radius=6.0, n=1.0)
    arms = galaxy * (1 + 0.9 * np.cos(2 * np.arctan2(y, x) + np.hypot(x, y)))
    images = np.stack([galaxy, arms])[:, None] + noise(2)[:, None]
    columns = measure(GalaxySet(images.astype(np.float32), HSC_I, psf=PSF_IMAGE[None]), progress=False).columns
    assert ((columns["i_sersic_flag"] & SersicFlag.POOR_FIT) != 0).tolist() == [False, True]


def test_a_core_cut_off_before_noise_was_added_is_saturated():
    galaxy = draw(1e5, radius=5.0, n=3.0)
    clipped = np.minimum(galaxy, 0.3 * galaxy.max())
    images = (np.stack([galaxy, clipped]) + noise(2)).astype(np.float32)[:, None]
    columns = measure(GalaxySet(images, HSC_I, psf=PSF_IMAGE[None]), progress=False).columns
    assert ((columns["flag"] & Flag.SATURATED) != 0).tolist() == [False, True]
    assert not sersic_flags.trusted(columns["i_sersic_flag"][1]) and not shape_flags.trusted(columns["i_shape_flag"][1])


def test_a_saturated_core_is_left_out_of_other_bands_too():
    galaxy = draw(1e4, radius=5.0, n=2.0)
    bands = np.stack([np.minimum(galaxy, 0.3 * galaxy.max()), galaxy, galaxy, galaxy, galaxy]) + noise(5)
    galaxies = GalaxySet(bands[None].astype(np.float32), Survey.get("hsc-wide"), psf=np.stack([PSF_IMAGE] * 5))
    columns = measure(galaxies, progress=False).columns
    assert columns["g_flag"][0] & Flag.SATURATED and not columns["flag"][0] & Flag.SATURATED
    assert columns["g_sersic_mag"][0] == pytest.approx(columns["i_sersic_mag"][0], abs=0.03)


def test_a_killed_run_with_force_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "set.h5"
    images = (draw(500.0) + noise(3)).astype(np.float32)[:, None]
    GalaxySet(images, HSC_I).write(path)
    before = measure_file(path, progress=False).columns["i_flux"].copy()
    with h5py.File(path, "r+") as file:
        file["image"][:] = 2 * images
    with monkeypatch.context() as patch:
        patch.setattr("hubbleflow.measure.pipeline.write_measured", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            measure_file(path, progress=False, force=True)
    after = measure_file(path, progress=False).columns["i_flux"]
    assert after == pytest.approx(2 * before, rel=0.02)
    assert not list(tmp_path.glob(".*measuring*"))


def test_integers_are_measured_and_no_galaxies_are_refused():
    images = (draw(5e4, radius=4.0) + noise(2)).round().astype(np.int32)[:, None]
    measured = measure(GalaxySet(images, HSC_I), progress=False)
    assert len(measured) == 2 and np.isfinite(measured.columns["i_flux"]).all()
    with pytest.raises(InputError, match="no galaxies"):
        measure(GalaxySet(images, HSC_I)[np.zeros(2, bool)], progress=False)


def test_a_table_says_what_its_columns_are():
    galaxies = GalaxySet((draw(500.0) + noise(1)).astype(np.float32)[:, None], HSC_I)
    table = measure(galaxies, progress=False).added_to(galaxies).table
    assert all(table[name].info.description for name in table.colnames if name.startswith("i_"))
    assert any(line.startswith("sersic_flag_bits = ") and "POOR_FIT" in line for line in table.meta["comments"])
