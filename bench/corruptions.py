"""Ways in which generated galaxies go wrong, done on purpose to the mock sky: what the metrics are tried on.

Each corruption is done where it happens: sizes, Sersic indices and ellipticities to what is drawn, colours and wings to the light before
there is noise, noise to the noise, redshifts to the table. Everything else is as in a set of the mock sky that was left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import affine_transform, convolve1d

from hubbleflow.galaxies import GalaxySet
from hubbleflow.sersic import N_MAX, N_MIN
from hubbleflow.simulate.blocks import Look, draw_block, pointing_psf, tasks
from hubbleflow.simulate.noise import add_noise
from hubbleflow.simulate.render import Renderer
from hubbleflow.simulate.scene import BLOCK, Scene, draw_scene
from hubbleflow.survey import Survey

SURVEY = Survey.get("hsc-wide")
IMAGE_SIZE = 64
STRETCH = 1.05
SHARE = 0.1  # of galaxies duplicated, copied, or given another's redshift
MISSING = "Edge-on with Bulge"
WING_RADII = 2.0  # half-light radii beyond which faint wings are cut
CORRELATING = np.array([0.25, 1.0, 0.25])  # along x and y


@dataclass(frozen=True)
class Corruption:
    """What is done, and at which stage.

    Attributes:
        name: for people.
        scene: to what is drawn.
        light: to the images before there is noise, with the table of truth.
        noise: to the noise alone.
        table: to the finished set, given the training set.
    """

    name: str
    scene: Callable[[Scene], Scene] | None = None
    light: Callable[[np.ndarray, dict[str, np.ndarray]], np.ndarray] | None = None
    noise: Callable[[np.ndarray], np.ndarray] | None = None
    table: Callable[[GalaxySet, GalaxySet], GalaxySet] | None = None


def mock(n: int, seed: int, corruption: Corruption | None = None) -> GalaxySet:
    """n galaxies of the mock sky, corrupted or not, in memory, with nothing but redshift, kind and number in the table; what is done to a
    finished set (`Corruption.table`) is left to the caller.

    What a generator does not bring is left out (PSF, truth), so that both sides of a comparison are measured alike.
    """
    what = corruption or Corruption("none")
    look = Look(SURVEY, IMAGE_SIZE)
    images, tables = [], []
    for task in tasks(seed, n, look):
        if what.scene is None and what.light is None and what.noise is None:
            drawn = draw_block(task)
            images.append(drawn.images)
            tables.append(drawn.columns)
            continue
        rows = task.block * BLOCK + np.arange(task.count)
        scene = draw_scene(seed, task.block, SURVEY, IMAGE_SIZE).first(task.count)
        if what.scene is not None:
            scene = what.scene(scene)
        light = Renderer(IMAGE_SIZE, SURVEY.pixel_scale_arcsec or 1.0, pointing_psf(seed, task.block, look))(
            scene.components, scene.blobs
        ).numpy()
        if what.light is not None:
            light = what.light(light, scene.columns)
        noise = add_noise(light.copy(), SURVEY, seed, rows) - light
        images.append(light + (noise if what.noise is None else what.noise(noise)))
        tables.append({"object_id": rows} | scene.columns)
    columns = {name: np.concatenate([table[name] for table in tables]) for name in ("object_id", "redshift", "category")}
    return GalaxySet(np.concatenate(images), SURVEY, columns)


# -- to what is drawn ------------------------------------------------------------------------------------------------------------
def larger(scene: Scene) -> Scene:
    """Sizes x 1.05, arms and knots included."""
    parts = replace(scene.components, half_light_radius=STRETCH * scene.components.half_light_radius)
    return replace(
        scene, components=parts, blobs=[replace(b, x=STRETCH * b.x, y=STRETCH * b.y, sigma=STRETCH * b.sigma) for b in scene.blobs]
    )


def rounder(scene: Scene) -> Scene:
    """Ellipticities x 0.8."""
    return replace(scene, components=replace(scene.components, axis_ratio=1 - 0.8 * (1 - scene.components.axis_ratio)))


def steeper(scene: Scene) -> Scene:
    """Sersic indices x 1.2."""
    return replace(scene, components=replace(scene.components, sersic_index=(1.2 * scene.components.sersic_index).clip(N_MIN, N_MAX)))


# -- to the light ----------------------------------------------------------------------------------------------------------------
def stretched(light: np.ndarray, _: dict[str, np.ndarray]) -> np.ndarray:
    """Seen 1.05 times larger, seeing included, with the same flux: as if the pixels were smaller than is said."""
    middle = (IMAGE_SIZE - 1) / 2
    matrix, offset = np.full(2, 1 / STRETCH), np.full(2, middle * (1 - 1 / STRETCH))
    planes = light.reshape(-1, IMAGE_SIZE, IMAGE_SIZE)
    for plane in planes:
        plane[:] = affine_transform(plane, matrix, offset, order=3, mode="nearest") / STRETCH**2
    return light


def redder(light: np.ndarray, _: dict[str, np.ndarray]) -> np.ndarray:
    """r brighter by 0.05 mag."""
    light[:, SURVEY.bands.index("r")] *= 10 ** (0.4 * 0.05)
    return light


def swapped(light: np.ndarray, _: dict[str, np.ndarray]) -> np.ndarray:
    """r and i swapped."""
    r, i = SURVEY.bands.index("r"), SURVEY.bands.index("i")
    light[:, [r, i]] = light[:, [i, r]]
    return light


def without_wings(light: np.ndarray, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Nothing beyond two half-light radii (and the seeing) where there is less than the sky's sigma."""
    assert SURVEY.noise is not None and SURVEY.psf_fwhm_arcsec is not None and SURVEY.pixel_scale_arcsec is not None
    y, x = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE] - (IMAGE_SIZE - 1) / 2
    distance = SURVEY.pixel_scale_arcsec * np.hypot(x, y)
    for band, (sigma, fwhm) in enumerate(zip(SURVEY.noise, SURVEY.psf_fwhm_arcsec, strict=True)):
        radius = WING_RADII * np.hypot(columns["true_half_light_radius"], fwhm / 2)
        light[:, band] *= ~((light[:, band] < sigma) & (distance > radius[:, None, None]))
    return light


