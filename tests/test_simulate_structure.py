"""Bars, arms, knots, lanes and companions: light is conserved, sizes are kept, and each kind has what its name says."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from hubbleflow.datasets.galaxy10 import CLASSES
from hubbleflow.errors import InputError
from hubbleflow.sersic import surface_brightness
from hubbleflow.simulate.blobs import Blobs
from hubbleflow.simulate.kinds import EDGE_ON, KINDS, SMOOTH, SPIRAL
from hubbleflow.simulate.population import BANDS, Galaxies, draw_galaxies
from hubbleflow.simulate.psf import Moffat
from hubbleflow.simulate.render import Components, Renderer
from hubbleflow.simulate.structure import SLOTS, Structure, _projected, decorate

GRIZY = ("g", "r", "i", "z", "y")


@pytest.fixture(scope="module")
def sky() -> Galaxies:
    return draw_galaxies(np.random.default_rng(4), 6000)


def of_kind(sky: Galaxies, kind: str, count: int, **changed: np.ndarray | float) -> Galaxies:
    """Galaxies of a kind, with some arrays replaced by a number."""
    rows = np.flatnonzero(sky.kind == kind)[:count]
    some = Galaxies(**{field.name: getattr(sky, field.name)[rows] for field in fields(sky)})
    return replace(some, **{name: np.full(len(rows), value) for name, value in changed.items()})


def light(galaxies: Galaxies, bands: tuple[str, ...] = GRIZY) -> tuple[np.ndarray, np.ndarray]:
    index = [BANDS.index(band) for band in bands]
    return 10 ** (-0.4 * (galaxies.mag[:, index] - 27)), 10 ** (-0.4 * (galaxies.bulge_mag[:, index] - 27))


def decorated(galaxies: Galaxies, seed: int = 1, bands: tuple[str, ...] = GRIZY) -> Structure:
    centre = np.zeros(len(galaxies))
    return decorate(np.random.default_rng(seed), galaxies, centre, centre, *light(galaxies, bands), bands)


def slot(structure: Structure, name: str, values: str) -> np.ndarray:
    return structure.parts[values][:, SLOTS.index(name)]


def components(structure: Structure) -> Components:
    return Components(**{name: torch.as_tensor(value, dtype=torch.float32) for name, value in structure.parts.items()})


def test_every_kind_of_galaxy10_is_drawn_and_is_what_its_name_says(sky: Galaxies) -> None:
    assert set(sky.kind) == set(CLASSES)
    for family, word in ((SMOOTH, "Smooth"), (SPIRAL, "Spiral"), (EDGE_ON, "Edge-on")):
        assert set(family) == {name for name in CLASSES if word in name}


def test_light_is_divided_never_added_to(sky: Galaxies) -> None:
    structure, (flux, _) = decorated(sky), light(sky)
    total = structure.parts["flux"].sum(axis=1)
    for family in structure.blobs:
        weight = family.weight.sum(dim=1)
        torch.testing.assert_close(weight, torch.ones_like(weight), rtol=1e-12, atol=0)
        assert bool((family.flux >= 0).all())
        total = total + (weight[:, None] * family.flux).numpy()
    np.testing.assert_allclose(total, flux + structure.companion_flux, rtol=1e-12)
    merging = sky.kind == "Merging"
    assert (structure.companion_flux[~merging] == 0).all()
    ratio = structure.companion_flux[merging, 2] / flux[merging, 2]
    np.testing.assert_allclose(ratio, structure.columns["true_companion_flux_ratio"][merging])
    assert ratio.min() >= 0.25 and ratio.max() <= 1
    lanes = np.isin(sky.kind, EDGE_ON)
    assert (structure.parts["flux"][~lanes] >= 0).all() and (slot(structure, "feature", "flux")[lanes] < 0).all()


def test_a_galaxy_does_not_depend_on_its_neighbours_kinds(sky: Galaxies) -> None:
    first = of_kind(sky, "Barred Spiral", 20)
    other = replace(first, kind=np.array([*first.kind[:10], *KINDS]), redshift=np.concatenate([first.redshift[:10], np.full(10, 2.0)]))
    a, b = decorated(first), decorated(other)
    for name, value in a.parts.items():
        assert (value[:10] == b.parts[name][:10]).all(), name
    for one, two in zip(a.blobs, b.blobs, strict=True):
        for field in fields(Blobs):
            assert torch.equal(getattr(one, field.name)[:10], getattr(two, field.name)[:10]), field.name
    for name, value in a.columns.items():
        np.testing.assert_array_equal(value[:10], b.columns[name][:10])


@pytest.mark.parametrize("kind", SMOOTH)
def test_smooth_galaxies_pass_through(sky: Galaxies, kind: str) -> None:
    galaxies = of_kind(sky, kind, 30)
    structure, (flux, bulge) = decorated(galaxies), light(galaxies)
    np.testing.assert_array_equal(slot(structure, "bulge", "flux"), bulge)
    np.testing.assert_array_equal(slot(structure, "disc", "flux"), flux - bulge)
    np.testing.assert_array_equal(slot(structure, "disc", "half_light_radius"), galaxies.disc_radius)
    assert (structure.parts["flux"][:, 2:] == 0).all()
    assert not any(bool(family.lit.any()) for family in structure.blobs)


@pytest.mark.parametrize("kind", [*SPIRAL, *EDGE_ON])
def test_the_size_that_was_drawn_is_the_size_that_is_seen(sky: Galaxies, kind: str) -> None:
    """Half-light radius along ellipses of the disc, structure against a plain bulge and disc, both drawn finely."""
    galaxies = of_kind(sky, kind, 24)
    scale = 2.0 / galaxies.radius
    galaxies = replace(
        galaxies, radius=scale * galaxies.radius, bulge_radius=scale * galaxies.bulge_radius, disc_radius=scale * galaxies.disc_radius
    )
    structure, (flux, bulge) = decorated(galaxies, bands=("i",)), light(galaxies, ("i",))
    plain = {name: value[:, :2].copy() for name, value in structure.parts.items()}
    plain["half_light_radius"][:, 1], plain["flux"] = galaxies.disc_radius, np.stack([bulge, flux - bulge], axis=1)
    renderer = Renderer(256, 0.1, Moffat((0.2,)))
    seen = renderer(components(structure), structure.blobs)[:, 0].numpy()
    given = renderer(Components(**{name: torch.as_tensor(v, dtype=torch.float32) for name, v in plain.items()}))[:, 0].numpy()
    axis = (np.arange(256) - 127.5) * 0.1
    ratio = []
    for image, reference, angle, q, all_light in zip(
        seen, given, np.radians(galaxies.position_angle), galaxies.disc_q, flux[:, 0], strict=True
    ):
        major = axis * np.cos(angle) + axis[:, None] * np.sin(angle)
        minor = axis[:, None] * np.cos(angle) - axis * np.sin(angle)
        radius = np.hypot(major, minor / q).ravel()
        order = np.argsort(radius)
        half = [radius[order][np.searchsorted(np.cumsum(i.ravel()[order]), 0.5 * all_light)] for i in (image, reference)]
        ratio.append(half[0] / half[1])
    assert abs(np.median(ratio) - 1) < 0.03
    assert np.percentile(np.abs(np.array(ratio) - 1), 80) < 0.05


def test_arms_are_logarithmic_spirals_of_the_pitch_that_is_told(sky: Galaxies) -> None:
    """The spiral transform sum w exp(i m (theta - ln r / tan p)) (Puerari & Dottori 1992) picks the arms' pitch, not its mirror image."""
    galaxies = of_kind(sky, "Unbarred Loose Spiral", 150, redshift=0.1, position_angle=0.0, disc_q=1.0, quiescent=False)
    structure = decorated(galaxies)
    family, m = structure.blobs[0], structure.columns["true_arms"]
    x, y, weight = (v.numpy() for v in (family.x, family.y, family.weight))
    ln_r, theta = np.log(np.hypot(x, y)), np.arctan2(y, x)

    def amplitude(tan_p: np.ndarray) -> np.ndarray:
        return np.abs((weight * np.exp(1j * m[:, None] * (theta - ln_r / tan_p[:, None]))).sum(axis=1))

    tan_p = np.tan(np.radians(structure.columns["true_pitch_angle"]))
    one, other = amplitude(tan_p), amplitude(-tan_p)
    trailing = np.maximum(one, other)
    assert np.median(trailing) > 0.5
    assert np.median(np.minimum(one, other) / trailing) < 0.4
    assert 0.3 < (one > other).mean() < 0.7  # either hand
    assert np.median(trailing / np.maximum(amplitude(0.4 * tan_p), amplitude(-0.4 * tan_p))) > 2


