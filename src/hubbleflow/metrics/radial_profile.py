"""Light from the centre outwards: do galaxies have the real profiles, their faint wings included?

Azimuthal mean f(r) of each image and band in rings around the stamp's centre, relative to f_c, the mean within 3 px of
it, so that how bright a galaxy is (`w1_magnitude` asks that) does not drown how its light is spread:

    profile_radial = mean over bands, ten rings from 0 px to half the stamp (edges in equal ratios from 1 px on), and
                     bins of redshift, of W1(t_generated, t_real),    t = asinh(f / (0.01 f_c))

    profile_wings  = mean over bands and bins of redshift of |median w_generated - median w_real|,
                     w = mean flux between 2 and 4 half-light radii / mean flux within one

W1 is the Wasserstein-1 distance, the half-light radius the reference band's (3 px at least: inside that the seeing
rules), 0.01 the step from linear to logarithmic. Far from the centre a galaxy is fainter than the noise of a pixel, but
not than that of a ring: a generator that draws a galaxy up to where it sinks into the noise, and sky beyond, passes
every measurement inside an isophote and fails here. Neighbours are in both sets alike, and the median leaves them out.
A band in which the centre is no brighter than three times its noise has no profile (NaN).
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.cells import wasserstein_per_cell
from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared, mean_of_finite, prepare_rows
from hubbleflow.metrics.noise import difference_of_medians, sky_sigma
from hubbleflow.metrics.sample import Sample, reference, shared, shared_pixels

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.bins import Bins
    from hubbleflow.survey import Survey

RINGS = 10
CENTRE = 3  # px
LINEAR = 0.01  # of the centre's brightness
FAINTEST = 3.0  # sigma of the centre's mean
WINGS = (2.0, 4.0)  # half-light radii
SMALLEST = 3.0  # px


def profile_columns(images: Float[np.ndarray, "n band y x"], survey: Survey) -> dict[str, Float[np.ndarray, "n ring"]]:
    """`b_ring_flux` of each image: mean flux in rings 1 px wide around the stamp's centre, out to its nearest edge.

    Pixels that are not finite are left out; a ring without any other is NaN.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> y, x = np.mgrid[:64, :64] - 31.5
        >>> disc = np.exp(-np.hypot(x, y) / 6).astype(np.float32)[None, None]
        >>> rings = profile_columns(disc, Survey.get("hsc-i"))["i_ring_flux"][0]
        >>> rings.shape, bool(np.allclose(rings[3:], np.exp(-np.arange(3.5, 32) / 6), rtol=0.04))
        ((32,), True)
    """
    inside = ring_of_pixels(*images.shape[2:])
    columns = {}
    for number, band in enumerate(survey.bands):
        flux = np.asarray(images[:, number], np.float32).reshape(len(images), -1)
        known = np.isfinite(flux)
        pixels = inside.sum(axis=0) if known.all() else known.astype(np.float32) @ inside
        with np.errstate(invalid="ignore"):
            columns[f"{band}_ring_flux"] = (np.where(known, flux, 0) @ inside) / np.where(pixels > 0, pixels, np.nan)
    return columns


@cache
def ring_of_pixels(height: int, width: int) -> Float[np.ndarray, "pixel ring"]:
    """1 where a pixel's centre lies in a ring 1 px wide, else 0."""
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    rings = min(height, width) // 2
    return (radius.ravel().astype(int)[:, None] == np.arange(rings)).astype(np.float32)


PIXEL_COLUMNS = profile_columns


def _tables(real: Sample, generated: Sample) -> tuple[list[str], list[Float[np.ndarray, "n band ring"]]]:
    """Ring fluxes in units of the real sky's sigma, of the bands and rings that both sets have."""
    sigma, found = sky_sigma(real), shared_pixels(real, generated, "ring_flux")
    if not found:
        raise NotComputable("needs images of the same bands in both sets")
    rings = min(table.shape[1] for both in found.values() for table in both)
    return list(found), [np.stack([both[side][:, :rings] / sigma[band] for band, both in found.items()], axis=1) for side in (0, 1)]


