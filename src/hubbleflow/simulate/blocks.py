"""A block of the mock sky from its description to pixels: the unit of work that any process, here or on a cluster, can do.

A `Task` says everything that a block's pixels depend on, so the same task gives the same bytes wherever and whenever it is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hubbleflow.simulate.checks import check_device
from hubbleflow.simulate.noise import add_noise
from hubbleflow.simulate.psf import Moffat
from hubbleflow.simulate.render import Components, Renderer
from hubbleflow.simulate.scene import BLOCK, Scene, draw_scene
from hubbleflow.simulate.seeing import draw_seeing, median_psf
from hubbleflow.simulate.stars import add_stars
from hubbleflow.simulate.streams import Stream

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from hubbleflow.simulate.catalogue import Catalogue
    from hubbleflow.survey import Survey

PSF_PIXELS = 41


@dataclass(frozen=True)
class Look:
    """How the sky is looked at, and what of it is drawn.

    Attributes:
        survey: bands, pixels, seeing, depth.
        image_size: pixels on a side.
        noise: photons' noise and what is left of the sky.
        neighbours: other galaxies that happen to stand there.
        structure: bars, arms, knots, dust, companions; False for bulge and disc alone.
        seeing: "varied" from pointing to pointing (a block of galaxies is one), or the survey's "median" for all.
        bright_stars: on a few stamps a bright star, saturated, with a mask.
    """

    survey: Survey
    image_size: int = 64
    noise: bool = True
    neighbours: bool = True
    structure: bool = True
    seeing: str = "varied"
    bright_stars: bool = False


@dataclass(frozen=True)
class Task:
    """Block number `block` of `seed`, its first `count` galaxies; from a catalogue's rows where one is given."""

    seed: int
    block: int
    count: int
    look: Look
    catalogue: Catalogue | None = None
    batch_size: int = BLOCK
    device: str = "cpu"


@dataclass(frozen=True)
class Drawn:
    """A block's stamps: images, table, the pointing's effective PSF, and a mask where bright stars were asked for."""

    images: Float[np.ndarray, "n band y x"]
    columns: dict[str, np.ndarray]
    psf: Float[np.ndarray, "band v u"]
    mask: UInt8[np.ndarray, "n band y x"] | None


def tasks(seed: int, n: int, look: Look, catalogue: Catalogue | None = None, batch_size: int = BLOCK, device: str = "cpu") -> list[Task]:
    """The blocks that `n` galaxies are made of."""
    found = []
    for block in range(-(-n // BLOCK)):
        first, count = block * BLOCK, min(BLOCK, n - block * BLOCK)
        rows = catalogue[first : first + count] if catalogue is not None else None
        found.append(Task(seed, block, count, look, rows, batch_size, device))
    return found


def draw_block(task: Task) -> Drawn:
    """Draw one block.

    Raises:
        InputError: this machine has no such device.
    """
    check_device(task.device)
    look, survey, first = task.look, task.look.survey, task.block * BLOCK
    assert survey.pixel_scale_arcsec is not None  # checks.check_survey has seen to it
    indices = first + np.arange(task.count)
    psf = pointing_psf(task.seed, task.block, look)
    renderer = Renderer(look.image_size, survey.pixel_scale_arcsec, psf, task.device)
    scene = _scene(task)
    images = np.empty((task.count, len(survey.bands), look.image_size, look.image_size), np.float32)
    for start in range(0, task.count, task.batch_size):
        rows = slice(start, start + task.batch_size)
        images[rows] = renderer(scene.components[rows], [family[rows] for family in scene.blobs]).cpu().numpy()
    columns = {"object_id": indices.astype(np.int64)} | scene.columns
    columns |= {
        f"true_{band}_seeing": np.full(task.count, fwhm, np.float32) for band, fwhm in zip(survey.bands, psf.fwhm_arcsec, strict=True)
    }
    mask = None
    if look.bright_stars:
        mask = np.zeros(images.shape, np.uint8)
        columns["true_star_i_mag"] = add_stars(images, mask, survey, task.seed, indices, psf).astype(np.float32)
    if look.noise:
        add_noise(images, survey, task.seed, indices)
    return Drawn(images, columns, effective_psf(renderer), mask)


def pointing_psf(seed: int, block: int, look: Look) -> Moffat:
    """The PSF that a block's galaxies share."""
    if look.seeing == "median":
        return median_psf(look.survey)
    return Moffat(*draw_seeing(Stream.SEEING.generator(seed, block), look.survey))


def effective_psf(renderer: Renderer, size: int = PSF_PIXELS) -> Float[np.ndarray, "band y x"]:
    """What a point source of unit flux looks like to a renderer: the PSF with the pixel in it, (band, size, size), sum near 1."""
    point = Renderer(size, renderer.pixel_scale_arcsec, renderer.psf)
    one = torch.ones(1, 1)
    source = Components(0.5 * one, 1e-4 * one, one, 0 * one, 0 * one, 0 * one, torch.ones(1, 1, len(renderer.psf.fwhm_arcsec)))
    return point(source)[0].numpy()


def _scene(task: Task) -> Scene:
    look = task.look
    if task.catalogue is not None:
        stream = Stream.STRUCTURE.generator(task.seed, task.block) if look.structure else None
        return task.catalogue.scene(look.survey, stream)
    return draw_scene(task.seed, task.block, look.survey, look.image_size, look.neighbours, look.structure).first(task.count)