def test_pitch_tells_tight_from_loose(sky: Galaxies) -> None:
    tight, loose = (decorated(of_kind(sky, f"Unbarred {name} Spiral", 100)).columns["true_pitch_angle"] for name in ("Tight", "Loose"))
    assert tight.min() >= 8 and tight.max() <= 15 and loose.min() >= 18 and loose.max() <= 35
    assert np.isnan(decorated(of_kind(sky, "Round Smooth", 5)).columns["true_pitch_angle"]).all()


def test_young_light_is_blue_and_bars_are_red(sky: Galaxies) -> None:
    galaxies = of_kind(sky, "Barred Spiral", 80, redshift=0.05, quiescent=False)
    structure, (flux, bulge) = decorated(galaxies), light(galaxies)
    young = structure.blobs[0].flux.numpy() / (flux - bulge)
    bar = slot(structure, "feature", "flux") / (flux - bulge)
    assert (np.diff(young, axis=1) < 0).all() and (np.diff(bar, axis=1) > 0).all()
    assert 1.5 < np.median(young[:, 0] / young[:, 4]) < 2.2
    quiescent = decorated(replace(galaxies, quiescent=np.ones(len(galaxies), bool)))
    assert (quiescent.blobs[0].flux < 0.6 * structure.blobs[0].flux).all()


