"""The mock sky: exact answers of the renderer, GalSim's images, the file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure.sersic_model import SersicModel
from hubbleflow.sersic import flux_within
from hubbleflow.simulate import Components, Moffat, PSFImage, Renderer, effective_psf, simulate
from hubbleflow.simulate.blocks import Look, Task, draw_block
from hubbleflow.simulate.checks import check_device
from hubbleflow.simulate.kinds import KINDS
from hubbleflow.simulate.noise import add_noise, sky_counts
from hubbleflow.simulate.scene import draw_scene
from hubbleflow.simulate.wrapped import outside_flux
from hubbleflow.survey import Survey

HSC = Survey.get("hsc-wide")
SCALE = 0.168
SMALL = Moffat((0.6,))


def one(n=1.0, radius=0.5, q=1.0, angle=0.0, x=0.0, y=0.0, flux=(100.0,)) -> Components:
    return Components(*(torch.tensor([[float(v)]]) for v in (n, radius, q, angle, x, y)), flux=torch.tensor([[flux]]))


def gaussian_psf(sigma_pixels: float = 2.0) -> PSFImage:
    """A PSF without wings, so that all of a small galaxy's light stays on the stamp."""
    y, x = np.indices((41, 41)) - 20.0
    return PSFImage(np.exp(-0.5 * (x * x + y * y) / sigma_pixels**2)[None], SCALE)


def moments(image: np.ndarray) -> tuple[float, float, float, float, float]:
    """Centroid (from the stamp's centre, pixels) and second moments xx, yy, xy."""
    y, x = np.indices(image.shape) - (np.array(image.shape) - 1)[:, None, None] / 2
    total = image.sum()
    mx, my = (image * x).sum() / total, (image * y).sum() / total
    return mx, my, *((image * a * b).sum() / total for a, b in ((x - mx, x - mx), (y - my, y - my), (x - mx, y - my)))


# -- exact answers ---------------------------------------------------------------------------------------------------------------
def test_all_the_flux_and_the_zero_point():
    flux = float(HSC.flux(20.0))
    image = Renderer(64, SCALE, gaussian_psf())(one(n=0.5, radius=0.4, flux=(flux,)))
    assert float(image.sum()) == pytest.approx(10 ** (0.4 * (27 - 20)), rel=2e-5)
    assert HSC.magnitude(float(image.sum())) == pytest.approx(20.0, abs=1e-4)


@pytest.mark.parametrize(("n", "radius"), [(1.0, 3.0), (4.0, 2.0), (6.0, 3.0)])
def test_the_flux_that_leaves_the_stamp_does_not_come_back(n, radius):
    # a stamp much larger than the PSF holds what the profile alone says: periodic copies would add to it
    image = Renderer(64, SCALE, gaussian_psf(0.7))(one(n, radius))[0, 0].numpy()
    y, x = np.indices(image.shape) - 31.5
    aperture = 25 * SCALE
    inside = image[np.hypot(x, y) * SCALE < aperture].sum()
    assert inside == pytest.approx(100 * float(flux_within(aperture / radius, n)), rel=4e-3)
    half = 32 * SCALE
    outside = float(outside_flux(*(torch.tensor([v]) for v in (n, _b(n), radius, 1.0, 0.0)), half_side=half))
    assert image.sum() == pytest.approx(100 * (1 - outside), rel=1e-3)


def _b(n):
    from hubbleflow.sersic import b_n

    return float(b_n(n))


def test_light_outside_a_square_is_that_of_a_direct_sum():
    # q = 0.3 at 25 degrees, on a fine grid
    n, radius, q, angle = 1.0, 1.0, 0.3, np.deg2rad(25)
    step = 0.01
    x, y = np.meshgrid(*2 * [np.arange(-1.2 + step / 2, 1.2, step)])
    u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    from hubbleflow.sersic import surface_brightness

    inside = surface_brightness(np.hypot(u, v / q) / radius, n).sum() * step**2 / q
    fraction = float(outside_flux(*(torch.tensor([v]) for v in (n, _b(n), radius, q, angle)), half_side=1.2))
    assert fraction == pytest.approx(1 - inside, abs=2e-3)


def test_centroid_follows_the_offset_in_arcsec():
    image = Renderer(64, SCALE, SMALL)(one(x=0.50, y=-0.77, n=0.5, radius=0.3))[0, 0].numpy()
    x, y, *_ = moments(image)
    assert (x * SCALE, y * SCALE) == (pytest.approx(0.50, abs=2e-3), pytest.approx(-0.77, abs=2e-3))


