"""The Sersic profile and its transform against closed forms, direct integrals and GalSim."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.interpolate import CubicSpline
from scipy.special import j0

from hubbleflow import sersic
from hubbleflow.errors import InputError
from hubbleflow.sersic import SersicTransform, b_n, flux_within, hankel_transform, surface_brightness, total_flux

K = torch.exp(torch.linspace(np.log(1e-3), np.log(100.0), 300, dtype=torch.float64))


@pytest.fixture(scope="module")
def transform() -> SersicTransform:
    return SersicTransform(dtype=torch.float64)


def test_b_n_of_the_textbook():
    assert b_n(4.0) == pytest.approx(7.66924944, abs=1e-8)
    assert b_n(1.0) == pytest.approx(1.67834699, abs=1e-8)
    assert b_n(0.5) == pytest.approx(np.log(2), abs=1e-12)  # a Gaussian


@pytest.mark.parametrize("n", [0.3, 0.5, 1.0, 2.5, 4.0, 6.2])
def test_the_profile_has_unit_flux_half_of_it_inside_the_half_light_radius(n):
    def inside(radius):
        return quad(lambda r: 2 * np.pi * r * surface_brightness(r, n), 0, radius, limit=200, epsabs=1e-11)[0]

    assert inside(1.0) == pytest.approx(0.5, abs=1e-8)
    assert inside(2.7) == pytest.approx(float(flux_within(2.7, n)), abs=1e-8)


def test_total_flux_inverts_the_effective_brightness():
    # I_e of a profile of flux 12.5, R_e = 0.7, q = 0.4
    intensity_e = 12.5 * surface_brightness(1.0, 3.3) / (0.4 * 0.7**2)
    assert total_flux(intensity_e, 0.7, 3.3, 0.4) == pytest.approx(12.5, rel=1e-12)


def test_gaussian_and_exponential_have_closed_transforms(transform):
    for n, exact in ((0.5, torch.exp(-K * K / (4 * np.log(2)))), (1.0, (1 + (K / float(b_n(1.0))) ** 2) ** -1.5)):
        assert (transform(torch.tensor(n), K) - exact).abs().max() < 3e-7


@pytest.mark.parametrize("n", [0.3, 0.8, 2.0, 6.2])
def test_fftlog_against_the_integral(n):
    ln_k, f = hankel_transform(n)
    for k in (0.05, 0.7, 3.0):
        r = np.exp(np.linspace(-25, np.log((45.0 / b_n(n)) ** n), 400_001))  # to where exp(-b r^{1/n}) is e^-45
        exact = np.trapezoid(2 * np.pi * r * r * surface_brightness(r, n) * j0(k * r), np.log(r))
        assert CubicSpline(ln_k, f)(np.log(k)) == pytest.approx(exact, abs=1e-6)


def test_against_galsim(transform):
    galsim = pytest.importorskip("galsim")
    rng = np.random.default_rng(4)
    k = K[K < 60]
    for n in np.r_[0.3, 1.0, 6.2, rng.uniform(0.3, 6.2, 5)]:
        profile = galsim.Sersic(n=float(n), half_light_radius=1.0, gsparams=galsim.GSParams(kvalue_accuracy=1e-7))
        exact = np.array([profile.kValue(float(x), 0.0).real for x in k])
        ours = transform(torch.tensor(float(n)), k).numpy()
        assert np.abs(ours - exact).max() < 2e-5  # GalSim's own table is good to 1e-5
        large = exact > 1e-2
        assert np.abs(ours / exact - 1)[large].max() < 1e-4


@settings(deadline=None, max_examples=40)
@given(st.floats(0.3, 6.2), st.floats(1e-6, 1e5))
def test_float32_is_a_transfer_function_everywhere(n, k):
    value = float(sersic.sersic_transform()(torch.tensor(n), torch.tensor([k], dtype=torch.float32)))
    # profiles flatter than a Gaussian ring below zero; nothing exceeds the total flux
    assert -0.15 < value <= 1 + 1e-6
    if k < 1e-4:
        assert value == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("n", [0.29, 6.3, -1.0, float("nan")])
def test_an_index_outside_the_table_is_refused_in_a_sentence(transform, n):
    with pytest.raises(InputError, match=r"Sersic indices must lie within 0\.3\.\.6\.2"):
        transform(torch.tensor(n), K)


def test_the_table_is_quick():
    sersic._table.cache_clear()
    start = time.perf_counter()
    sersic._table()
    assert time.perf_counter() - start < 2