def test_discs_are_clumpier_at_high_redshift(sky: Galaxies) -> None:
    near, far = (decorated(of_kind(sky, "Unbarred Loose Spiral", 200, redshift=z, quiescent=False)).columns for z in (0.1, 2.0))
    assert np.median(far["true_clumpiness"]) > 2 * np.median(near["true_clumpiness"])
    assert 0.02 < np.median(near["true_clumpiness"]) < 0.1 and 0.1 < np.median(far["true_clumpiness"]) < 0.3


def test_a_bar_seen_at_an_angle_is_the_ellipse_that_geometry_says(sky: Galaxies) -> None:
    galaxies = of_kind(sky, "Barred Spiral", 40)
    rng = np.random.default_rng(3)
    radius, q, angle = rng.uniform(0.5, 2, 40), rng.uniform(0.2, 0.5, 40), rng.uniform(0, 2 * np.pi, 40)
    size, ratio, position = _projected(radius, q, angle, galaxies)
    t = np.linspace(0, 2 * np.pi, 20001)
    for i in range(40):
        u, v = radius[i] * np.cos(t), q[i] * radius[i] * np.sin(t)
        x = u * np.cos(angle[i]) - v * np.sin(angle[i])
        y = galaxies.disc_q[i] * (u * np.sin(angle[i]) + v * np.cos(angle[i]))
        r, turn = np.hypot(x, y), np.degrees(np.arctan2(y, x)) + galaxies.position_angle[i]
        assert size[i] == pytest.approx(r.max(), rel=1e-6) and ratio[i] * size[i] == pytest.approx(r.min(), rel=1e-3)
        assert abs(np.sin(np.radians(position[i] - turn[np.argmax(r)]))) < 2e-3


