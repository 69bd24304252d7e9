"""A mock sky with known truth: galaxies whose brightness, colour, size and kind evolve with redshift, drawn as a survey would see them.

population   who lives there: redshift, magnitudes, colours, mass, size, bulge and disc
scene        what stands on each stamp: a target and its neighbours
psf, render  how the telescope sees it, in Fourier space
noise        how many photons it gets
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet, GalaxyWriter
from hubbleflow.simulate.noise import add_noise, check_survey
from hubbleflow.simulate.population import CATEGORIES
from hubbleflow.simulate.psf import Kolmogorov, Moffat, PSFImage
from hubbleflow.simulate.render import Components, Renderer
from hubbleflow.simulate.scene import BLOCK, draw_scene, truncated
from hubbleflow.survey import Survey

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = [
    "CATEGORIES",
    "Components",
    "Kolmogorov",
    "Moffat",
    "PSFImage",
    "Renderer",
    "add_noise",
    "effective_psf",
    "simulate",
]

_PSF_PIXELS = 41


def simulate(
    out: str | os.PathLike[str],
    n: int = 2000,
    seed: int = 1,
    survey: str | Survey = "hsc-wide",
    image_size: int = 64,
    batch_size: int = 64,
    progress: bool = True,
    noise: bool = True,
    neighbours: bool = True,
    device: str = "cpu",
) -> GalaxySet:
    """Simulate `n` galaxies of redshift 0.01-4 and stream them to the HDF5 file `out`.

    The images are linear flux in the survey's unit, with its pixels, its seeing (a Moffat profile of beta 2.5 per band, stored as
    `psf` with the pixel included), its sky noise and the source's own photon noise. Truth is in `true_*` columns: magnitudes
    (AB; of the population's HSC-like bands, whichever survey looks: no colour terms between filter systems), semi-major half-light radius
    of the total light (arcsec), flux-weighted Sersic index and axis ratio, bulge-to-total (i band), position angle (degrees from +x towards
    +y), offset of the centre (arcsec), mass (log solar; rough, 0.3 dex), inclination, distance (Mpc), lookback time (Gyr).

    Args:
        out: HDF5 file to write; it appears when it is whole.
        n: number of galaxies.
        seed: a galaxy depends on (seed, its number) only: not on n, not on `batch_size`.
        survey: a name (see `Survey.names`) or a `Survey` with linear flux.
        image_size: pixels on a side.
        batch_size: galaxies drawn at a time.
        progress: show a bar on stderr.
        noise: False for noiseless images.
        neighbours: False for one galaxy a stamp.
        device: where to render ("cpu", "cuda").

    Returns: the set, opened lazily from `out`.

    Raises:
        InputError: n, seed, image_size or batch_size out of range; a survey without flux, zero point, PSF or noise.

    Example:
        >>> import tempfile
        >>> galaxies = simulate(tempfile.mkdtemp() + "/mock.h5", n=4, progress=False)
        >>> galaxies.images.shape, float(galaxies.redshift.min()) > 0
        ((4, 5, 64, 64), True)
    """
    survey = Survey.get(survey) if isinstance(survey, str) else survey
    check_survey(survey)
    for name, value, least, most in (
        ("n", n, 1, 10**9),
        ("seed", seed, 0, 2**63),
        ("image_size", image_size, 8, 512),
        ("batch_size", batch_size, 1, 10**6),
    ):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
            raise InputError(f"{name} must be a whole number of at least {least} and at most {most:g}, but {value!r} was given.")
    assert survey.psf_fwhm_arcsec is not None and survey.pixel_scale_arcsec is not None  # check_survey has seen to it
    psf = Moffat(survey.psf_fwhm_arcsec)
    renderer = Renderer(image_size, survey.pixel_scale_arcsec, psf, device)
    provenance = {"command": "simulate", "seed": int(seed), "n": int(n), "survey": survey.name, "image_size": int(image_size)}
    provenance |= {"source": "hubbleflow mock sky", "psf": f"Moffat, beta {psf.beta:g}", "noise": noise, "neighbours": neighbours}
    shown = (TextColumn("simulate"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with (
        Progress(*shown, console=Console(stderr=True), disable=not progress) as bar,
        GalaxyWriter(Path(out), survey, provenance, effective_psf(renderer)) as writer,
    ):
        task = bar.add_task("simulate", total=n)
        for block in range(-(-n // BLOCK)):
            first = block * BLOCK
            scene = truncated(draw_scene(seed, block, survey, image_size, neighbours), min(BLOCK, n - first))
            truth = scene.columns(survey, first)
            for start in range(0, len(scene.components), batch_size):
                rows = slice(start, start + batch_size)
                images = renderer(scene.components[rows]).cpu().numpy()
                if noise:
                    add_noise(images, survey, seed, first + np.arange(len(scene.components))[rows])
                writer.append(images, {name: value[rows] for name, value in truth.items()})
                bar.advance(task, len(images))
    return GalaxySet.open(out)


def effective_psf(renderer: Renderer, size: int = _PSF_PIXELS) -> Float[np.ndarray, "band y x"]:
    """What a point source of unit flux looks like to a renderer: the PSF with the pixel in it, (band, size, size), sum near 1."""
    point = Renderer(size, renderer.pixel_scale_arcsec, renderer.psf)
    one = torch.ones(1, 1)
    source = Components(0.5 * one, 1e-4 * one, one, 0 * one, 0 * one, 0 * one, torch.ones(1, 1, len(renderer.psf.fwhm_arcsec)))
    return point(source)[0].numpy()
