"""Blobs and the parts of the renderer beside the Sersic profile: exact answers, no light from the wrong side, PSF tables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln, kve

from hubbleflow.errors import InputError
from hubbleflow.simulate.blobs import Blobs
from hubbleflow.simulate.psf import Moffat, PSFImage
from hubbleflow.simulate.render import PERIODS, Components, Renderer

SCALE = 0.168
BANDS = (0.77, 0.58)


def gaussian_psf(sigma_pixels: float = 2.0, bands: int = 1) -> PSFImage:
    """A PSF without wings, so that all of a small blob's light stays on the stamp."""
    y, x = np.indices((41, 41)) - 20.0
    return PSFImage(np.repeat(np.exp(-0.5 * (x * x + y * y) / sigma_pixels**2)[None], bands, axis=0), SCALE)


def blob(x=0.0, y=0.0, sigma=0.3, weight=1.0, flux=(100.0,)) -> Blobs:
    return Blobs(*(torch.tensor([[float(v)]]) for v in (x, y, sigma, weight)), flux=torch.tensor([flux]))


def sersic(n=1.0, radius=0.5, flux=(100.0,), x=0.0, y=0.0) -> Components:
    return Components(*(torch.tensor([[float(v)]]) for v in (n, radius, 1.0, 0.0, x, y)), flux=torch.tensor([[flux]]))


def nothing(count: int = 1, bands: int = 1) -> Components:
    """Galaxies without any light of their own."""
    one = torch.ones(count, 1)
    return Components(one, one, one, 0 * one, 0 * one, 0 * one, torch.zeros(count, 1, bands))


def scattered(count: int, blobs: int, seed: int = 0, spread: float = 2.0, bands: int = 2) -> Blobs:
    """Blobs as a galaxy's knots are: a third of the slots unused."""
    rng = np.random.default_rng(seed)
    x, y = spread * rng.standard_normal((2, count, blobs))
    weight = rng.random((count, blobs)) * (rng.random((count, blobs)) > 0.33)
    return Blobs(x, y, rng.uniform(0.05, 0.4, (count, blobs)), weight, rng.uniform(1, 10, (count, bands)))


# -- exact answers ---------------------------------------------------------------------------------------------------------------
@given(x=st.floats(-2.0, 2.0), y=st.floats(-2.0, 2.0), sigma=st.floats(0.0, 0.6))  # five sigmas from the edge: no light is lost
@settings(max_examples=20, deadline=None)
def test_flux_centroid_and_second_moments_are_exact(x, y, sigma):
    image = Renderer(64, SCALE, gaussian_psf(2.0))(nothing(), [blob(x, y, sigma, weight=0.5)])[0, 0].double().numpy()
    rows, columns = np.indices(image.shape) - 31.5
    assert image.sum() == pytest.approx(50.0, rel=2e-5)
    mean_x, mean_y = ((image * v).sum() / image.sum() for v in (columns, rows))
    assert (mean_x * SCALE, mean_y * SCALE) == (pytest.approx(x, abs=1e-4), pytest.approx(y, abs=1e-4))
    for a, b, expected in (
        (columns - mean_x, columns - mean_x, 1),
        (rows - mean_y, rows - mean_y, 1),
        (rows - mean_y, columns - mean_x, 0),
    ):
        assert (image * a * b).sum() / image.sum() == pytest.approx(expected * ((sigma / SCALE) ** 2 + 4), abs=2e-3)


@pytest.mark.parametrize("psf", [Moffat(BANDS), gaussian_psf(bands=2)])
def test_a_blob_is_a_sersic_profile_of_index_one_half(psf):
    sigma, flux = 0.4, (30.0, 80.0)
    renderer = Renderer(64, SCALE, psf)
    component = sersic(n=0.5, radius=sigma * np.sqrt(2 * np.log(2)), flux=flux, x=0.31, y=-0.75)
    expected = renderer(component)
    assert torch.allclose(renderer(nothing(bands=2), [blob(0.31, -0.75, sigma, flux=flux)]), expected, atol=2e-6 * float(expected.max()))


def test_many_blobs_are_the_sum_of_each_and_families_add_with_their_colours():
    renderer = Renderer(48, SCALE, Moffat(BANDS))
    family, other = scattered(1, 40), scattered(1, 25, seed=1)
    galaxy = sersic(flux=(40.0, 60.0))
    alone = [Blobs(*(v[:, k : k + 1] for v in (f.x, f.y, f.sigma, f.weight)), f.flux) for f in (family, other) for k in range(f.x.shape[1])]
    expected = renderer(galaxy) + sum(renderer(nothing(bands=2), [one]) for one in alone)
    assert torch.allclose(renderer(galaxy, [family, other]), expected, atol=2e-6 * float(expected.max()))


