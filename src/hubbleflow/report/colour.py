"""Colour pictures of galaxies: flux in, 8-bit RGB out, and labelled contact sheets.

Lupton et al. 2004 (PASP 116, 133): with I = (R + G + B) / 3,

    f(I) = asinh(Q I / stretch) * slope,   slope = 0.1 * 255 / asinh(0.1 Q),   (R', G', B') = (R, G, B) f(I) / I

and a pixel with a component above 255 is scaled down as a whole, so colours never depend on brightness. Two styles:

- "lupton": stretch = 5, Q = 8 in counts of zero point 27, the field's convention for HSC coadds; other surveys are
  brought to that zero point first. Made for bright galaxies: a spectroscopic sample's faint ones are nearly black.
- "noise": Q = 8 and stretch = 12 times the sky's sigma, which is taken from the images' edges (over all of them, so
  pictures of one call can be compared) or given, so that pictures of many calls can: faint galaxies show, and so does
  what a generator does to the sky.

One band is shown as asinh grey, and pictures in display values are shown as they are. numpy only (astropy's
make_lupton_rgb is the test's oracle), so that the training loop can draw its samples on a machine that has little else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.files import atomic_path

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from hubbleflow.galaxies import GalaxySet
    from hubbleflow.survey import Survey

Style = Literal["lupton", "noise"]
STRETCH, Q, ZERO_POINT = 5.0, 8.0, 27.0
NOISE_STRETCH = 12.0
EDGE = 6  # pixels at the stamp's border from which the sky's sigma is taken


def lupton(
    red: Float[np.ndarray, "*s"],
    green: Float[np.ndarray, "*s"],
    blue: Float[np.ndarray, "*s"],
    stretch: float = STRETCH,
    q: float = Q,
) -> UInt8[np.ndarray, "*s 3"]:
    """RGB by Lupton et al. 2004, as astropy's make_lupton_rgb (minimum 0) draws it.

    Example:
        >>> lupton(np.array([10.0]), np.array([5.0]), np.array([0.0])).tolist()
        [[193, 96, 0]]
    """
    planes = np.stack([red, green, blue], axis=-1).astype(float)
    intensity = np.maximum(planes.mean(axis=-1, keepdims=True), 0)
    slope = 0.1 * 255 / np.arcsinh(0.1 * q)
    factor = np.arcsinh(intensity * q / stretch) * slope / np.where(intensity > 0, intensity, 1)
    scaled = np.maximum(planes * factor, 0)
    brightest = scaled.max(axis=-1, keepdims=True)
    return (scaled * np.where(brightest > 255, 255 / np.maximum(brightest, 1), 1)).astype(np.uint8)


def rgb(
    images: Float[np.ndarray, "n band y x"], survey: Survey, style: Style = "lupton", sigma: Float[np.ndarray, " 3"] | None = None
) -> UInt8[np.ndarray, "n y x 3"]:
    """Pictures of galaxies in the survey's red, green and blue bands.

    Args:
        images: linear flux in the survey's unit (or display values of 0-255); non-finite pixels are shown black.
        style: "lupton" (stretch 5, Q 8) or "noise" (stretch relative to the sky); see the module's docstring.
        sigma: of the sky in these bands, for "noise"; these images' own where not given (:func:`sky_of_picture`).

    Raises:
        InputError: the images' bands are not the survey's, or there is no such style.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> rgb(np.zeros((2, 5, 8, 8), np.float32), Survey.get("hsc-wide")).shape
        (2, 8, 8, 3)
    """
    images = np.nan_to_num(np.asarray(images, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    if images.ndim != 4 or images.shape[1] != len(survey.bands):
        raise InputError(f"images have shape {images.shape}, expected (n, {len(survey.bands)}, y, x) for survey {survey.name!r}")
    if style not in ("lupton", "noise"):
        raise InputError(f"unknown picture style {style!r}: choose lupton or noise")
    channels = images[:, _channels(survey)]
    if not survey.linear:
        return np.clip(np.rint(channels), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    if not len(images):
        return np.zeros((0, *images.shape[2:], 3), np.uint8)
    if style == "lupton" and survey.zero_point is not None and len(survey.bands) > 1:
        counts = channels * 10 ** (0.4 * (ZERO_POINT - survey.zero_point))
        return lupton(counts[:, 0], counts[:, 1], counts[:, 2])
    sigma = sky_sigma(channels) if sigma is None else sigma
    balanced = channels / _gain(sigma, survey)[:, None, None]
    return lupton(balanced[:, 0], balanced[:, 1], balanced[:, 2], NOISE_STRETCH)


def sky_of_picture(images: Float[np.ndarray, "n band y x"], survey: Survey) -> Float[np.ndarray, " 3"]:
    """The sky's sigma in the survey's red, green and blue bands: the scale of the style "noise", to be held over several calls.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> noise = np.random.default_rng(0).normal(0, 0.1, (4, 5, 32, 32)) * np.array([1, 2, 3, 4, 5])[:, None, None]
        >>> sky_of_picture(noise, Survey.get("hsc-wide")).round(1).tolist()
        [0.3, 0.2, 0.1]
    """
    return sky_sigma(np.asarray(images)[:, _channels(survey)])


def _channels(survey: Survey) -> list[int]:
    return [survey.band_index(band) for band in survey.rgb]


def _gain(sigma: Float[np.ndarray, " 3"], survey: Survey) -> Float[np.ndarray, " 3"]:
    # Dividing by sigma would make every sky grey but turn galaxies blue (the bluer band is the deeper one); keeping
    # flux ratios shows the noise of the shallowest band as colour. The geometric mean of both is readable. One band:
    # its own sigma, hence grey.
    common = np.exp(np.log(sigma).mean())
    return np.sqrt(sigma * common) if len(set(survey.rgb)) > 1 else sigma


def sky_sigma(images: Float[np.ndarray, "n band y x"]) -> Float[np.ndarray, " band"]:
    """Sky standard deviation per band: the median over images of 1.4826 MAD of the outermost pixels; 1 where that is 0.

    Pixels that are exactly 0 hold no data (stamps that reach beyond a scene) and do not count.
    """
    edge = np.ones(images.shape[2:], bool)
    width = min(EDGE, min(images.shape[2:]) // 4)
    edge[width : images.shape[2] - width, width : images.shape[3] - width] = False
    sigma = np.ones(images.shape[1])
    for band in range(images.shape[1]):
        found = []
        for sky in images[:, band][:, edge]:
            sky = sky[sky != 0]
            if len(sky):
                found.append(1.4826 * np.median(np.abs(sky - np.median(sky))))
        positive = [value for value in found if value > 0]
        sigma[band] = np.median(positive) if positive else 1.0
    return sigma


def default_labels(galaxies: GalaxySet) -> list[str]:
    """ "z = 0.42", the category, both, or nothing, for each galaxy."""
    redshifts = [f"z = {z:.2f}" if np.isfinite(z) else "" for z in galaxies.redshift]
    categories = [str(name) if str(name) not in ("nan", "None") else "" for name in galaxies.category]
    return [", ".join(filter(None, pair)) for pair in zip(redshifts, categories, strict=True)]


def mosaic(
    pictures: UInt8[np.ndarray, "n y x 3"], labels: Sequence[str], columns: int = 8, scale: int = 2, y_up: bool = True
) -> UInt8[np.ndarray, "h w 3"]:
    """Pictures in rows of `columns`, each enlarged `scale` times without smoothing, with its label underneath; white between them.

    `y_up` draws the first row of pixels at the bottom, as astronomers do; pictures that were photographs already have it at the top.
    """
    from PIL import Image, ImageDraw, ImageFont

    n, height, width = pictures.shape[:3]
    columns = max(1, min(columns, n))
    rows = -(-n // columns)
    gap, text = 4, 18 if any(labels) else 0
    cell = (height * scale + text + gap, width * scale + gap)
    canvas = Image.new("RGB", (columns * cell[1] + gap, rows * cell[0] + gap), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=12)
    for number in range(n):
        y, x = gap + number // columns * cell[0], gap + number % columns * cell[1]
        picture = np.repeat(np.repeat(pictures[number, :: -1 if y_up else 1], scale, axis=0), scale, axis=1)
        canvas.paste(Image.fromarray(np.ascontiguousarray(picture)), (x, y))
        label = labels[number] if number < len(labels) else ""
        while label and draw.textlength(label, font=font) > width * scale:
            label = label[:-2].rstrip(".") + "." if len(label) > 3 else ""
        draw.text((x, y + height * scale + 1), label, fill="black", font=font)
    return np.asarray(canvas)


def sheet(
    galaxies: GalaxySet,
    path: str | os.PathLike[str],
    columns: int = 8,
    labels: Sequence[str] | None = None,
    style: Style = "noise",
    scale: int = 2,
) -> None:
    """Write a labelled contact sheet of all galaxies of a (small) set as a PNG.

    Args:
        galaxies: those to show; all are read into memory.
        path: of the PNG.
        columns: galaxies in a row.
        labels: one a galaxy; by default redshift and category.
        style: see :func:`rgb`.
        scale: screen pixels for one image pixel.

    Raises:
        InputError: the set is empty, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> from hubbleflow.galaxies import GalaxySet
        >>> from hubbleflow.survey import Survey
        >>> sky = GalaxySet(np.ones((3, 1, 16, 16), np.float32), Survey.get("hsc-i"))
        >>> sheet(sky, tempfile.mkdtemp() + "/sheet.png")
    """
    from PIL import Image

    if not len(galaxies):
        raise InputError("a contact sheet needs at least one galaxy, got an empty set")
    pictures = rgb(np.asarray(galaxies.images[:]), galaxies.survey, style)
    array = mosaic(
        pictures,
        list(labels) if labels is not None else default_labels(galaxies),
        columns,
        scale,
        y_up=galaxies.survey.linear,
    )
    with atomic_path(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG")
