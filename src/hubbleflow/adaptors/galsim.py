r"""Galaxies as GalSim objects (Rowe et al. 2015, Astronomy and Computing 10, 121): to be sheared, re-pixelised, seen through another PSF.

A stamp is I = P * f + n: the sky f seen through the effective PSF P (its pixel included) and noise n, sampled at pixel centres. As
an InterpolatedImage it is a surface brightness that passes through every pixel's value; drawn at the same pixels with
`method="no_pixel"` it is the stamp again, and drawn otherwise it has had its pixel already: what is new is the PSF that the user adds.
Where the set has its PSF, I / P (in Fourier space, as GalSim's RealGalaxy has it) is the galaxy before any telescope; it must be convolved
with a PSF at least as wide as P before it is drawn, or the noise at high frequencies drowns it.

The noise is sheared and convolved with the galaxy, and then no longer white. GalSim keeps account of that where an object has a
`noise`: `drawn.whitenNoise(final.noise)` makes it white again, and returns its variance. Two things its account leaves out: that pixels of
another area hold other counts (`pixel_scale` here puts that right) and the pixel that drawing adds (so convolve with
galsim.Pixel(scale) and draw with "no_pixel"). `sky_noise` measures what the noise is,

    C(d) = median over stamps of [ sum over pairs of sky pixels d apart of n n' / number of the pairs ],   |d_x|, |d_y| <= 5 pixels;

the median, because a large galaxy's wings fill its stamp.

Outside its stamp a galaxy is zero: where a stamp's noise matters, draw into bounds that the stamp fills.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.adaptors.extras import imported
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.metrics.noise import sky_deviations
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    import galsim

REACH = 5  # pixels over which noise is taken to be correlated
WITHIN_CLIPS = 0.973  # of a Gaussian's variance, that of what lies within the 3 sigma where the sky's pixels are clipped
STAMPS = 256  # that noise is measured on at most
DRAWN_AT_ONCE, BLOCKS_KEPT = 16, 64  # of a generator's galaxies: 84 MB of 5 x 64 x 64


def galsim_object(
    galaxies: GalaxySet,
    i: int,
    band: str | None = None,
    *,
    deconvolve: bool = False,
    zero_point: float | None = None,
    pixel_scale: float | None = None,
    noise: Any = None,
    rng: Any = None,
    gsparams: Any = None,
) -> galsim.GSObject:
    """One galaxy of a set in one band.

    Args:
        galaxies: of a survey whose pixels are linear flux of a known size.
        i: which row.
        band: the survey's reference band where None.
        deconvolve: divide by the set's effective PSF (taken as of unit flux): convolve with another before drawing.
        zero_point: AB magnitude of one count of the image to be drawn into; the set's own counts where None.
        pixel_scale: arcsec of that image's pixels, for the noise alone; the set's own where None.
        noise: a GalSim noise of the set's pixels, such as :func:`sky_noise` measures; the survey's stated depth, uncorrelated, where None.
        rng: a GalSim deviate for whitening that noise; seeded by `i` where None.
        gsparams: GalSim's accuracies.

    Returns: an InterpolatedImage (deconvolved: a Convolution) whose flux is the stamp's sum in counts and whose lengths are arcsec, +x
    west and +y north; pixels that are not finite count as sky, 0.

    Raises:
        InputError: GalSim is not installed, there is no such row or band, the pixels are pictures or of unknown size, the stamp's sum is
            zero, the set has no PSF to deconvolve by, or no zero point to convert from.

    Example:
        >>> y, x = np.mgrid[:32, :32] - 15.5
        >>> blob = np.exp(-(x**2 + y**2) / 18)[None, None].astype(np.float32)
        >>> galaxy = galsim_object(GalaxySet(blob, Survey.get("hsc-i")), 0)
        >>> sheared = galaxy.shear(g1=0.1).drawImage(nx=64, ny=64, scale=0.1, method="no_pixel")
        >>> round(float(galaxy.flux), 2), round(float(sheared.array.sum()), 2)
        (56.55, 56.55)
    """
    gs, survey = imported("galsim", "galsim"), galaxies.survey
    scale, counts = drawable_scale(survey), _counts(survey, zero_point)
    band = band or survey.reference_band
    number, row = survey.band_index(band), _row(i, len(galaxies))
    stamp = np.nan_to_num(np.asarray(galaxies.images[row][number], np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if not stamp.sum():
        raise InputError(f"the stamp of galaxy {i} in band {band} has a sum of zero: GalSim needs light to draw")
    if noise is None and survey.noise is not None:
        noise = gs.UncorrelatedNoise(survey.noise[number] ** 2, scale=scale)
    galaxy = gs.InterpolatedImage(gs.Image(counts * stamp, scale=scale), gsparams=gsparams)
    if noise is not None:
        in_a_pixel = counts * ((pixel_scale or scale) / scale) ** 2
        galaxy.noise = noise.withScaledVariance(in_a_pixel**2).copy(rng=rng or gs.BaseDeviate(row + 1))
    return gs.Convolve(galaxy, gs.Deconvolve(galsim_psf(galaxies, row, band, gsparams)), gsparams=gsparams) if deconvolve else galaxy


def galsim_psf(galaxies: GalaxySet, i: int, band: str | None = None, gsparams: Any = None) -> galsim.GSObject:
    """The effective PSF (its pixel included) of one galaxy in one band, of unit flux: draw what it is convolved with by "no_pixel".

    Raises:
        InputError: the set has no PSF, or as :func:`galsim_object`.
    """
    gs, scale = imported("galsim", "galsim"), drawable_scale(galaxies.survey)
    if galaxies.psf is None:
        raise InputError(f"{galaxies.path or 'the set'} has no PSF to deconvolve by: what a generator draws has its training set's in it")
    number, row = galaxies.survey.band_index(band or galaxies.survey.reference_band), _row(i, len(galaxies))
    stamp = (galaxies.psf if len(galaxies.psf.shape) == 3 else galaxies.psf[row])[number]
    image = gs.Image(np.asarray(stamp, np.float64), scale=scale)
    return gs.InterpolatedImage(image, flux=1.0, gsparams=gsparams)


def sky_noise(galaxies: GalaxySet, band: str | None = None, rng: Any = None) -> Any:
    """The noise of a set's sky and how its pixels hang together, as a GalSim noise; None where the sky does not vary.

    Args:
        galaxies: the first 256 of them are looked at, outside the middle of their stamps and where no neighbour stands.
        band: the survey's reference band where None.
        rng: a GalSim deviate to draw such noise with, or to whiten it.

    Raises:
        InputError: as :func:`galsim_object`.
    """
    gs, survey = imported("galsim", "galsim"), galaxies.survey
    scale = drawable_scale(survey)
    number = survey.band_index(band or survey.reference_band)
    d, keep = sky_deviations(np.asarray(galaxies[:STAMPS].images[:][:, number], np.float32))
    padded = (galaxies.image_size + REACH,) * 2  # so that no pixel pairs with one across the edge
    products, pairs = (np.fft.irfft2(np.abs(np.fft.rfft2(plane, padded)) ** 2, padded) for plane in (d, keep.astype(np.float32)))
    lags = np.arange(-REACH, REACH + 1)
    covariance = np.median(products / np.maximum(pairs, 1), axis=0)[np.ix_(lags, lags)] / WITHIN_CLIPS
    if not covariance[REACH, REACH] > 0:
        return None
    image = gs.Image(covariance, scale=scale)
    between = gs.Linear()  # the one for which noise drawn at these pixels has these covariances
    profile = gs.InterpolatedImage(image, x_interpolant=between, normalization="sb", calculate_stepk=False, calculate_maxk=False)
    return gs.BaseCorrelatedNoise(rng or gs.BaseDeviate(1), profile, gs.PixelScale(scale))


class GalSimCatalogue:
    """Galaxies to draw into a survey image, with the face of GalSim's COSMOSCatalog: `nobjects`, `selectRandomIndex`, `makeGalaxy`.

    Args:
        source: a set, or a generator: then galaxy i is galaxy i of `source.sample(conditions, n, seed)`, drawn when it is first asked for.
        conditions, n, seed, steps, extrapolate: of a generator, see :meth:`Generator.sample`; n is 1000 where nothing says otherwise.
        deconvolve, zero_point, pixel_scale: of every galaxy, see :func:`galsim_object`; the noise that it carries is measured.

    Attributes:
        columns: the set's columns, or what the generator was asked for, one value a galaxy.

    Raises:
        InputError: GalSim is not installed, the survey cannot be drawn, or see :meth:`Generator.asked`.

    Example (with a folder that `hubbleflow train` wrote)::

        catalogue = GalSimCatalogue(Generator.load("model"), {"redshift": 0.5}, n=200, seed=1)
        galaxy = catalogue.makeGalaxy(band="i", rng=galsim.BaseDeviate(7))      # one of them, at random
        final = galsim.Convolve(galaxy.shear(g1=0.02), galsim.Moffat(beta=3, fwhm=0.9))
        final.drawImage(scale=0.2)
    """

    def __init__(
        self,
        source: GalaxySet | Generator,
        conditions: Mapping[str, Any] | None = None,
        n: int | None = None,
        seed: int = 0,
        *,
        steps: int | None = None,
        extrapolate: bool = False,
        deconvolve: bool = False,
        zero_point: float | None = None,
        pixel_scale: float | None = None,
    ) -> None:
        imported("galsim", "galsim")
        drawable_scale(source.survey)
        _counts(source.survey, zero_point)
        self.source, self.seed, self.steps, self.extrapolate = source, seed, steps, extrapolate
        self.deconvolve, self.zero_point, self.pixel_scale = deconvolve, zero_point, pixel_scale
        self._blocks: OrderedDict[int, GalaxySet] = OrderedDict()
        self._noise: dict[str, Any] = {}
        if isinstance(source, GalaxySet):
            if conditions is not None or n is not None:
                raise InputError("conditions and n are for a generator: select the galaxies of a set before, by galaxies[...]")
            self.columns, self.nobjects = source.columns, len(source)
        else:
            one_for_all = all(np.ndim(value) == 0 for value in (conditions or {}).values())
            self.columns = source.asked(conditions, 1000 if n is None and one_for_all else n, seed)
            self.nobjects = len(next(iter(self.columns.values())))

    def __len__(self) -> int:
        return self.nobjects

    def selectRandomIndex(self, rng: Any) -> int:
        """A row at random, by a GalSim deviate."""
        return min(int(imported("galsim", "galsim").UniformDeviate(rng)() * self.nobjects), self.nobjects - 1)

    def makeGalaxy(self, index: int | None = None, band: str | None = None, *, rng: Any = None, gsparams: Any = None) -> galsim.GSObject:
        """One galaxy as :func:`galsim_object` makes it; a random one where `index` is None.

        Raises:
            InputError: neither an index nor an rng, or see :func:`galsim_object`.
        """
        if index is None:
            if rng is None:
                raise InputError("makeGalaxy needs an index, or an rng (a galsim.BaseDeviate) to choose a galaxy by")
            index = self.selectRandomIndex(rng)
        row, band = _row(index, self.nobjects), band or self.source.survey.reference_band
        if band not in self._noise:
            self._noise[band] = sky_noise(self._block(0)[0], band)
        block, first = self._block(row)
        return galsim_object(
            block,
            row - first,
            band,
            deconvolve=self.deconvolve,
            zero_point=self.zero_point,
            pixel_scale=self.pixel_scale,
            noise=self._noise[band],
            rng=rng or imported("galsim", "galsim").BaseDeviate(row + 1),
            gsparams=gsparams,
        )

    def _block(self, row: int) -> tuple[GalaxySet, int]:
        """A set that holds the galaxy, and the number of that set's first."""
        if isinstance(self.source, GalaxySet):
            return self.source, 0
        first = row // DRAWN_AT_ONCE * DRAWN_AT_ONCE
        if first not in self._blocks:
            values = {name: value[first : first + DRAWN_AT_ONCE] for name, value in self.columns.items()}
            drawn = self.source.draw(values, self.seed, steps=self.steps, extrapolate=self.extrapolate, offset=first)
            self._blocks[first] = GalaxySet(next(iter(drawn))[0], self.source.survey)
            if len(self._blocks) > BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(first)
        return self._blocks[first], first


def drawable_scale(survey: Survey) -> float:
    """Arcsec a pixel of a survey that GalSim can draw.

    Raises:
        InputError: its pixels are no flux, or of unknown size.
    """
    if not survey.linear:
        raise InputError(f"survey {survey.name!r} has pixels of {survey.unit}, which are no flux: GalSim cannot draw them")
    if survey.pixel_scale_arcsec is None:
        raise InputError(f"the pixel scale of survey {survey.name!r} is not known: GalSim needs it")
    return survey.pixel_scale_arcsec


def _counts(survey: Survey, zero_point: float | None) -> float:
    """Counts of an image of that zero point in one unit of the survey."""
    if zero_point is None:
        return 1.0
    if survey.zero_point is None:
        raise InputError(f"survey {survey.name!r} has no zero point to convert from: leave out zero_point")
    return 10 ** (0.4 * (zero_point - survey.zero_point))


def _row(i: int, n: int) -> int:
    if not -n <= i < n:
        raise InputError(f"there is no galaxy {i}: the set has {n}, numbered from 0")
    return int(i) % n
