"""All numbers of one galaxy.

Every band is detected on its own, and shapes come from its own isophote; fluxes of all bands come from one aperture,
the reference band's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import sep

from hubbleflow.measure.columns import BandRow
from hubbleflow.measure.detect import Detections, central, detect
from hubbleflow.measure.flags import Flag
from hubbleflow.measure.photometry import Aperture, half_light_radius, kron_aperture, without
from hubbleflow.measure.recipe import Recipe
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

ISOPHOTAL_REACH = 3.0  # the ellipse of 3 (a, b) is SExtractor's isophotal limit
SATURATED_PIXELS = 4
CLIPPED_PIXELS, CLIPPED_SNR = 9, 30.0  # of a core that is flat within its noise
DISPLAY_WHITE = 254.5  # an 8-bit picture is white from here on, whether its values were rounded or not


@dataclass(frozen=True)
class Scene:
    """What was found in a stamp with a galaxy at its centre, for whoever measures on.

    Attributes:
        found: detections of each band, in the survey's order.
        number: of the galaxy in the reference band's segments.
        galaxy: sep's row of it.
        neighbours: pixels that are other objects' in any band and not the galaxy's in the reference band.
    """

    found: list[Detections]
    number: int
    galaxy: np.void
    neighbours: Bool[np.ndarray, "y x"]


@dataclass(frozen=True)
class StampResult:
    """What was measured of one galaxy: a row and a flag a band, in the survey's order, and what concerns all.

    `scene` is None where no galaxy was found.
    """

    rows: list[BandRow]
    band_flags: list[Flag]
    flag: Flag
    n_neighbours: int
    scene: Scene | None = None


@dataclass(frozen=True)
class _Central:
    # The central object of one band: sep's row, its ellipse, its number in the segments, its Kron aperture and image
    # without neighbours.
    found: np.void
    ellipse: Aperture
    kron: Aperture
    number: int
    cleaned: np.ndarray


def measure_stamp(
    images: Float[np.ndarray, "band y x"],
    survey: Survey,
    recipe: Recipe | None = None,
    ivar: Float[np.ndarray, "band y x"] | None = None,
    mask: Int[np.ndarray, "band y x"] | None = None,
) -> StampResult:
    """Measure the galaxy at the centre of a stamp in all bands; never raises because of what the pixels hold.

    Example:
        >>> y, x = np.mgrid[:48, :48] - 23.5
        >>> image = 100 * np.exp(-(x**2 + y**2) / (2 * 3.0**2)) + np.random.default_rng(1).normal(0, 1, (48, 48))
        >>> result = measure_stamp(image[None], Survey.get("hsc-i"))
        >>> round(result.rows[0].flux / (2 * np.pi * 9 * 100), 1), result.flag
        (1.0, <Flag: 0>)
    """
    recipe = recipe or Recipe()
    bands = range(len(survey.bands))
    reference = survey.band_index(survey.reference_band)
    found = [detect(images[b], recipe, None if ivar is None else ivar[b], None if mask is None else mask[b]) for b in bands]
    rows = [BandRow(sky=one.sky.level, noise=one.sky.noise) for one in found]
    flags = [one.flag for one in found]

    height, width = images.shape[-2:]
    main, note = _central(found[reference], (width - 1) / 2, (height - 1) / 2, recipe)
    flags[reference] |= note
    centrals = [main if b == reference else None for b in bands]
    scene = None
    if main is not None:
        for b in bands:
            if b != reference:  # the same galaxy: looked for where the reference band has it
                centrals[b], note = _central(found[b], main.ellipse.x, main.ellipse.y, recipe)
                flags[b] |= note
        hidden = _neighbours(found, centrals, main, reference)
        for b in bands:
            flags[b] |= _common_aperture(rows[b], found[b], main, hidden, recipe)
            rows[b].mag = float(survey.magnitude(rows[b].flux))
        scene = Scene(found, main.number, main.found, hidden)
    else:
        for b in bands:
            flags[b] |= Flag.NOT_DETECTED | _negative_centre(found[b], recipe)
    for b in bands:
        one = centrals[b]
        if one is not None:
            flags[b] |= _isophote(rows[b], images[b], found[b], one, survey, recipe)
    n_neighbours = len(found[reference].objects) - (main is not None)
    missing = Flag.MISSING_BAND if any(flags[b] & Flag.EMPTY for b in bands if b != reference) else Flag(0)
    return StampResult(rows, flags, flags[reference] | missing, n_neighbours, scene)


def _central(found: Detections, x: float, y: float, recipe: Recipe) -> tuple[_Central | None, Flag]:
    index, flag = central(found, x, y, recipe)
    if index is None:
        return None, flag
    row = found.objects[index]
    ellipse = Aperture.of(row)
    others = (found.segments != 0) & (found.segments != index + 1)
    cleaned = without(found.data, others | ~found.usable, ellipse.x, ellipse.y)
    return _Central(row, ellipse, kron_aperture(cleaned, ellipse, recipe), index + 1, cleaned), flag


def _neighbours(found: list[Detections], centrals: list[_Central | None], main: _Central, reference: int) -> Bool[np.ndarray, "y x"]:
    # Pixels of a neighbour in any band, so that all bands sum the same pixels; what the reference band gives to the
    # galaxy stays its own (a blue clump that only g deblends is part of it).
    hidden = np.zeros(found[0].segments.shape, bool)
    for one, band_central in zip(found, centrals, strict=True):
        hidden |= (one.segments != 0) & (one.segments != (band_central.number if band_central else 0))
    return hidden & (found[reference].segments != main.number)


def _common_aperture(row: BandRow, found: Detections, main: _Central, hidden: Bool[np.ndarray, "y x"], recipe: Recipe) -> Flag:
    if not np.all(np.isfinite(found.error)):
        return Flag(0)  # empty, constant or noiseless: detect() has said so
    data = without(found.data, hidden | ~found.usable, main.ellipse.x, main.ellipse.y)
    row.flux, row.flux_err, flag = main.kron.sum(data, found.error)
    if not row.flux_err > 0:
        return flag | Flag.NO_NOISE_ESTIMATE
    row.snr = row.flux / row.flux_err
    if row.flux <= 0:
        flag |= Flag.NEGATIVE_FLUX
    if row.snr < recipe.low_snr:
        flag |= Flag.LOW_SNR
    if not found.usable.all() and (main.ellipse.scaled(ISOPHOTAL_REACH).inside(data.shape) & ~found.usable).any():
        flag |= Flag.BAD_PIXELS
    if hidden.any():
        aperture = main.kron.inside(data.shape)
        if (aperture & hidden).sum() > recipe.crowded_fraction * aperture.sum():
            flag |= Flag.CROWDED
    return flag


def _isophote(row: BandRow, image: np.ndarray, found: Detections, one: _Central, survey: Survey, recipe: Recipe) -> Flag:
    """Fill the columns that come from the band's own isophote and say what is wrong with it."""
    objects, height, width = one.found, *image.shape
    row.isophotal_area = float(objects["tnpix"])
    row.major_axis, row.minor_axis = one.ellipse.a, one.ellipse.b
    row.ellipticity = 1.0 - one.ellipse.b / one.ellipse.a
    row.pos_angle = float(np.degrees(one.ellipse.theta))
    row.centroid_x, row.centroid_y = one.ellipse.x, one.ellipse.y
    row.errx2, row.erry2, row.errxy = (float(objects[name]) for name in ("errx2", "erry2", "errxy"))
    determinant = row.errx2 * row.erry2 - row.errxy**2
    row.errcxy = -2.0 * row.errxy / determinant if determinant > 0 else np.nan
    peak = float(objects["peak"]) / (survey.pixel_scale_arcsec or 1.0) ** 2
    row.peak_surface_brightness = float(survey.magnitude(peak))
    row.kron_radius = one.kron.a
    flux, _, _ = one.kron.sum(one.cleaned, found.error)
    row.half_light_radius = half_light_radius(one.cleaned, one.kron, flux)

    flag = Flag(0)
    if objects["xmin"] == 0 or objects["ymin"] == 0 or objects["xmax"] == width - 1 or objects["ymax"] == height - 1:
        flag |= Flag.EDGE
    if objects["flag"] & sep.OBJ_MERGED:
        flag |= Flag.BLENDED
    if objects["flag"] & sep.OBJ_SINGU:
        flag |= Flag.SINGULAR
    if objects["flag"] & sep.OBJ_DOVERFLOW:
        flag |= Flag.DEBLEND_FAILED
    if objects["tnpix"] < recipe.minarea or objects["peak"] > recipe.hot_fraction * objects["flux"]:
        flag |= Flag.HOT_PIXEL
    own = (found.segments == one.number) & found.usable
    if _saturated(image, own, survey) or (survey.linear and _clipped(found.data[own], found.sky.noise)):
        flag |= Flag.SATURATED
    return flag


