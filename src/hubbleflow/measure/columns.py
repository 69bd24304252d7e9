"""What is measured of one galaxy in one band: the columns, their units and their meaning.

The fields of :class:`BandRow` are the columns' names without the band: `isophotal_area` in band i is
`i_isophotal_area`, GalaxiesML's own name where it has one (Do et al. 2024). Units are astropy's; "{flux}" is the
survey's unit of flux, "{mag}" its magnitude.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from hubbleflow.survey import Survey

FLUX_UNITS = {"count": "ct", "nanomaggy": "nmgy"}  # as astropy writes them; anything else is written as the survey does


def _column(unit: str, description: str) -> Any:
    return field(default=np.nan, metadata={"unit": unit, "description": description})


@dataclass(slots=True)
class BandRow:
    """One galaxy in one band; NaN where there is no number."""

    flux: float = _column("{flux}", "sky-subtracted flux in the reference band's Kron ellipse (one aperture for all bands)")
    flux_err: float = _column("{flux}", "its error from sky noise: sqrt(sum of pixel variances in the aperture)")
    snr: float = _column("", "flux / flux_err")
    mag: float = _column("{mag}", "zero point - 2.5 log10(flux)")
    isophotal_area: float = _column("pix2", "pixels above 1.5 sky sigmas (SExtractor ISOAREA_IMAGE, sep tnpix)")
    major_axis: float = _column("pix", "A: rms along the major axis, from second moments of the isophote (A_IMAGE)")
    minor_axis: float = _column("pix", "B: rms along the minor axis (B_IMAGE)")
    ellipticity: float = _column("", "1 - B / A (ELLIPTICITY)")
    pos_angle: float = _column("deg", "angle of the major axis from +x towards +y, -90 to 90 (THETA_IMAGE)")
    half_light_radius: float = _column("pix", "radius of the circle with half of this band's own Kron flux (FLUX_RADIUS)")
    kron_radius: float = _column(
        "pix", "semi-major axis of this band's own Kron aperture, 2.5 r_Kron A, at least 3.5 A (KRON_RADIUS A_IMAGE)"
    )
    centroid_x: float = _column("pix", "barycentre, 0 at the middle of the first pixel (X_IMAGE - 1)")
    centroid_y: float = _column("pix", "barycentre, 0 at the middle of the first pixel (Y_IMAGE - 1)")
    errx2: float = _column("pix2", "variance of the barycentre in x (ERRX2_IMAGE)")
    erry2: float = _column("pix2", "variance of the barycentre in y (ERRY2_IMAGE)")
    errxy: float = _column("pix2", "covariance of the barycentre (ERRXY_IMAGE)")
    errcxy: float = _column("1 / pix2", "error ellipse parameter -2 errxy / (errx2 erry2 - errxy^2) (ERRCXY_IMAGE)")
    peak_surface_brightness: float = _column("{mag_area}", "of the brightest pixel, above the sky (MU_MAX)")
    sky: float = _column("{flux}", "sky level of a pixel, subtracted")
    noise: float = _column("{flux}", "sky noise of a pixel, standard deviation")


BAND_COLUMNS = tuple(f.name for f in fields(BandRow))


def row_values(row: BandRow) -> list[float]:
    """The numbers in the order of BAND_COLUMNS."""
    return [getattr(row, name) for name in BAND_COLUMNS]


def units_of(survey: Survey) -> dict[str, str]:
    """Unit of each band column in a survey."""
    flux = FLUX_UNITS.get(survey.unit, "" if not survey.linear else survey.unit)
    area = "arcsec2" if survey.pixel_scale_arcsec else "pix2"
    words = {"flux": flux, "mag": "mag", "mag_area": f"mag / {area}"}
    return {f.name: f.metadata["unit"].format(**words) for f in fields(BandRow)}


def descriptions_of(survey: Survey) -> dict[str, str]:
    """What each band column is; where the survey has no zero point, the words say that magnitudes are instrumental."""
    texts = {f.name: f.metadata["description"] for f in fields(BandRow)}
    if survey.zero_point is None:
        for name in ("mag", "peak_surface_brightness"):
            texts[name] += f"; INSTRUMENTAL, zero point 0: pixels are {survey.unit}s, no photometry"
    return texts


def colour_pairs(survey: Survey) -> Iterator[tuple[str, int, int]]:
    """Name and band numbers of the colours: neighbouring bands in the survey's order (`g_r`, `r_i`, ...)."""
    for first in range(len(survey.bands) - 1):
        yield f"{survey.bands[first]}_{survey.bands[first + 1]}", first, first + 1


def assemble(
    survey: Survey, values: np.ndarray, band_flags: np.ndarray, flag: np.ndarray, n_neighbours: np.ndarray
) -> tuple[dict[str, np.ndarray], Mapping[str, str], Mapping[str, str]]:
    """Columns, units and descriptions from the numbers of all galaxies.

    Args:
        values: (n, band, column) in the order of BAND_COLUMNS.
        band_flags: (n, band).
        flag, n_neighbours: (n,).
    """
    columns: dict[str, np.ndarray] = {}
    units: dict[str, str] = {}
    descriptions: dict[str, str] = {}
    band_units, texts = units_of(survey), descriptions_of(survey)
    for b, band in enumerate(survey.bands):
        for c, name in enumerate(BAND_COLUMNS):
            columns[f"{band}_{name}"] = np.ascontiguousarray(values[:, b, c])
            units[f"{band}_{name}"], descriptions[f"{band}_{name}"] = band_units[name], f"{band} band: {texts[name]}"
        columns[f"{band}_flag"] = np.ascontiguousarray(band_flags[:, b])
        units[f"{band}_flag"], descriptions[f"{band}_flag"] = (
            "",
            f"{band} band: bits of hubbleflow.measure.Flag, 0 = nothing to remark",
        )
    for name, first, second in colour_pairs(survey):
        columns[name] = columns[f"{survey.bands[first]}_mag"] - columns[f"{survey.bands[second]}_mag"]
        units[name] = "mag"
        descriptions[name] = f"{survey.bands[first]} - {survey.bands[second]} in the reference band's Kron ellipse"
    columns["n_neighbours"], columns["flag"] = n_neighbours, flag
    units["n_neighbours"] = units["flag"] = ""
    descriptions["n_neighbours"] = f"other objects detected in the stamp, {survey.reference_band} band"
    descriptions["flag"] = f"{survey.reference_band}_flag and whole-object bits of hubbleflow.measure.Flag; 0 = trust all of that band"
    return columns, units, descriptions