def test_a_centred_galaxy_is_symmetric_under_flips():
    image = Renderer(64, SCALE, SMALL)(one(n=2.0, q=0.5, angle=0.0))[0, 0]
    for flipped in (image.flip(0), image.flip(1)):
        assert torch.allclose(image, flipped, atol=2e-6 * float(image.max()))


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, -50.0])
def test_position_angle_runs_from_x_towards_y(angle):
    image = Renderer(64, SCALE, SMALL)(one(q=0.3, angle=angle, radius=0.8))[0, 0].numpy()
    *_, xx, yy, xy = moments(image)
    measured = 0.5 * np.rad2deg(np.arctan2(2 * xy, xx - yy))
    assert (measured - angle + 90) % 180 - 90 == pytest.approx(0, abs=0.05)


def test_a_gaussian_galaxy_has_its_second_moments():
    # n = 1/2: sigma = R_e / sqrt(2 ln 2) along the major axis; a Gaussian PSF image adds its own
    image = Renderer(64, SCALE, gaussian_psf(2.0))(one(n=0.5, radius=5 * SCALE, q=0.5, angle=0.0))[0, 0].numpy()
    *_, xx, yy, _ = moments(image)
    assert xx == pytest.approx(25 / (2 * np.log(2)) + 4, rel=1e-3)
    assert yy == pytest.approx(25 / 4 / (2 * np.log(2)) + 4, rel=1e-3)


@pytest.mark.parametrize("psf", [Moffat((0.8,)), Moffat((0.8,), beta=3.5)])
def test_psf_has_its_fwhm(psf):
    # pixels of 0.05" hardly widen it, and the half-maximum radius can be read off a row
    image = effective_psf(Renderer(96, 0.05, psf), 41)[0]
    row = image[20, 20:]
    half = np.interp(-0.5 * row[0], -row, np.arange(len(row)))
    assert 2 * half * 0.05 == pytest.approx(0.8, rel=4e-3)
    assert np.unravel_index(image.argmax(), image.shape) == (20, 20)


def test_an_effective_psf_image_renders_a_point_as_itself():
    rng = np.random.default_rng(1)
    stamp = effective_psf(Renderer(64, SCALE, Moffat((0.7,))), 41)
    stamp = (stamp + 1e-4 * rng.random(stamp.shape)).astype(np.float32)  # no symmetry
    drawn = effective_psf(Renderer(64, SCALE, PSFImage(stamp, SCALE)), 41)
    assert stamp.sum() > 1 and np.abs(drawn - stamp / stamp.sum()).max() < 1e-6


@pytest.mark.parametrize("total", [0.5, 0.89, 0.91, 0.99, 1.0, 30.0])
def test_the_sum_of_a_psf_image_means_the_same_to_renderer_and_fit(total):
    image = np.random.default_rng(2).random((1, 9, 9))
    image *= total / image.sum()
    fit = SersicModel(32, dtype=torch.float64).transfer(torch.as_tensor(image))[0, 0, 0]
    ours = PSFImage(image, SCALE).transfer(np.zeros(1), np.zeros(1), SCALE)[0, 0, 0]
    assert ours == pytest.approx(complex(fit), abs=1e-12) == (total if 0.9 < total < 1 else 1.0)


def test_bands_have_their_own_psf_and_flux():
    images = Renderer(64, SCALE, Moffat((0.6, 1.2)))(one(flux=(50.0, 200.0)))[0]
    assert images.sum(dim=(1, 2)) == pytest.approx([50.0, 200.0], rel=8e-3)  # the wider Moffat's wings leave the stamp
    assert images[0].max() / images[0].sum() > 1.5 * images[1].max() / images[1].sum()


def test_components_add():
    renderer = Renderer(48, SCALE, SMALL)
    a, b = one(n=4.0, radius=0.7, q=0.6, angle=20), one(n=1.0, x=1.5, y=-2.0, flux=(30.0,))
    names = ("sersic_index", "half_light_radius", "axis_ratio", "position_angle", "x", "y", "flux")
    both = Components(*(torch.cat([getattr(a, name), getattr(b, name)], dim=1) for name in names))
    assert torch.allclose(renderer(both), renderer(a) + renderer(b), atol=2e-4)