# -- to the noise ----------------------------------------------------------------------------------------------------------------
def noisier(noise: np.ndarray) -> np.ndarray:
    """Noise x 1.1."""
    return 1.1 * noise


def correlated(noise: np.ndarray) -> np.ndarray:
    """Noise that neighbouring pixels share, as strong as before."""
    kernel = CORRELATING / np.sqrt((CORRELATING**2).sum())
    return convolve1d(convolve1d(noise, kernel, axis=-1, mode="wrap"), kernel, axis=-2, mode="wrap")


# -- to the set ------------------------------------------------------------------------------------------------------------------
def _some(n: int) -> np.ndarray:
    return np.random.default_rng(5).permutation(n)[: round(SHARE * n)]


def relabelled(galaxies: GalaxySet, _: GalaxySet) -> GalaxySet:
    """A tenth of the redshifts shuffled among themselves."""
    rows, redshift = np.sort(_some(len(galaxies))), galaxies.redshift.copy()
    redshift[rows] = redshift[np.random.default_rng(6).permutation(rows)]
    return GalaxySet(galaxies.images, SURVEY, galaxies.columns | {"redshift": redshift})


def without_a_class(galaxies: GalaxySet, _: GalaxySet) -> GalaxySet:
    """No edge-on discs with a bulge."""
    return galaxies[np.flatnonzero(galaxies.category != MISSING)]


def with_twins(galaxies: GalaxySet, _: GalaxySet) -> GalaxySet:
    """A tenth of the galaxies are others of the set once more, turned."""
    rows = _some(len(galaxies))
    others = np.setdiff1d(np.arange(len(galaxies)), rows)[: len(rows)]
    images, columns = np.array(galaxies.images[:]), {name: np.array(v) for name, v in galaxies.columns.items()}
    images[rows] = np.rot90(images[others], axes=(2, 3))
    for name in ("redshift", "category"):
        columns[name][rows] = columns[name][others]
    return GalaxySet(images, SURVEY, columns)


def with_copies(galaxies: GalaxySet, training: GalaxySet) -> GalaxySet:
    """A tenth of the galaxies are the training set's, turned."""
    rows = _some(len(galaxies))
    images, columns = np.array(galaxies.images[:]), {name: np.array(v) for name, v in galaxies.columns.items()}
    images[rows] = np.rot90(np.asarray(training.images[: len(rows)]), axes=(2, 3))
    for name in ("redshift", "category"):
        columns[name][rows] = training.columns[name][: len(rows)]
    return GalaxySet(images, SURVEY, columns)


CORRUPTIONS = (
    Corruption("sizes x 1.05", light=stretched),
    Corruption("true sizes x 1.05, before the seeing", scene=larger),
    Corruption("noise x 1.1", noise=noisier),
    Corruption("correlated noise", noise=correlated),
    Corruption("r brighter by 0.05 mag", light=redder),
    Corruption("r and i swapped", light=swapped),
    Corruption("ellipticities x 0.8", scene=rounder),
    Corruption("Sersic n x 1.2", scene=steeper),
    Corruption("10 % of redshifts shuffled", table=relabelled),
    Corruption(f"no {MISSING}", table=without_a_class),
    Corruption("10 % duplicates", table=with_twins),
    Corruption("10 % copied from training", table=with_copies),
    Corruption("faint wings cut", light=without_wings),
)