def test_a_dust_lane_darkens_the_midplane_and_never_below_zero(sky: Galaxies) -> None:
    galaxies = of_kind(sky, "Edge-on without Bulge", 40, cos_i=0.0)
    structure = decorated(galaxies)
    central = structure.parts["flux"] / (structure.parts["axis_ratio"] * structure.parts["half_light_radius"] ** 2)[..., None]
    central *= surface_brightness(0.0, structure.parts["sersic_index"])[..., None]
    disc, lane = central[:, SLOTS.index("disc")], central[:, SLOTS.index("feature")]
    depth = -lane / disc
    np.testing.assert_allclose(depth[:, 2], structure.columns["true_dust_lane"])
    assert depth[:, 2].min() > 0.3 and depth[:, 2].max() < 0.65
    assert (np.diff(depth, axis=1) < 0).all()  # more in the blue
    tilted = decorated(of_kind(sky, "Edge-on with Bulge", 24, cos_i=0.2), bands=tuple(BANDS))
    x, y = np.meshgrid(*2 * (np.linspace(-3, 3, 301),))
    for galaxy in range(24):
        total = np.zeros((6, *x.shape))
        for part in map(SLOTS.index, ("disc", "feature")):
            p = {name: value[galaxy, part] for name, value in tilted.parts.items()}
            cos, sin, dx, dy = np.cos(angle := np.radians(p["position_angle"])), np.sin(angle), x - p["x"], y - p["y"]
            r = np.hypot(dx * cos + dy * sin, (dy * cos - dx * sin) / p["axis_ratio"]) / p["half_light_radius"]
            scale = p["flux"] / (p["axis_ratio"] * p["half_light_radius"] ** 2)
            total += scale[:, None, None] * surface_brightness(r, p["sersic_index"])
        assert total.min() >= 0  # of disc and lane alone: bulge and young light come on top


def test_companions_are_resolved_and_on_the_stamp(sky: Galaxies) -> None:
    galaxies = of_kind(sky, "Merging", 150)
    structure = decorated(galaxies)
    separation = np.hypot(slot(structure, "companion disc", "x"), slot(structure, "companion disc", "y"))
    np.testing.assert_allclose(separation, structure.columns["true_companion_separation"])
    assert separation.min() >= 1 and (separation <= np.maximum(4, 0.5 * galaxies.radius) + 1e-9).all()
    share = structure.blobs[1].flux.numpy() / (light(galaxies)[0] + structure.companion_flux)
    assert share.min() >= 0.05 and share.max() <= 0.2


def test_disturbed_galaxies_are_lopsided_and_spirals_are_not(sky: Galaxies) -> None:
    """Distance of the young and the tidal light's centre from the galaxy's, in its half-light radii."""

    def offset(kind: str) -> float:
        galaxies = of_kind(sky, kind, 100)
        young = decorated(galaxies).blobs[0]
        centre = torch.stack([(young.weight * young.x).sum(dim=1), (young.weight * young.y).sum(dim=1)])
        return float(np.median(np.hypot(*centre.numpy()) / galaxies.disc_radius))

    assert offset("Disturbed") > 0.2 and offset("Disturbed") > 2 * offset("Unbarred Tight Spiral")


def test_the_centre_moves_everything(sky: Galaxies) -> None:
    galaxies = Galaxies(**{field.name: getattr(sky, field.name)[:100] for field in fields(sky)})
    flux, bulge = light(galaxies)
    here = decorated(galaxies)
    there = decorate(np.random.default_rng(1), galaxies, np.full(100, 0.3), np.full(100, -0.2), flux, bulge)
    for axis, shift in (("x", 0.3), ("y", -0.2)):
        np.testing.assert_allclose(there.parts[axis] - here.parts[axis], shift, rtol=1e-9)
        for one, two in zip(here.blobs, there.blobs, strict=True):
            np.testing.assert_allclose(getattr(two, axis) - getattr(one, axis), shift, rtol=1e-6)


def test_impossible_input_gets_a_sentence(sky: Galaxies) -> None:
    galaxies = of_kind(sky, "Merging", 3)
    flux, bulge = light(galaxies)
    rng, centre = np.random.default_rng(0), np.zeros(3)
    with pytest.raises(InputError, match="'K' was asked for"):
        decorate(rng, galaxies, centre, centre, flux, bulge, ("g", "r", "i", "z", "K"))
    with pytest.raises(InputError, match=r"flux must be \(galaxy, band\) = \(3, 3\), but has shape \(3, 5\)"):
        decorate(rng, galaxies, centre, centre, flux, bulge, ("g", "r", "i"))