# -- GalSim ----------------------------------------------------------------------------------------------------------------------
def test_against_galsim():
    """Largest pixel difference <= 1e-3 of the peak and flux on the stamp within 1e-3, n 0.5-6, R_e 0.1-3 arcsec, q 0.2-1."""
    galsim = pytest.importorskip("galsim")
    rng = np.random.default_rng(11)
    count = 20
    n, q, angle = rng.uniform(0.5, 6, count), rng.uniform(0.2, 1, count), rng.uniform(0, 180, count)
    radius, (x, y) = np.exp(rng.uniform(np.log(0.1), np.log(3), count)), rng.uniform(-1, 1, (2, count))
    parts = (torch.as_tensor(v)[:, None] for v in (n, radius, q, angle, x, y))
    components = Components(*parts, flux=torch.full((count, 1, 1), 100.0))
    ours = Renderer(64, SCALE, Moffat((0.6,)))(components)[:, 0].numpy()
    psf = galsim.Moffat(beta=2.5, fwhm=0.6)
    # tight enough to be the reference: GalSim's defaults fold 0.5 % of the light
    params = galsim.GSParams(folding_threshold=5e-4, maxk_threshold=2e-4, kvalue_accuracy=1e-6, maximum_fft_size=16384)
    for i in range(count):
        galaxy = galsim.Sersic(n=n[i], half_light_radius=radius[i] * np.sqrt(q[i]), flux=100)
        galaxy = galaxy.shear(q=q[i], beta=angle[i] * galsim.degrees).shift(x[i], y[i])
        exact = galsim.Convolve(galaxy, psf, gsparams=params).drawImage(nx=64, ny=64, scale=SCALE).array
        what = f"n={n[i]:.2f} R_e={radius[i]:.2f} q={q[i]:.2f}"
        assert np.abs(ours[i] - exact).max() < 5e-4 * exact.max(), what
        assert ours[i].sum() == pytest.approx(exact.sum(), rel=2e-3), what


# -- noise -----------------------------------------------------------------------------------------------------------------------
def test_sky_noise_is_the_surveys():
    blank = add_noise(np.zeros((40, 5, 32, 32), np.float32), HSC, 1, np.arange(40))
    assert blank.std(axis=(0, 2, 3)) == pytest.approx(HSC.noise, rel=0.02)
    assert np.abs(blank.mean(axis=(0, 2, 3)) / HSC.noise).max() < 0.02
    assert np.abs(np.corrcoef(blank.transpose(1, 0, 2, 3).reshape(5, -1)) - np.eye(5)).max() < 0.03


def test_bright_sources_have_photon_noise():
    flux = 100 * sky_counts(HSC)[:, None, None]
    images = np.broadcast_to(flux, (40, 5, 32, 32)).astype(np.float32)
    noisy = add_noise(images.copy(), HSC, 1, np.arange(40))
    assert (noisy - images).std(axis=(0, 2, 3)) == pytest.approx(np.sqrt(101) * np.array(HSC.noise), rel=0.02)


# -- the file --------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def mock(tmp_path_factory) -> GalaxySet:
    return simulate(tmp_path_factory.mktemp("mock") / "mock.h5", n=300, seed=7, progress=False)


def test_what_is_in_the_file(mock):
    assert mock.images.shape == (300, 5, 64, 64) and mock.images[:2].dtype == np.float32
    assert mock.survey == HSC and mock.psf.shape == (300, 5, 41, 41)
    assert mock.psf[:2].sum(axis=(2, 3)) == pytest.approx(np.ones((2, 5)), abs=0.05)
    assert set(mock.category) <= set(KINDS) and len(set(mock.category)) > 6
    assert mock.columns["object_id"].tolist() == list(range(300))
    truth = {name for name in mock.columns if name.startswith("true_")}
    assert truth >= {f"true_{b}_mag" for b in "grizy"}
    assert truth >= {"true_half_light_radius", "true_sersic_index", "true_bulge_to_total", "true_axis_ratio"}
    assert truth >= {"true_position_angle", "true_log_mass", "true_log_sfr", "true_luminosity_distance", "true_lookback_time"}
    assert truth >= {"true_rest_g_i", "true_i_seeing", "true_arms", "true_bar_fraction"}
    assert "true_u_mag" not in truth
    assert mock.provenance["seed"] == 7 and json.dumps(mock.provenance)
    for name in truth - {"true_pitch_angle", "true_companion_separation"}:  # NaN where there are no arms, no companion
        assert np.isfinite(mock.columns[name]).all(), name


def test_true_magnitudes_are_in_the_images(tmp_path):
    clean = simulate(tmp_path / "clean.h5", n=200, seed=7, progress=False, noise=False, neighbours=False)
    small = (clean.columns["true_half_light_radius"] < 0.5) & (clean.category != "Merging")  # a companion has its own light
    for index, band in enumerate("grizy"):
        measured = HSC.magnitude(clean.images[:][small][:, index].sum(axis=(1, 2)))
        difference = measured - clean.columns[f"true_{band}_mag"][small]
        assert np.median(difference) == pytest.approx(0.0, abs=0.02)  # outskirts leave the stamp
        assert np.abs(difference).max() < 0.1


