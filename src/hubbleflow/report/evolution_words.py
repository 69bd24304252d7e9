"""What is said of a track in words: how smoothly it goes, and whether it goes as the population does."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from hubbleflow.movies import quantities, smoothness, trends

if TYPE_CHECKING:
    from hubbleflow.movies import Change, Population, Quantity, Track, Trend


def summary(track: Track, population: Population | None = None) -> str:
    """Some lines for the terminal.

    Example:
        >>> import numpy as np
        >>> from hubbleflow.movies import Track
        >>> from hubbleflow.survey import Survey
        >>> images = np.random.default_rng(0).normal(0, 1, (2, 2, 1, 16, 16)).astype(np.float32)
        >>> z = np.array([1.0, 0.2])
        >>> tracks = {"i_mag": np.array([[22, 20.5], [21, 20.0]])}
        >>> two = Track(images, z, np.array([7.9, 2.5]), (1, 2), ("", ""), Survey.get("hsc-i"), tracks, np.ones(1))
        >>> print(summary(two).splitlines()[-1])
        i magnitude (mag)                   1.5         1.25  seed 1, z = 1.000 to 0.200
    """
    smooth, n = smoothness(track), len(track.seeds)
    ends = [f"z = {track.redshift[k]:.3g} ({track.lookback_time_gyr[k]:.2f} Gyr ago)" for k in (0, -1)]
    lines = [
        f"{n} {'galaxy (seed' if n == 1 else 'galaxies (seeds'} {', '.join(map(str, track.seeds))}) in {track.frames} frames "
        f"from {ends[0]} to {ends[1]}; "
        f"{100 * smooth.untrusted:.1f} % of the measurements are not trusted",
        "",
        f"{'from one frame to the next':28}{'largest':>10}{'typical':>13}",
        _change("pixels / galaxy's own light", smooth.light),
        _change("pixels / sky noise", smooth.sky),
        *(_change(quantity.axis, smooth.measured[quantity.name]) for quantity in _once(track) if quantity.name in smooth.measured),
    ]
    if population is None:
        return "\n".join(lines)
    found = {trend.quantity.name: trend for trend in trends(track, population)}
    lines += [
        "",
        f"the tracks' median against {population.words}: rms difference over the bins, in errors, and change a Gyr of lookback time",
        f"{'':28}{'rms':>6}{'tracks':>20}{'population':>20}{'difference':>14}",
        *(_trend(found[quantity.name]) for quantity in _once(track) if quantity.name in found),
    ]
    return "\n".join(lines)


def _once(track: Track) -> list[Quantity]:
    """Quantities without the size in pixels where it is known in arcsec."""
    known = track.survey.pixel_scale_arcsec is not None
    return [quantity for quantity in quantities(track.survey) if not (known and quantity.unit == "pix")]


def _change(what: str, change: Change) -> str:
    where = f"seed {change.seed}, z = {change.redshifts[0]:.3f} to {change.redshifts[1]:.3f}"
    return f"{what:28}{change.value:>10.3g}{change.typical:>13.3g}  {where if change.value == change.value else ''}".rstrip()


def _trend(trend: Trend) -> str:
    tracks, population = (
        f"{slope:+.4f}" + (f" ± {error:.4f}" if isfinite(error) else " " * 9)
        for slope, error in ((trend.track_slope, trend.track_slope_error), (trend.population_slope, trend.population_slope_error))
    )
    difference = f"{trend.slope_deviation:.1f} sigma" if isfinite(trend.slope_deviation) else "-"
    return f"{trend.quantity.axis:28}{trend.rms_deviation:>6.2f}{tracks:>20}{population:>20}{difference:>14}"
