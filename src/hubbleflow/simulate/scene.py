"""What stands on each stamp: a target's bulge and disc, and the neighbours that happen to be there.

Galaxies are drawn in blocks of `BLOCK`, each from a random stream of its own, (seed, block): galaxy 1,000 of a seed is the same in a
set of 2,000 and in one of a million, and blocks can be drawn by different workers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from hubbleflow.sersic import N_MAX, N_MIN
from hubbleflow.simulate.population import (
    BANDS,
    Galaxies,
    draw_galaxies,
    draw_neighbours,
    lookback_time,
    luminosity_distance,
)
from hubbleflow.simulate.render import Components

if TYPE_CHECKING:
    from hubbleflow.survey import Survey

BLOCK = 256
_MARGIN_ARCSEC = 2.0  # neighbours stand up to this far outside the stamp: their light reaches in
_MAX_NEIGHBOURS = 8
_CENTRING_ARCSEC = 0.04  # scatter of a target's centre about the stamp's: catalogue positions fall between pixels
_STREAM = 0  # see noise.py, which uses 1


@dataclass(frozen=True)
class Scene:
    """A block of stamps: the targets, and all components to draw."""

    galaxies: Galaxies
    components: Components
    x: np.ndarray
    y: np.ndarray
    neighbours: np.ndarray  # number drawn on or near each stamp

    def columns(self, survey: Survey, first: int) -> dict[str, np.ndarray]:
        """The table of truth, one array a column; `first` is the running number of the block's first galaxy."""
        g = self.galaxies
        columns: dict[str, np.ndarray] = {
            "object_id": np.arange(first, first + len(g), dtype=np.int64),
            "redshift": g.redshift.astype(np.float32),
            "category": g.category,
        }
        columns |= {f"true_{band}_mag": g.mag[:, j] for j, band in enumerate(BANDS) if band != "u" or "u" in survey.bands}
        columns |= {
            "true_half_light_radius": g.radius,
            "true_sersic_index": g.sersic_index,
            "true_bulge_to_total": g.bulge_to_total,
            "true_bulge_sersic_index": g.bulge_n,
            "true_bulge_half_light_radius": g.bulge_radius,
            "true_disc_half_light_radius": g.disc_radius,
            "true_axis_ratio": g.axis_ratio,
            "true_position_angle": g.position_angle,
            "true_cos_inclination": g.cos_i,
            "true_log_mass": g.log_mass,
            "true_quiescent": g.red.astype(np.uint8),
            "true_luminosity_distance": luminosity_distance(g.redshift),
            "true_lookback_time": lookback_time(g.redshift),
            "true_x": self.x,
            "true_y": self.y,
            "true_neighbours": self.neighbours,
        }
        return {name: v.astype(np.float32) if v.dtype == np.float64 else v for name, v in columns.items()}


def draw_scene(seed: int, block: int, survey: Survey, image_size: int, neighbours: bool = True) -> Scene:
    """The `BLOCK` stamps number `block` of this seed."""
    assert survey.pixel_scale_arcsec is not None  # noise.check_survey comes first
    rng = np.random.default_rng([seed, _STREAM, block])
    targets = draw_galaxies(rng, BLOCK)
    x, y = np.clip(_CENTRING_ARCSEC * rng.standard_normal((2, BLOCK)), -0.2, 0.2)
    bands = [BANDS.index(band) for band in survey.bands]
    total, bulge = survey.flux(targets.mag)[:, bands], survey.flux(targets.bulge_mag)[:, bands]
    shape = (BLOCK, 2 + _MAX_NEIGHBOURS)
    # in the order of the fields of Components; unused slots keep harmless values and no flux
    parts = {name: np.ones(shape) for name in ("sersic_index", "half_light_radius", "axis_ratio")}
    parts |= {name: np.zeros(shape) for name in ("position_angle", "x", "y")}
    flux = np.zeros((*shape, len(bands)))

    def put(row: np.ndarray, slot: np.ndarray | int, values: tuple[np.ndarray | float, ...], light: np.ndarray) -> None:
        for part, value in zip(parts.values(), values, strict=True):
            part[row, slot] = value
        flux[row, slot] = light

    every = np.arange(BLOCK)
    put(every, 0, (targets.bulge_n, targets.bulge_radius, targets.bulge_q, targets.position_angle, x, y), bulge)
    put(every, 1, (1.0, targets.disc_radius, targets.disc_q, targets.position_angle, x, y), total - bulge)
    count = np.zeros(BLOCK, np.int64)
    if neighbours:
        side = image_size * survey.pixel_scale_arcsec + 2 * _MARGIN_ARCSEC
        stamp, dx, dy, others = draw_neighbours(rng, BLOCK, side)
        place = np.arange(len(stamp)) - np.searchsorted(stamp, stamp)  # running number of a neighbour on its stamp
        keep = place < _MAX_NEIGHBOURS
        # one Sersic profile is enough for a galaxy at the edge of the picture
        values = (others.sersic_index, others.radius, others.axis_ratio, others.position_angle, dx, dy)
        put(stamp[keep], 2 + place[keep], tuple(v[keep] for v in values), survey.flux(others.mag)[:, bands][keep])
        count = np.bincount(stamp[keep], minlength=BLOCK)
    parts["sersic_index"] = np.clip(parts["sersic_index"], N_MIN, N_MAX)
    tensors = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in parts.items()}
    return Scene(targets, Components(**tensors, flux=torch.as_tensor(flux, dtype=torch.float32)), x, y, count)


def truncated(scene: Scene, count: int) -> Scene:
    """The first `count` stamps of a block."""
    fields = {name: value[:count] for name, value in vars(scene.galaxies).items()}
    return replace(
        scene,
        galaxies=Galaxies(**fields),
        components=scene.components[:count],
        x=scene.x[:count],
        y=scene.y[:count],
        neighbours=scene.neighbours[:count],
    )