def _saturated(image: np.ndarray, segment: Bool[np.ndarray, "y x"], survey: Survey) -> bool:
    # Noisy linear pixels never repeat a value exactly; 8-bit ones do, and there only white counts.
    values = image[segment]
    if not values.size:
        return False
    white = values == values.max() if survey.linear else values >= DISPLAY_WHITE
    return int(np.count_nonzero(white)) >= SATURATED_PIXELS


def _clipped(values: np.ndarray, noise: float) -> bool:
    # A core that was cut off before noise was added, or resampled afterwards: wide at nine tenths of the peak, and hardly wider at half
    # of it. Even a Sersic profile of n = 0.3 is three times as wide there.
    if len(values) < CLIPPED_PIXELS:
        return False
    peak = np.partition(values, -SATURATED_PIXELS)[-SATURATED_PIXELS]
    high, half = (int(np.count_nonzero(values > share * peak)) for share in (0.9, 0.5))
    return bool(peak > CLIPPED_SNR * noise) and high >= CLIPPED_PIXELS and half < 2 * high


def _negative_centre(found: Detections, recipe: Recipe) -> Flag:
    # Nothing was detected: say so if that is because there is a hole where the galaxy should be.
    if not np.all(np.isfinite(found.error)):
        return Flag(0)
    height, width = found.data.shape
    circle = Aperture((width - 1) / 2, (height - 1) / 2, recipe.tolerance_px, recipe.tolerance_px, 0.0)
    flux, flux_err, _ = circle.sum(found.data, found.error)
    return Flag.NEGATIVE_FLUX if flux < -recipe.low_snr * flux_err else Flag(0)
