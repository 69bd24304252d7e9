"""A survey: which bands, which pixels, which photometric system, how sharp and how deep.

Magnitudes are AB (Oke & Gunn 1983): m = zero_point - 2.5 log10(flux / unit), so a survey whose zero point is 27.0 counts 57.544 nJy a unit.
A survey without a zero point is one whose pixels are not linear flux (an 8-bit picture): its unit says "display value", and whatever
is computed from it carries no magnitude that means anything.

`noise` is the sky's standard deviation per pixel, in `unit`, of a typical blank field at the stated depth; simulators draw from it and
stretches fall back on it. Measurements never use it where the image itself can tell.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.errors import InputError

if TYPE_CHECKING:
    from astropy.units import Quantity

AB_NANOJANSKY_ZERO_POINT = 31.4  # AB magnitude of 1 nJy: 8.9 for 1 Jy, plus 22.5
DISPLAY_VALUE = "display value"


@dataclass(frozen=True)
class Survey:
    """What turns pixels into physics.

    Attributes:
        name: the survey and its depth, e.g. "hsc-wide".
        bands: names in the order of the images' band axis.
        pixel_scale_arcsec: arcsec a pixel; None where unknown.
        zero_point: AB magnitude of one `unit` of flux; None where pixels are not linear flux.
        unit: what one pixel unit is: "count", "nanomaggy", "nJy", "display value".
        psf_fwhm_arcsec: typical seeing per band, arcsec; None where unknown.
        noise: sky standard deviation per pixel and band, in `unit`; None where unknown.
        reference_band: the band in which structure is measured.
        rgb: the three bands shown as red, green and blue.

    Example:
        >>> hsc = Survey.get("hsc-wide")
        >>> hsc.bands, float(hsc.magnitude(100.0))
        (('g', 'r', 'i', 'z', 'y'), 22.0)
    """

    name: str
    bands: tuple[str, ...]
    pixel_scale_arcsec: float | None
    zero_point: float | None
    unit: str
    psf_fwhm_arcsec: tuple[float, ...] | None
    noise: tuple[float, ...] | None
    reference_band: str
    rgb: tuple[str, str, str]

    def __post_init__(self) -> None:
        if not self.bands or len(set(self.bands)) != len(self.bands):
            raise InputError(f"survey {self.name!r} needs one distinct name a band, got {self.bands}")
        for field in ("psf_fwhm_arcsec", "noise"):
            values = getattr(self, field)
            if values is not None and (len(values) != len(self.bands) or not all(v > 0 for v in values)):
                raise InputError(f"survey {self.name!r}: {field} needs {len(self.bands)} positive values, got {values}")
        if self.pixel_scale_arcsec is not None and not self.pixel_scale_arcsec > 0:
            raise InputError(f"survey {self.name!r}: the pixel scale must be positive, got {self.pixel_scale_arcsec}")
        for band in (self.reference_band, *self.rgb):
            self.band_index(band)

    # -- finding one ------------------------------------------------------------------------------------------------------------
    @staticmethod
    def get(name: str) -> Survey:
        """The survey of that name.

        Raises:
            InputError: no survey has that name; the sentence lists those that exist.
        """
        if name not in SURVEYS:
            raise InputError(f"unknown survey {name!r}: choose one of {', '.join(Survey.names())}")
        return SURVEYS[name]

    @staticmethod
    def names() -> tuple[str, ...]:
        """Names that :meth:`get` knows."""
        return tuple(SURVEYS)

    @staticmethod
    def custom(
        name: str, bands: tuple[str, ...], pixel_scale_arcsec: float | None = None, zero_point: float | None = None, unit: str = "count"
    ) -> Survey:
        """A survey of which only the bands (and perhaps pixel scale and zero point) are known; the middle band is the reference."""
        middle = bands[len(bands) // 2]
        rgb = (bands[min(2, len(bands) - 1)], bands[min(1, len(bands) - 1)], bands[0])
        return Survey(name, tuple(bands), pixel_scale_arcsec, zero_point, unit, None, None, middle, rgb)

    def with_bands(self, bands: tuple[str, ...]) -> Survey:
        """This survey seen through some of its bands only, in the order given."""
        index = [self.band_index(band) for band in bands]
        pick = lambda values: None if values is None else tuple(values[i] for i in index)  # noqa: E731
        reference = self.reference_band if self.reference_band in bands else bands[len(bands) // 2]
        rgb = self.rgb if set(self.rgb) <= set(bands) else (bands[min(2, len(bands) - 1)], bands[min(1, len(bands) - 1)], bands[0])
        return replace(
            self, bands=tuple(bands), psf_fwhm_arcsec=pick(self.psf_fwhm_arcsec), noise=pick(self.noise), reference_band=reference, rgb=rgb
        )

    # -- using it ---------------------------------------------------------------------------------------------------------------
    def band_index(self, band: str) -> int:
        """Position of `band` on the images' band axis.

        Raises:
            InputError: the survey has no such band.
        """
        if band not in self.bands:
            raise InputError(f"survey {self.name!r} has no band {band!r}: it has {', '.join(self.bands)}")
        return self.bands.index(band)

    @property
    def linear(self) -> bool:
        """Whether pixels are linear flux (False for 8-bit pictures, whose unit is "display value")."""
        return self.unit != DISPLAY_VALUE

    @property
    def pixel_scale(self) -> Quantity:
        """The pixel scale as an astropy Quantity (arcsec / pixel).

        Raises:
            InputError: the survey's pixel scale is not known.
        """
        from astropy import units as u

        if self.pixel_scale_arcsec is None:
            raise InputError(f"the pixel scale of survey {self.name!r} is not known")
        return self.pixel_scale_arcsec * u.arcsec / u.pix

    @property
    def count_nanojansky(self) -> float:
        """Flux density of one pixel unit, nJy (57.544 for HSC's zero point 27.0).

        Example:
            >>> round(Survey.get("hsc-wide").count_nanojansky, 3)
            57.544
        """
        if self.zero_point is None:
            raise InputError(f"survey {self.name!r} has no photometric zero point: its unit is {self.unit!r}")
        return 10 ** (0.4 * (AB_NANOJANSKY_ZERO_POINT - self.zero_point))

    def magnitude(self, flux: Any) -> np.ndarray:
        """AB magnitude of `flux` (in `unit`; instrumental, zero point 0, where the survey has none); NaN where flux <= 0."""
        flux = np.asarray(flux, float)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(flux > 0, (self.zero_point or 0.0) - 2.5 * np.log10(flux), np.nan)

    def flux(self, magnitude: Any) -> np.ndarray:
        """Flux (in `unit`) of an AB magnitude: the inverse of :meth:`magnitude`."""
        return 10 ** (-0.4 * (np.asarray(magnitude, float) - (self.zero_point or 0.0)))

    # -- on disk ----------------------------------------------------------------------------------------------------------------
    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary of the fields (tuples become lists in JSON and come back as tuples)."""
        return asdict(self)

    def to_json(self) -> str:
        """One line of JSON; :meth:`from_json` is its inverse."""
        return json.dumps(self.to_dict())

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Survey:
        """Inverse of :meth:`to_dict`.

        Raises:
            InputError: fields are missing, unknown or of the wrong form.
        """
        if not isinstance(values, dict):
            raise InputError(f"not a survey: expected an object with name, bands and the rest, got {json.dumps(values)[:40]}")
        try:
            arguments: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
            return Survey(**arguments)
        except TypeError as error:
            raise InputError(f"not a survey: {error}") from error

    @staticmethod
    def from_json(text: str) -> Survey:
        """Inverse of :meth:`to_json`."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"the survey attribute is not JSON: {error}") from error
        return Survey.from_dict(values)


# Depths: HSC's i noise is what the blank edges of Wide coadds show (0.064 counts) and equals i = 26.0 at 5 sigma; the other bands follow
# from the PDR2 Wide depths 26.5, 26.1, 26.0, 25.1, 24.4 and seeing (Aihara et al. 2019). UltraDeep: the same ratios, i noise 0.025.
# SDSS: York et al. 2000 and DR7 median seeing; DECaLS: Dey et al. 2019; LSST: 10-year coadds, Ivezic et al. 2019, table 2.
_GRIZY = ("g", "r", "i", "z", "y")
_HSC_NOISE = (0.030, 0.045, 0.064, 0.125, 0.240)
_UDEEP_NOISE = (0.0281, 0.0312, 0.0395, 0.0788, 0.1226)  # measured in the empty parts of 99 UltraDeep COSMOS scenes (calibration/sky.py)
_HSC_SEEING = (0.77, 0.76, 0.58, 0.68, 0.68)
_UGRIZY = ("u", *_GRIZY)

SURVEYS: dict[str, Survey] = {
    survey.name: survey
    for survey in (
        Survey("hsc-wide", _GRIZY, 0.168, 27.0, "count", _HSC_SEEING, _HSC_NOISE, "i", ("i", "r", "g")),
        Survey("hsc-udeep", _GRIZY, 0.168, 27.0, "count", _HSC_SEEING, _UDEEP_NOISE, "i", ("i", "r", "g")),
        Survey("hsc-i", ("i",), 0.168, 27.0, "count", (0.58,), (0.064,), "i", ("i", "i", "i")),
        Survey("decals", ("g", "r", "z"), 0.262, 22.5, "nanomaggy", (1.29, 1.18, 1.11), (0.0035, 0.0055, 0.0125), "r", ("z", "r", "g")),
        Survey(
            "sdss",
            ("u", "g", "r", "i", "z"),
            0.396,
            22.5,
            "nanomaggy",
            (1.53, 1.44, 1.32, 1.26, 1.29),
            (0.110, 0.024, 0.036, 0.054, 0.190),
            "r",
            ("i", "r", "g"),
        ),
        Survey(
            "lsst", _UGRIZY, 0.2, 31.4, "nJy", (0.92, 0.87, 0.83, 0.80, 0.78, 0.76), (3.6, 1.2, 1.1, 2.2, 4.3, 13.4), "i", ("i", "r", "g")
        ),
        # Eight-bit pictures: channels are named in the order they stand in the file, red first.
        Survey("sdss-rgb", ("R", "G", "B"), None, None, DISPLAY_VALUE, None, None, "G", ("R", "G", "B")),
        Survey("decals-rgb", ("R", "G", "B"), 0.262, None, DISPLAY_VALUE, None, None, "G", ("R", "G", "B")),
        Survey("xdf-rgb", ("R", "G", "B"), 0.143, None, DISPLAY_VALUE, None, None, "G", ("R", "G", "B")),
    )
}