def test_distances_are_planck18(mock):
    from astropy.cosmology import Planck18

    z = mock.redshift[:20]
    assert mock.columns["true_luminosity_distance"][:20] == pytest.approx(Planck18.luminosity_distance(z).value, rel=1e-4)
    assert mock.columns["true_lookback_time"][:20] == pytest.approx(Planck18.lookback_time(z).value, rel=1e-3)


def test_a_galaxy_depends_on_seed_and_number_only(mock, tmp_path):
    again = simulate(tmp_path / "again.h5", n=270, seed=7, batch_size=11, progress=False)
    assert np.array_equal(again.images[:], mock.images[:270])
    for name, values in again.columns.items():
        assert np.array_equal(values, mock.columns[name][:270], equal_nan=values.dtype.kind == "f"), name
    other = simulate(tmp_path / "other.h5", n=4, seed=8, progress=False)
    assert not np.array_equal(other.redshift, mock.redshift[:4])


def test_low_redshift_galaxies_are_bright_and_large_on_the_images(mock):
    flux = mock.images[:][:, 2, 16:48, 16:48].sum(axis=(1, 2))
    near, far = mock.redshift < 0.3, mock.redshift > 1.0
    assert np.median(flux[near]) > 10 * np.median(flux[far])
    corners = np.concatenate([mock.images[:][far][:, 2, :8, :8].ravel(), mock.images[:][far][:, 2, -8:, -8:].ravel()])
    assert 1.4826 * np.median(np.abs(corners - np.median(corners))) == pytest.approx(HSC.noise[2], rel=0.06)


@pytest.mark.parametrize("name", ["hsc-udeep", "decals", "sdss", "lsst", "hsc-i"])
def test_other_surveys(tmp_path, name):
    survey = Survey.get(name)
    mock = simulate(tmp_path / "mock.h5", n=12, survey=name, image_size=48, progress=False)
    assert mock.images.shape == (12, len(survey.bands), 48, 48)
    assert np.isfinite(mock.images[:]).all() and mock.survey == survey
    assert ("true_u_mag" in mock.columns) == ("u" in survey.bands)


def test_progress_goes_to_stderr(tmp_path, capsys):
    simulate(tmp_path / "mock.h5", n=2)
    captured = capsys.readouterr()
    assert captured.out == "" and "simulate" in captured.err


# -- bad input -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["sdss-rgb", "xdf-rgb"])
def test_a_survey_without_flux_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot be simulated because it has no linear flux"):
        simulate(tmp_path / "mock.h5", n=2, survey=name, progress=False)
    assert not list(tmp_path.iterdir())


def test_unknown_bands_are_refused(tmp_path):
    survey = Survey("odd", ("g", "F444W"), 0.1, 25.0, "count", (0.5, 0.5), (0.1, 0.1), "g", ("F444W", "g", "g"))
    with pytest.raises(InputError, match="has bands F444W, but the mock sky knows u, g, r, i, z, y only"):
        simulate(tmp_path / "mock.h5", n=2, survey=survey, progress=False)


@pytest.mark.parametrize("bad", [{"n": 0}, {"n": -3}, {"n": 2.5}, {"seed": -1}, {"image_size": 4}, {"batch_size": 0}])
def test_numbers_out_of_range_are_refused(tmp_path, bad):
    (name,) = bad
    with pytest.raises(InputError, match=f"{name} must be a whole number of at least"):
        simulate(tmp_path / "mock.h5", **({"n": 2, "progress": False} | bad))


@pytest.mark.parametrize("device", ["foo", "", "cpu:x", "meta", "mps"])
def test_unknown_devices_are_refused(tmp_path, device):
    with pytest.raises(InputError, match="device must be cpu or cuda .*but '.*' was given") as caught:
        simulate(tmp_path / "mock.h5", n=2, device=device, progress=False)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("device", "count"), [("cuda", 0), ("cuda:1", 1), ("cuda:99", 8)])