def prepare_profile(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """asinh of the relative flux in ten rings of equal ratios."""
    bands, tables = _tables(real, generated)
    edges = ring_edges(tables[0].shape[2])
    rows = [np.arcsinh(relative_profile(table, edges) / LINEAR).reshape(len(table), -1) for table in tables]
    quantities = [f"{band} {a}-{b} px" for band in bands for a, b in pairwise(edges)]
    return prepare_rows(rows[0], rows[1], bins, lambda a, i, b, j: wasserstein_per_cell(a, i, b, j, len(bins)), quantities)


def relative_profile(flux: Float[np.ndarray, "n band ring"], edges: list[int]) -> Float[np.ndarray, "n band wide_ring"]:
    """Mean flux between the edges (px) relative to that within 3 px of the centre; `flux` is that of rings 1 px wide, in sigma."""
    area = _areas(flux.shape[2])
    wide = np.stack([_mean(flux[..., a:b], area[a:b]) for a, b in pairwise(edges)], axis=2)
    centre = _mean(flux[..., :CENTRE], area[:CENTRE])
    seen = centre > FAINTEST / np.sqrt(np.pi * CENTRE**2)
    return wide / np.where(seen, centre, np.nan)[:, :, None]


def _areas(rings: int) -> Float[np.ndarray, " ring"]:
    """Of rings 1 px wide, in units of pi."""
    return 2.0 * np.arange(rings) + 1


def ring_edges(rings: int) -> list[int]:
    """Whole pixels from 0, then from 1 in equal ratios as far as that goes, to `rings`: ten rings where there are as many.

    Example:
        >>> ring_edges(32), ring_edges(4)
        ([0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32], [0, 1, 2, 3, 4])
    """
    edges = [0, 1]
    while edges[-1] < rings:
        left = RINGS + 1 - len(edges)
        ratio = (rings / edges[-1]) ** (1 / left) if left > 0 else rings
        edges.append(min(rings, max(edges[-1] + 1, round(edges[-1] * ratio))))
    return edges


def prepare_wings(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """Relative flux of each galaxy's wings."""
    bands, tables = _tables(real, generated)
    (name,) = reference(real, "half_light_radius")
    if not shared(real, generated, [name]):
        raise NotComputable("needs a measured half-light radius in both sets, which says where the wings begin")
    rows = [wing_ratio(table, sample.trusted(name)) for table, sample in zip(tables, (real, generated), strict=True)]
    if not all(np.isfinite(values).any() for values in rows):
        raise NotComputable("the stamps end before four half-light radii, or no galaxy in them is bright enough")
    return prepare_rows(rows[0], rows[1], bins, lambda a, i, b, j: _wing_statistic(a, i, b, j, len(bins)), bands)


def wing_ratio(flux: Float[np.ndarray, "n band ring"], radius: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n band"]:
    """Mean flux between 2 and 4 half-light radii over that within one (whole rings); NaN where the radius is unknown,
    the stamp too small or the centre too faint.

    Example:
        >>> disc = np.exp(-np.arange(0.5, 32) / 3)[None, None] * 100
        >>> wing_ratio(disc, np.array([5.0])).round(3), wing_ratio(disc, np.array([17.0]))
        (array([[0.024]]), array([[nan]]))
    """
    ring, area = np.arange(flux.shape[2]), _areas(flux.shape[2])
    radius = np.maximum(radius, SMALLEST)[:, None]
    start, stop = np.round(WINGS[0] * radius), np.round(WINGS[1] * radius)
    wings = _mean(flux, np.where((ring >= start) & (ring < stop) & (stop <= flux.shape[2]), area, 0)[:, None, :])
    inside = np.where(ring < np.round(radius), area, 0)[:, None, :]
    centre = _mean(flux, inside)
    seen = centre > FAINTEST / np.sqrt(np.pi * np.maximum(inside.sum(axis=2), 1))
    return wings / np.where(seen, centre, np.nan)


def _mean(flux: Float[np.ndarray, "n band ring"], area: Float[np.ndarray, ...]) -> Float[np.ndarray, "n band"]:
    area = np.where(np.isfinite(flux), area, 0)
    total = area.sum(axis=2)
    return np.where(total > 0, (np.where(area > 0, flux, 0) * area).sum(axis=2) / np.where(total > 0, total, 1), np.nan)


def _wing_statistic(
    a: Float[np.ndarray, "n band"], i: Int[np.ndarray, " n"], b: Float[np.ndarray, "m band"], j: Int[np.ndarray, " m"], bins: int
) -> Measurement:
    table = difference_of_medians(a, i, b, j, bins).table
    return Measurement(mean_of_finite(mean_of_finite(table, axis=1)), table)


METRICS = (
    Metric(
        "profile_radial",
        "Do galaxies have the real profiles of light, from the centre outwards?",
        "comparison",
        "low",
        "asinh(flux / 0.01 of the centre's)",
        "azimuthal means",
        prepare_profile,
        splits=20,
    ),
    Metric(
        "profile_wings",
        "Do galaxies have the real faint light between two and four half-light radii?",
        "comparison",
        "low",
        "of the inner brightness",
        "azimuthal means",
        prepare_wings,
    ),
)
