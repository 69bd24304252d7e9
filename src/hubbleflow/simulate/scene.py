"""What stands on each stamp: a target with its structure, and the neighbours that happen to be there.

Galaxies are drawn in blocks of `BLOCK`, each from random streams of its own (`streams`), so that blocks can be drawn by different workers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hubbleflow.sersic import N_MAX, N_MIN
from hubbleflow.simulate.blobs import Blobs
from hubbleflow.simulate.cosmology import lookback_time, luminosity_distance
from hubbleflow.simulate.population import Galaxies, draw_galaxies, draw_neighbours
from hubbleflow.simulate.render import Components
from hubbleflow.simulate.spectra import BANDS
from hubbleflow.simulate.streams import Stream
from hubbleflow.simulate.structure import Structure, decorate

if TYPE_CHECKING:
    from hubbleflow.survey import Survey

BLOCK = 256
_MARGIN_ARCSEC = 2.0  # neighbours stand up to this far outside the stamp: their light reaches in
_CENTRING_ARCSEC = 0.04  # scatter of a target's centre about the stamp's: catalogue positions fall between pixels


@dataclass(frozen=True)
class Scene:
    """Stamps: the table of truth, one array (n,) a column, and all that is to be drawn."""

    columns: dict[str, np.ndarray]
    components: Components
    blobs: list[Blobs]

    def __len__(self) -> int:
        return len(self.components)

    def first(self, count: int) -> Scene:
        """The first `count` stamps."""
        rows = slice(count)
        return Scene({name: v[rows] for name, v in self.columns.items()}, self.components[rows], [family[rows] for family in self.blobs])


def draw_scene(seed: int, block: int, survey: Survey, image_size: int, neighbours: bool = True, structure: bool = True) -> Scene:
    """The `BLOCK` stamps number `block` of this seed."""
    assert survey.pixel_scale_arcsec is not None  # checks.check_survey comes first
    rng = Stream.POPULATION.generator(seed, block)
    targets = draw_galaxies(rng, BLOCK)
    x, y = np.clip(_CENTRING_ARCSEC * rng.standard_normal((2, BLOCK)), -0.2, 0.2)
    bands = [BANDS.index(band) for band in survey.bands]
    total, bulge = survey.flux(targets.mag)[:, bands], survey.flux(targets.bulge_mag)[:, bands]
    if structure:
        drawn = decorate(Stream.STRUCTURE.generator(seed, block), targets, x, y, total, bulge, survey.bands)
    else:
        drawn = _plain(targets, x, y, total, bulge)
    parts, count = drawn.parts, np.zeros(BLOCK, np.int64)
    if neighbours:
        side = image_size * survey.pixel_scale_arcsec + 2 * _MARGIN_ARCSEC
        stamp, dx, dy, others = draw_neighbours(rng, BLOCK, side)
        place = np.arange(len(stamp)) - np.searchsorted(stamp, stamp)  # running number of a neighbour on its stamp
        # one Sersic profile is enough for a galaxy at the edge of the picture
        values = [others.sersic_index, others.radius, others.axis_ratio, others.position_angle, dx, dy, survey.flux(others.mag)[:, bands]]
        parts = _appended(parts, stamp, place, values)
        count = np.bincount(stamp, minlength=BLOCK)
    tensors = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in parts.items()}
    columns = truth(targets, survey) | drawn.columns | {"true_x": x, "true_y": y, "true_neighbours": count}
    return Scene(float32(columns), Components(**tensors), drawn.blobs)


def truth(galaxies: Galaxies, survey: Survey) -> dict[str, np.ndarray]:
    """The table of truth of drawn galaxies."""
    g = galaxies
    columns: dict[str, np.ndarray] = {"redshift": g.redshift, "category": g.kind}
    columns |= {f"true_{band}_mag": g.mag[:, j] for j, band in enumerate(BANDS) if band != "u" or "u" in survey.bands}
    return columns | {
        "true_half_light_radius": g.radius,
        "true_sersic_index": g.sersic_index,
        "true_axis_ratio": g.axis_ratio,
        "true_position_angle": g.position_angle,
        "true_cos_inclination": g.cos_i,
        "true_bulge_to_total": g.bulge_to_total,
        "true_bulge_sersic_index": g.bulge_n,
        "true_bulge_half_light_radius": g.bulge_radius,
        "true_disc_half_light_radius": g.disc_radius,
        "true_spectral_type": g.spectral_type,
        "true_log_mass": g.log_mass,
        "true_log_sfr": g.log_sfr,
        "true_quiescent": g.quiescent.astype(np.uint8),
        "true_rest_u_r": g.rest_colour("u", "r"),
        "true_rest_g_i": g.rest_colour("g", "i"),
        "true_luminosity_distance": luminosity_distance(g.redshift),
        "true_lookback_time": lookback_time(g.redshift),
    }


def float32(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns as they are stored: no double precision."""
    return {name: v.astype(np.float32) if v.dtype == np.float64 else v for name, v in columns.items()}


def _plain(galaxies: Galaxies, x: np.ndarray, y: np.ndarray, flux: np.ndarray, bulge_flux: np.ndarray) -> Structure:
    """A bulge and a disc, nothing else."""
    g = galaxies
    pairs = ((g.bulge_n, g.disc_n), (g.bulge_radius, g.disc_radius), (g.bulge_q, g.disc_q), 2 * (g.position_angle,), (x, x), (y, y))
    names = ("sersic_index", "half_light_radius", "axis_ratio", "position_angle", "x", "y")
    parts = {name: np.stack(pair, axis=1) for name, pair in zip(names, pairs, strict=True)}
    parts["sersic_index"] = np.clip(parts["sersic_index"], N_MIN, N_MAX)
    return Structure(parts | {"flux": np.stack([bulge_flux, flux - bulge_flux], axis=1)}, [], {}, np.zeros_like(flux))


def _appended(parts: dict[str, np.ndarray], stamp: np.ndarray, place: np.ndarray, values: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The components with one more for each neighbour; unused slots keep harmless values and no flux."""
    longer, slots = {}, int(place.max(initial=-1)) + 1
    for (name, part), value in zip(parts.items(), values, strict=True):
        harmless = np.ones if name in ("sersic_index", "half_light_radius", "axis_ratio") else np.zeros
        more = harmless((len(part), slots, *part.shape[2:]))
        more[stamp, place] = np.clip(value, N_MIN, N_MAX) if name == "sersic_index" else value
        longer[name] = np.concatenate([part, more], axis=1)
    return longer