def test_gpus_that_are_not_there_are_refused(tmp_path, monkeypatch, device, count):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(InputError, match=f"device '{device}' was asked for, but torch finds {count} CUDA GPUs here: choose cpu"):
        simulate(tmp_path / "mock.h5", n=2, device=device, progress=False)
    assert not list(tmp_path.iterdir())
    task = Task(1, 0, 2, Look(HSC, 32), device=device)
    with pytest.raises(InputError, match="torch finds"):  # a cluster's worker says so, too
        draw_block(task)
    check_device(device, elsewhere=True)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"n": 7.0}, "Sersic indices must lie within"),
        ({"n": 0.1}, "Sersic indices must lie within"),
        ({"radius": -1.0}, "half-light radii must be positive"),
        ({"radius": 0.0}, "half-light radii must be positive"),
        ({"q": 1.2}, "axis ratios must lie in"),
        ({"flux": (float("nan"),)}, "flux of a component is not a finite number"),
    ],
)
def test_impossible_components_are_refused(bad, sentence):
    with pytest.raises(InputError, match=sentence):
        one(**bad)


def test_impossible_telescopes_are_refused():
    with pytest.raises(InputError, match="is not sampled by pixels"):
        Renderer(64, 0.4, SMALL)
    with pytest.raises(InputError, match="must be a positive number of arcsec"):
        Moffat((0.6, -1.0))
    with pytest.raises(InputError, match="needs beta > 1"):
        Moffat((0.6,), beta=0.9)
    with pytest.raises(InputError, match="of positive sum"):
        PSFImage(np.zeros((1, 5, 5)), SCALE)
    with pytest.raises(InputError, match="has pixels of"):
        Renderer(64, 0.2, PSFImage(np.ones((1, 5, 5)), SCALE))(one())
    with pytest.raises(InputError, match=r"fluxes in 2 band\(s\) but the PSF has 1"):
        Renderer(64, SCALE, SMALL)(one(flux=(1.0, 2.0)))


@pytest.mark.parametrize(("name", "size"), [("hsc-wide", 256), ("sdss", 64), ("hsc-wide", 64)])
def test_neighbours_have_their_density_on_stamps_of_any_size(name, size):
    survey, blocks = Survey.get(name), 4
    scenes = [draw_scene(5, block, survey, size, structure=False) for block in range(blocks)]
    stamps = sum(len(scene) for scene in scenes)
    # 31 an arcmin2, on the stamp and 2 arcsec around it
    expected = 31 * ((size * survey.pixel_scale_arcsec + 4) / 60) ** 2
    count = np.concatenate([scene.columns["true_neighbours"] for scene in scenes])
    assert count.mean() == pytest.approx(expected, abs=3 * np.sqrt(expected / stamps))
    assert count.var() == pytest.approx(expected, rel=3 * np.sqrt((2 + 1 / expected) / stamps))  # Poisson
    for scene in scenes:  # and what is counted is there to be drawn, beside bulge and disc
        lit = (scene.components.flux > 0).any(dim=-1)
        assert np.array_equal(lit[:, 2:].sum(dim=1), scene.columns["true_neighbours"])


def test_crowded_galaxies_are_drawn_right_and_alike_in_any_batch():
    rng = np.random.default_rng(3)
    counts = (0, 1, 16, 17, 40)  # they are transformed 16 at a time
    values = [rng.uniform(low, high, (5, 40)) for low, high in ((0.5, 4), (0.1, 0.6), (0.3, 1), (0, 180), (-4, 4), (-4, 4))]
    flux = rng.uniform(1, 100, (5, 40, 2)) * (np.arange(40) < np.array(counts)[:, None])[..., None]
    components = Components(*(torch.as_tensor(value, dtype=torch.float32) for value in (*values, flux)))
    renderer = Renderer(64, SCALE, Moffat((0.6, 0.8)))
    together = renderer(components)
    assert not together[0].any()
    for row, count in enumerate(counts):
        assert torch.equal(renderer(components[row : row + 1])[0], together[row])
        # the same light one component at a time, each a galaxy of its own
        single = {name: getattr(components, name)[row, :count, None] for name in components.__dataclass_fields__}
        if count:
            total = renderer(Components(**single)).sum(dim=0)
            assert torch.allclose(total, together[row], atol=2e-4 * float(total.max()))


def test_a_crowded_sky_is_the_same_in_any_batch_and_process(tmp_path):
    options = {"survey": "sdss", "image_size": 64, "seed": 2, "progress": False}
    whole = simulate(tmp_path / "whole.h5", n=300, **options)
    assert whole.columns["true_neighbours"].max() > 12
    again = simulate(tmp_path / "again.h5", n=270, batch_size=7, workers=2, **options)
    assert np.array_equal(again.images[:], whole.images[:270])


def test_every_component_of_a_scene_can_be_drawn():
    for block in range(6):
        scene = draw_scene(99, block, HSC, 64, structure=False)
        assert float(scene.components.flux.min()) >= 0  # a bulge never has more light than its galaxy
        scene = draw_scene(99, block, HSC, 64)
        assert scene.components.half_light_radius.max() < 60
