"""The shape of a galaxy without a model of it: concentration, asymmetry, smoothness, Gini, M20, and its Petrosian radius.

Conselice (2003, ApJS 147, 1), Lotz, Primack & Madau (2004, AJ 128, 163), in the definitions of statmorph 0.7 (Rodriguez-Gomez et al. 2019,
MNRAS 483, 4140). I is the sky-subtracted image, zero where a neighbour or a bad pixel hides it; the galaxy's segment is the connected
pixels above 1.5 sigma.

    r_P     Petrosian radius: circular about the centre c of least asymmetry; a_P: the same for ellipses of the segment's second moments
            about c (`growth`)
    C       = 5 log10(r80 / r20), radii of circles about c with 80 % and 20 % of the light within 1.5 r_P
    A       = (sum |I - I_180| - B_A) / sum |I| within 1.5 r_P (that of the segment's barycentre); c is where this is least (`asymmetry`)
    S       = (sum max(I - I_s, 0) - B_S) / sum I between 0.25 r_P and 1.5 r_P; I_s is the mean over a box of int(0.25 r_P) pixels
            (Lotz's S: Conselice's is ten times it)
    G, M20  (`gini`) of the pixels of the Petrosian isophote: the image smoothed by a Gaussian of dispersion 0.2 a_P, above its mean on
            the ellipse of a_P

B_A and B_S are what the sky alone would give: from the noise's sigma for A, for S the mean of max(n - n_s, 0) over pixels of sky that have
only sky in their box, which knows how the noise of neighbouring pixels is correlated.

It differs from statmorph where pixels are missing, which that counts as zeros and we leave out: masked ones in Gini, M20 and the smoothing
box, those beyond the stamp in A. It takes the sky from all of the stamp, not from the first empty square; and where the smoothing box is
one pixel or none, S is no number, not zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.measure.detect import LARGEST
from hubbleflow.measure.shape import ShapeRecipe, Stamp

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

SMALLEST = 8  # pixels: the side of the least stamp


def _words(unit: str, description: str) -> dict[str, str]:
    return {"unit": unit, "description": description}


@dataclass(frozen=True)
class Nonparametric:
    """Shape of each galaxy, one row each; NaN where there is no number, and `flag` (bits of `ShapeFlag`) says why.

    Units and descriptions are in `SHAPE_COLUMNS`.
    """

    concentration: Float[np.ndarray, " n"] = field(metadata=_words("", "C = 5 log10(r80 / r20)"))
    asymmetry: Float[np.ndarray, " n"] = field(metadata=_words("", "A of 180 degrees, least over centres, less the sky's"))
    smoothness: Float[np.ndarray, " n"] = field(
        metadata=_words("", "S, clumpiness, less the sky's, in Lotz's definition (a tenth of Conselice's)")
    )
    gini: Float[np.ndarray, " n"] = field(metadata=_words("", "Gini coefficient of the pixels of the Petrosian isophote"))
    m20: Float[np.ndarray, " n"] = field(
        metadata=_words("", "M20: log10 of the second moment of the brightest pixels with 20 % of the light, over the whole's")
    )
    petro_rad: Float[np.ndarray, " n"] = field(
        metadata=_words("pix", "semi-major Petrosian radius, eta = 0.2, of the ellipse of second moments")
    )
    petro_rad_circular: Float[np.ndarray, " n"] = field(metadata=_words("pix", "Petrosian radius, eta = 0.2, of circles"))
    r20: Float[np.ndarray, " n"] = field(
        metadata=_words("pix", "radius of the circle with 20 % of the light within 1.5 petro_rad_circular")
    )
    r80: Float[np.ndarray, " n"] = field(
        metadata=_words("pix", "radius of the circle with 80 % of the light within 1.5 petro_rad_circular")
    )
    asymmetry_x: Float[np.ndarray, " n"] = field(metadata=_words("pix", "centre of least asymmetry, 0 at the middle of the first pixel"))
    asymmetry_y: Float[np.ndarray, " n"] = field(metadata=_words("pix", "centre of least asymmetry, 0 at the middle of the first pixel"))
    snr_per_pixel: Float[np.ndarray, " n"] = field(
        metadata=_words("", "mean of I / sigma over the positive pixels of the Petrosian isophote")
    )
    flag: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.flag)

    def __getitem__(self, rows: slice | np.ndarray) -> Nonparametric:
        return Nonparametric(*(getattr(self, one.name)[rows] for one in fields(self)))

    @classmethod
    def empty(cls, n: int) -> Nonparametric:
        """n rows without a number, to be filled."""
        return cls(*(np.zeros(n, np.int32) if one.name == "flag" else np.full(n, np.nan) for one in fields(cls)))


# All numbers but the flag: name -> unit, description
SHAPE_COLUMNS: dict[str, tuple[str, str]] = {
    one.name: (one.metadata["unit"], one.metadata["description"]) for one in fields(Nonparametric) if one.metadata
}


def nonparametric(
    images: Float[np.ndarray, "n y x"],
    noise: Any,
    mask: Bool[np.ndarray, "n y x"] | None = None,
    x: Any = None,
    y: Any = None,
    recipe: ShapeRecipe | None = None,
    *,
    segments: Bool[np.ndarray, "n y x"] | None = None,
    psf_fwhm: Any = None,
) -> Nonparametric:
    """Shape of the galaxy at (x, y) of every stamp; never raises because of what the pixels hold.

    Args:
        images: sky-subtracted pixels, in any linear unit; what is not finite is not used.
        noise: standard deviation of the sky in a pixel, one for all or one each.
        mask: True = not to be used: neighbours, bad pixels.
        x, y: where the galaxy is, within some pixels, one for all or one each; the stamp's centre where not given.
        recipe: apertures and limits.
        segments: True = the galaxy's own pixels, where they are known: they are found otherwise.
        psf_fwhm: width of the PSF in pixels, where known, one for all or one each: smaller objects are flagged.

    Raises:
        InputError: the shapes do not fit together, or stamps are smaller than 8 pixels.

    Example:
        >>> y, x = np.mgrid[:64, :64] - 31.5
        >>> disc = np.exp(-np.hypot(x, y) / 4)
        >>> shape = nonparametric(disc[None], 1e-4)
        >>> [round(float(one[0]), 1) for one in (shape.concentration, shape.petro_rad)], bool(abs(shape.asymmetry[0]) < 0.01)
        ([2.7, 14.5], True)
    """
    recipe, images = recipe or ShapeRecipe(), np.asarray(images)
    if images.ndim != 3 or min(images.shape[1:]) < SMALLEST:
        raise InputError(
            f"images must be (n, y, x) of at least {SMALLEST} x {SMALLEST} pixels, not {images.shape}: give a stack of stamps."
        )
    n, height, width = images.shape
    for name, stack in (("mask", mask), ("segments", segments)):
        if stack is not None and np.shape(stack) != images.shape:
            raise InputError(f"{name} must have the images' shape {images.shape}, not {np.shape(stack)}: give one pixel for each.")
    each = {"noise": noise, "x": (width - 1) / 2 if x is None else x, "y": (height - 1) / 2 if y is None else y}
    each["psf_fwhm"] = 0.0 if psf_fwhm is None else psf_fwhm
    for name, values in each.items():
        if np.shape(values) not in ((), (n,)):
            raise InputError(f"{name} must be one number or one for each of {n} images, not of shape {np.shape(values)}: give either.")
    sigmas, xs, ys, widths = (np.broadcast_to(np.asarray(values, float), n).tolist() for values in each.values())
    with np.errstate(invalid="ignore"):
        usable = np.abs(images) < LARGEST  # False for NaN
    if mask is not None:
        usable &= ~np.asarray(mask, bool)
    whole = usable.all(axis=(1, 2))
    result = Nonparametric.empty(n)
    for i in range(n):
        data = np.where(usable[i], images[i], 0.0).astype(np.float32)
        stamp = Stamp(data, None if whole[i] else usable[i], sigmas[i], recipe)
        values, result.flag[i] = stamp.shape(xs[i], ys[i], None if segments is None else segments[i] & usable[i], widths[i])
        for name, value in values.items():
            getattr(result, name)[i] = value
    return result