def test_negative_flux_takes_light_away():
    renderer = Renderer(48, SCALE, Moffat(BANDS))
    galaxy, lane = sersic(flux=(40.0, 60.0)), scattered(1, 30, spread=0.5)
    dusty = Blobs(lane.x, lane.y, lane.sigma, lane.weight, -0.1 * lane.flux)
    light, shade = renderer(galaxy), renderer(nothing(bands=2), [dusty])
    assert shade.max() < 1e-5 and torch.allclose(shade, -0.1 * renderer(nothing(bands=2), [lane]), atol=1e-5)
    assert torch.allclose(renderer(galaxy, [dusty]), light + shade, atol=1e-5)
    darker = Components(
        *(torch.cat([v, v], dim=1) for v in (getattr(galaxy, name) for name in NAMES)), torch.tensor([[[40.0, 60], [-10, -30]]])
    )
    assert torch.allclose(renderer(darker), light * torch.tensor([0.75, 0.5])[:, None, None], atol=1e-5)


NAMES = ("sersic_index", "half_light_radius", "axis_ratio", "position_angle", "x", "y")


# -- light from the wrong side ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [48, 64])
def test_a_stamp_is_the_middle_of_a_larger_one(size):
    """Blobs anywhere: on the stamp, at its edge, and far outside, where their periodic copies would fall on it."""
    family = scattered(30, 60, spread=8.0)
    large, small = 192, Renderer(size, SCALE, Moffat(BANDS))
    assert float(family.x.abs().max()) > max(small.periods(nothing(30, 2), [family])) * SCALE / 2
    middle = slice((large - size) // 2, (large + size) // 2)
    expected = Renderer(large, SCALE, Moffat(BANDS))(nothing(30, 2), [family])[..., middle, middle]
    difference = (small(nothing(30, 2), [family]) - expected).abs().amax(dim=(1, 2, 3)) / expected.amax(dim=(1, 2, 3))
    # what is left are wings of a Moffat PSF beyond two FWHM, below 1 % of the peak of a blob that may be the brightest
    assert difference.max() < 6e-3 and difference.median() < 1e-3


def test_blobs_beyond_the_stamp_are_drawn_while_the_period_holds_them():
    renderer = Renderer(64, SCALE, Moffat((0.6,)))
    edge, near, far = (renderer(nothing(), [blob(x=32 * SCALE + beyond)])[0, 0] for beyond in (0.0, 0.7, 40.0))
    assert edge[31:33, -1].min() > 1 and 0 < near.max() < 0.5 * edge.max()
    assert near[:, :32].abs().max() < 1e-3 * near.max()
    assert (far == 0).all()


def test_the_period_has_room_for_large_blobs():
    renderer = Renderer(64, SCALE, gaussian_psf(2.0))
    wide = blob(x=4.0, sigma=1.5)
    assert renderer.periods(nothing(), [blob()])[0] == PERIODS[0] < renderer.periods(nothing(), [wide])[0]
    image = renderer(nothing(), [wide])[0, 0]
    assert image[:, 0].abs().max() < 1e-4 * image.max()  # nothing comes back on the left


def test_large_stamps_have_room_beside_them():
    renderer = Renderer(400, SCALE, Moffat((0.6,)))
    image = renderer(nothing(), [blob(x=199 * SCALE)])[0, 0]
    assert image[:, 300:].sum() > 50 and image[:, :100].abs().max() < 1e-4 * image.max()


# -- company ---------------------------------------------------------------------------------------------------------------------
def test_pixels_do_not_depend_on_the_company_bit_by_bit():
    count = 40
    rng = np.random.default_rng(3)
    one = np.ones((count, 3))
    radius, flux = rng.uniform(0.1, 3, (count, 3)), rng.uniform(1, 50, (count, 3, 2)) * (rng.random((count, 3, 1)) > 0.3)
    galaxies = Components(rng.uniform(0.5, 6, (count, 3)), radius, 0.5 * one, 20 * one, 0.1 * one, -0.2 * one, flux)
    families = [scattered(count, 70), scattered(count, 20, seed=1, spread=6.0)]
    renderer = Renderer(64, SCALE, Moffat(BANDS))
    together = renderer(galaxies, families)
    shuffled = torch.as_tensor(rng.permutation(count))
    assert torch.equal(renderer(galaxies[shuffled], [f[shuffled] for f in families]), together[shuffled])
    for i in range(0, count, 7):
        alone = torch.tensor([i])
        assert torch.equal(renderer(galaxies[alone], [f[alone] for f in families])[0], together[i])


def test_unused_slots_give_nothing():
    renderer = Renderer(48, SCALE, Moffat(BANDS))
    family = scattered(5, 40)
    zeros, far = torch.zeros(5, 30), torch.full((5, 30), 0.7)
    padded = Blobs(*(torch.cat([v, fill], dim=1) for v, fill in zip((family.x, family.y), (far, far), strict=True)), *(
        torch.cat([v, fill], dim=1) for v, fill in zip((family.sigma, family.weight), (zeros, zeros), strict=True)
    ), family.flux)  # fmt: skip
    galaxies = nothing(5, 2)
    assert torch.equal(renderer(galaxies, [padded]), renderer(galaxies, [family]))
    dark = Blobs(family.x, family.y, family.sigma, 0 * family.weight, family.flux)
    empty = Blobs(*(torch.zeros(5, 0) for _ in range(4)), family.flux)
    for unlit in ([dark], [empty], [Blobs(family.x, family.y, family.sigma, family.weight, 0 * family.flux)], []):
        assert (renderer(galaxies, unlit) == 0).all()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_device(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    galaxies, family = sersic(n=4.0, radius=1.5, flux=(40.0, 60.0)), scattered(1, 50)
    drawn = Renderer(64, SCALE, Moffat(BANDS), device=device)(galaxies, [family])
    expected = Renderer(64, SCALE, Moffat(BANDS))(galaxies, [family])
    assert drawn.device.type == device and drawn.dtype == torch.float32
    assert torch.allclose(drawn.cpu(), expected, atol=1e-5 * float(expected.max()))


# -- PSFs ------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("beta", [1.2, 1.7, 2.5, 3.7, 8.0, 50.0])
def test_the_moffat_table_is_the_bessel_function(beta):
    k = np.concatenate([[0.0], np.geomspace(1e-3, 60, 500)])
    order = beta - 1
    u = np.maximum(k * 0.7 / (2 * np.sqrt(2 ** (1 / beta) - 1)), 1e-12)
    exact = np.exp((1 - order) * np.log(2) - gammaln(order) + order * np.log(u[1:]) + np.log(kve(order, u[1:])) - u[1:])
    pixel = np.sinc(k[1:] * 0.05 / (2 * np.pi))
    transfer = Moffat((0.7,), beta).transfer(np.zeros(1), k, 0.05)[0, 0]
    assert transfer[0] == 1 and np.abs(transfer[1:] - exact * pixel).max() < 1e-6


def test_every_band_has_its_own_beta():
    k = np.linspace(0, 18, 50)
    both = Moffat((0.7, 0.6), (2.2, 3.1)).transfer(k, k, SCALE)
    for band, (fwhm, beta) in enumerate(((0.7, 2.2), (0.6, 3.1))):
        assert np.array_equal(both[band], Moffat((fwhm,), beta).transfer(k, k, SCALE)[0])


# -- bad input -------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"sigma": -0.1}, "a blob's sigma must be zero or positive, but -0.1 arcsec was given"),
        ({"weight": -2.0}, "a blob's weight must be zero or positive, but -2 was given"),
        ({"x": float("nan")}, "x of a blob is not a finite number"),
        ({"flux": (float("inf"),)}, "flux of a blob is not a finite number"),
    ],
)
def test_impossible_blobs_are_refused(bad, sentence):
    with pytest.raises(InputError, match=sentence):
        blob(**bad)


