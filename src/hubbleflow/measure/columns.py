"""What is measured of one galaxy in one band: the columns, their units and their meaning.

The fields of :class:`BandRow` are the columns' names without the band: `isophotal_area` in band i is
`i_isophotal_area`, GalaxiesML's own name where it has one (Do et al. 2024). Those of the Sersic fit begin with
`i_sersic_`, those of the shapes have the names of `nonparametric.Nonparametric`. Units are astropy's; "{flux}" is the
survey's unit of flux, "{mag}" its magnitude.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from hubbleflow.measure.nonparametric import SHAPE_COLUMNS
from hubbleflow.measure.recipe import Recipe
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


# The reference band's Sersic fit, and what it says of the other bands: name after `b_sersic_` -> unit, description.
SERSIC_COLUMNS: dict[str, tuple[str, str]] = {
    "index": ("", "Sersic index n of the PSF-convolved fit"),
    "index_err": ("", "its error, from the curvature of chi^2"),
    "radius": ("pix", "half-light radius R_e along the major axis, PSF taken out"),
    "radius_err": ("pix", "its error"),
    "ellipticity": ("", "1 - q, q the axis ratio, PSF taken out"),
    "ellipticity_err": ("", "its error"),
    "pos_angle": ("deg", "angle of the major axis from +x towards +y, -90 to 90"),
    "pos_angle_err": ("deg", "its error; 52 where nothing is known"),
    "flux": ("{flux}", "flux of the Sersic model, to infinity"),
    "flux_err": ("{flux}", "its error; that of the structure is in it"),
    "mag": ("{mag}", "zero point - 2.5 log10(flux of the Sersic model)"),
    "mag_err": ("mag", "its error, 1.086 flux_err / flux"),
    "x": ("pix", "centre of the Sersic model, 0 at the middle of the first pixel"),
    "x_err": ("pix", "its error"),
    "y": ("pix", "centre of the Sersic model, 0 at the middle of the first pixel"),
    "y_err": ("pix", "its error"),
    "sky": ("{flux}", "sky level of a pixel that the fit finds under the galaxy, above the one subtracted"),
    "sky_err": ("{flux}", "its error"),
    "snr": ("", "matched signal-to-noise ratio: flux over its error were the structure known"),
    "chi2": ("", "chi^2 of the Sersic fit over its degrees of freedom"),
}
SERSIC_FLUX_COLUMNS: dict[str, tuple[str, str]] = {
    "flux": ("{flux}", "flux of the reference band's Sersic model, through this band's PSF"),
    "flux_err": ("{flux}", "its error, the structure being held"),
    "mag": ("{mag}", "zero point - 2.5 log10(flux of the Sersic model)"),
}


def row_values(row: BandRow) -> list[float]:
    """The numbers in the order of BAND_COLUMNS."""
    return [getattr(row, name) for name in BAND_COLUMNS]


def colour_pairs(survey: Survey) -> Iterator[tuple[str, int, int]]:
    """Name and band numbers of the colours: neighbouring bands in the survey's order (`g_r`, `r_i`, ...)."""
    for first in range(len(survey.bands) - 1):
        yield f"{survey.bands[first]}_{survey.bands[first + 1]}", first, first + 1


def column_table(survey: Survey, recipe: Recipe) -> dict[str, tuple[str, str]]:
    """Every column that the recipe gives in this survey, in order: name -> unit, description.

    Where the survey has no zero point, the words say that magnitudes are instrumental.

    Example:
        >>> column_table(Survey.get("hsc-i"), Recipe())["i_sersic_radius"]
        ('pix', 'i band: half-light radius R_e along the major axis, PSF taken out')
    """
    flux = FLUX_UNITS.get(survey.unit, "" if not survey.linear else survey.unit)
    area = "arcsec2" if survey.pixel_scale_arcsec else "pix2"
    words = {"flux": flux, "mag": "mag", "mag_area": f"mag / {area}"}
    instrumental = "" if survey.zero_point is not None else f"; INSTRUMENTAL, zero point 0: pixels are {survey.unit}s, no photometry"
    table: dict[str, tuple[str, str]] = {}

    def add(band: str, name: str, unit: str, description: str) -> None:
        remark = instrumental if unit in ("{mag}", "{mag_area}") else ""
        table[f"{band}_{name}"] = unit.format(**words), f"{band} band: {description}{remark}"

    for band in survey.bands:
        for f in fields(BandRow):
            add(band, f.name, f.metadata["unit"], f.metadata["description"])
        add(band, "flag", "", "bits of hubbleflow.measure.Flag, 0 = nothing to remark")
    for name, first, second in colour_pairs(survey):
        table[name] = "mag", f"{survey.bands[first]} - {survey.bands[second]} in the reference band's Kron ellipse"
    table["n_neighbours"] = "", f"other objects detected in the stamp, {survey.reference_band} band"
    whole = f"{survey.reference_band}_flag and whole-object bits of hubbleflow.measure.Flag; 0 = trust all of that band"
    table["flag"] = "", whole
    if recipe.sersic:
        for band in survey.bands:
            for name, (unit, description) in (SERSIC_COLUMNS if band == survey.reference_band else SERSIC_FLUX_COLUMNS).items():
                add(band, f"sersic_{name}", unit, description)
        add(survey.reference_band, "sersic_flag", "", "bits of hubbleflow.measure.SersicFlag, 0 = nothing to remark")
    if recipe.shapes:
        for name, (unit, description) in SHAPE_COLUMNS.items():
            add(survey.reference_band, name, unit, description)
        add(survey.reference_band, "shape_flag", "", "bits of hubbleflow.measure.ShapeFlag, 0 = nothing to remark")
    return table


def band_columns(survey: Survey, values: np.ndarray, band_flags: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of all bands, and colours, from the numbers of some galaxies.

    Args:
        values: (n, band, column) in the order of BAND_COLUMNS.
        band_flags: (n, band).
    """
    columns: dict[str, np.ndarray] = {}
    for b, band in enumerate(survey.bands):
        for c, name in enumerate(BAND_COLUMNS):
            columns[f"{band}_{name}"] = np.ascontiguousarray(values[:, b, c])
        columns[f"{band}_flag"] = np.ascontiguousarray(band_flags[:, b])
    for name, first, second in colour_pairs(survey):
        columns[name] = columns[f"{survey.bands[first]}_mag"] - columns[f"{survey.bands[second]}_mag"]
    return columns
