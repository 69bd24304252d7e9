"""A track: some galaxies, each one noise seed, at a row of redshifts, with what was measured of every image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.measure import measure
from hubbleflow.movies.drawing import Drawing
from hubbleflow.movies.quantities import RECIPE, quantity_values
from hubbleflow.movies.redshifts import lookback_time_gyr

if TYPE_CHECKING:
    from jaxtyping import Float, Float32

    from hubbleflow.survey import Survey


@dataclass(frozen=True)
class Track:
    """Galaxies through redshift.

    Attributes:
        images: (seed, frame, band, y, x) linear flux in the survey's unit.
        redshift: (frame,).
        lookback_time_gyr: (frame,), Planck 2018.
        seeds: one a galaxy.
        kinds: one a galaxy; "" where none was asked for.
        survey: bands, pixels, units.
        measured: quantity -> (seed, frame), NaN where the measurement is not trusted (:mod:`hubbleflow.movies.quantities`).
        noise: (band,) sky noise of a pixel, the median over all images; NaN where there is none.
        provenance: JSON-able: model, sampler and the rest.
        drawing: how the images were drawn, where a generator drew them.
    """

    images: Float32[np.ndarray, "seed frame band y x"]
    redshift: Float[np.ndarray, " frame"]
    lookback_time_gyr: Float[np.ndarray, " frame"]
    seeds: tuple[int, ...]
    kinds: tuple[str, ...]
    survey: Survey
    measured: Mapping[str, Float[np.ndarray, "seed frame"]]
    noise: Float[np.ndarray, " band"]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    drawing: Drawing = field(default_factory=Drawing)

    @classmethod
    def of(
        cls,
        images: Float32[np.ndarray, "seed frame band y x"],
        redshift: Float[np.ndarray, " frame"],
        seeds: tuple[int, ...],
        survey: Survey,
        kinds: tuple[str, ...] | None = None,
        provenance: Mapping[str, Any] | None = None,
        drawing: Drawing | None = None,
        progress: bool = False,
    ) -> Track:
        """Measure images (with a progress bar, if `progress`) and put them together.

        Raises:
            InputError: there are not as many images as seeds, kinds and redshifts.

        Example:
            >>> from hubbleflow.survey import Survey
            >>> y, x = np.mgrid[:32, :32] - 15.5
            >>> noise = np.random.default_rng(0).normal(0, 0.1, (1, 2, 1, 32, 32))
            >>> images = (noise + 10 * np.exp(-(x**2 + y**2) / 18)).astype(np.float32)
            >>> track = Track.of(images, np.array([0.5, 0.4]), (1,), Survey.get("hsc-i"))
            >>> track.measured["i_mag"].round(1).tolist(), track.noise.round(1).tolist()
            ([[20.1, 20.1]], [0.1])
        """
        kinds = kinds or ("",) * len(seeds)
        if images.ndim != 5 or images.shape[:2] != (len(seeds), len(redshift)) or len(kinds) != len(seeds):
            raise InputError(
                f"images have shape {images.shape}, expected ({len(seeds)}, {len(redshift)}, band, y, x) for {len(seeds)} seeds "
                f"of {len(kinds)} kinds at {len(redshift)} redshifts"
            )
        z = np.tile(np.asarray(redshift, float), len(seeds))
        found = measure(GalaxySet(images.reshape(-1, *images.shape[2:]), survey), progress=progress, recipe=RECIPE).columns
        values = quantity_values(found, z, survey)
        noise = [found[f"{band}_noise"][np.isfinite(found[f"{band}_noise"])] for band in survey.bands]
        return cls(
            images,
            np.asarray(redshift, float),
            lookback_time_gyr(np.asarray(redshift, float)),
            tuple(seeds),
            kinds,
            survey,
            {name: value.reshape(images.shape[:2]) for name, value in values.items()},
            np.array([np.median(values) if len(values) else np.nan for values in noise]),
            provenance or {},
            drawing or Drawing(),
        )

    @property
    def frames(self) -> int:
        """How many there are."""
        return len(self.redshift)

    def title(self, frame: int) -> str:
        """ "z = 1.00, 7.9 Gyr ago"."""
        return f"z = {self.redshift[frame]:.2f}, {self.lookback_time_gyr[frame]:.1f} Gyr ago"