def test_shapes_that_disagree_are_refused():
    one = torch.ones(2, 3)
    with pytest.raises(InputError, match=r"but sigma has shape \(2, 4\) beside \(2, 3\)"):
        Blobs(one, one, torch.ones(2, 4), one, torch.ones(2, 5))
    with pytest.raises(InputError, match=r"but flux has shape \(3, 5\) beside \(2, 3\)"):
        Blobs(one, one, one, one, torch.ones(3, 5))
    with pytest.raises(InputError, match=r"but x has shape \(2,\)"):
        Blobs(one[:, 0], one, one, one, torch.ones(2, 5))
    renderer = Renderer(48, SCALE, Moffat((0.6,)))
    with pytest.raises(InputError, match=r"blobs have fluxes in 2 band\(s\) but the PSF has 1"):
        renderer(nothing(), [blob(flux=(1.0, 2.0))])
    with pytest.raises(InputError, match="blobs of 1 galaxies were given with components of 3"):
        renderer(nothing(3), [blob()])


def test_impossible_moffats_are_refused():
    for beta in (1.0, 60.0, float("nan")):
        with pytest.raises(InputError, match="needs beta > 1 for a finite flux, and at most 50"):
            Moffat((0.6, 0.7), (2.5, beta))
    with pytest.raises(InputError, match=r"of 2 band\(s\) needs one beta, or one a band, but got 3"):
        Moffat((0.6, 0.7), (2.5, 2.5, 2.5))
