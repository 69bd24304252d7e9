"""A track as a movie: its galaxies above, what was measured of them below, and a marker that shows where the movie is.

Every galaxy has a colour and a marker of its own (told apart by every kind of colour vision, and without colour by the marker), which
stand beside its name and move along its track. Behind the tracks: the population's median and its 16th to 84th percentile, and the median
of the tracks. All pictures are on one scale (:func:`hubbleflow.report.colour.rgb`), so that a galaxy fades as it does in the sky.

What moves is drawn over what does not (blitting), which is drawn once: a frame costs a tenth of a whole figure.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hubbleflow.errors import InputError
from hubbleflow.movies import check_movie_path, lookback_time_gyr, quantities, write_cube, write_film
from hubbleflow.report.colour import rgb
from hubbleflow.report.drawing import STYLE

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    from hubbleflow.movies import Population, Quantity, Track
    from hubbleflow.survey import Survey

WIDTH, HEIGHT, DPI = 1280, 720, 100  # pixels
GALLERY = (840, 424)  # width and height that the galaxies may take
MARGIN, GAP, LABEL = 16, 10, 20  # pixels: around the frame, between galaxies, under each for its name
PLOTS = (66, 150, 62)  # pixels: height of the plots' lower edge and their own, and width of what stands left of each
SMALLEST = 40  # pixels of a galaxy's panel
SEED_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#332288", "#7f7f00")  # Okabe & Ito 2008; Tol 2021
SEED_MARKERS = "os^DvPX*"
TICKS = (1.0, 0.5, 2.0, 0.2, 0.1, 3.0, 4.0, 6.0, 0.3, 1.5, 0.7, 0.05, 0.02)  # redshifts to write on an axis, the most wanted first
BAND, MIDDLE = "#c8c8c8", "#707070"  # the population's spread and median
MOVIE: Any = STYLE | {"figure.facecolor": "white", "axes.facecolor": "white", "font.size": 8, "axes.spines.right": True}


def write_evolution(
    track: Track,
    path: str | os.PathLike[str],
    population: Population | None = None,
    fps: float = 15.0,
    on_progress: Callable[[int], Any] | None = None,
) -> None:
    """Write a track as what the path's ending says: a movie (.mp4, .gif) or a cube of numbers (.fits).

    Args:
        track: the galaxies.
        path: of the file.
        population: shown behind the tracks.
        fps: frames a second.
        on_progress: told of each frame that is drawn.

    Raises:
        InputError: see :func:`hubbleflow.movies.write_film`; too many galaxies for one picture.
    """
    if check_movie_path(path) == ".fits":
        write_cube(track, path)
    else:
        write_film(frames(track, population, on_progress), path, fps)


def frames(
    track: Track, population: Population | None = None, on_progress: Callable[[int], Any] | None = None
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """The movie's pictures.

    Raises:
        InputError: more galaxies than can be seen in one picture.

    Example:
        >>> from hubbleflow.movies import Track
        >>> from hubbleflow.survey import Survey
        >>> images = np.random.default_rng(0).normal(0, 1, (2, 3, 1, 16, 16)).astype(np.float32)
        >>> z = np.array([1.0, 0.6, 0.2])
        >>> track = Track(images, z, z, (1, 2), ("", ""), Survey.get("hsc-i"), {"i_mag": np.array([[22, 21, 20.0]] * 2)}, np.ones(1))
        >>> [picture.shape for picture in frames(track)]
        [(720, 1280, 3), (720, 1280, 3), (720, 1280, 3)]
    """
    columns, side = gallery(len(track.seeds), track.images.shape[-1])
    pictures = rgb(track.images.reshape(-1, *track.images.shape[2:]), track.survey, "noise")
    if track.survey.linear:  # the first row of pixels is at the bottom
        pictures = pictures[:, ::-1]
    pictures = pictures.reshape(*track.images.shape[:2], *pictures.shape[1:])
    enlarged = np.arange(side) * track.images.shape[-1] // side
    with matplotlib.rc_context(MOVIE):
        figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI)
        canvas = FigureCanvasAgg(figure)
        corners = [_name(figure, track, number, columns, side) for number in range(len(track.seeds))]
        title = _words(figure, track, population, MARGIN + max(columns * (side + GAP), GALLERY[0] // 2) + 2 * GAP)
        movers = [mover for movers in _plots(figure, track, population) for mover in movers]
        canvas.draw()
        still = canvas.copy_from_bbox(figure.bbox)
    for frame in range(track.frames):
        with matplotlib.rc_context(MOVIE):
            canvas.restore_region(still)
            title.set_text(track.title(frame))
            figure.draw_artist(title)
            for mover in movers:
                mover.move(frame)
            picture = np.asarray(canvas.buffer_rgba())[..., :3].copy()
        for (top, left), galaxy in zip(corners, pictures[:, frame], strict=True):
            picture[top : top + side, left : left + side] = galaxy[enlarged][:, enlarged]
        if on_progress:
            on_progress(1)
        yield picture


def gallery(n: int, size: int) -> tuple[int, int]:
    """Columns of n galaxies of `size` pixels, and each one's side on the screen: as large as fits, a whole multiple where possible.

    Raises:
        InputError: they would be too small to see.

    Example:
        >>> gallery(8, 64), gallery(1, 64), gallery(3, 127)
        ((4, 192), (1, 384), (3, 254))
    """
    best = (1, 0)
    for columns in range(1, n + 1):
        rows = -(-n // columns)
        side = min((GALLERY[0] - GAP * (columns - 1)) // columns, GALLERY[1] // rows - LABEL)
        if side > best[1]:
            best = columns, side
    if best[1] < SMALLEST:
        raise InputError(f"{n} galaxies do not fit into one picture: ask for fewer seeds, or name the file .fits")
    return best[0], best[1] // size * size or best[1]


@dataclass(frozen=True)
class _Mover:
    """What goes with the movie in one plot: the point of one track, or (no values) the line that says where the movie is."""

    axes: Axes
    artist: Line2D
    time: Float[np.ndarray, " frame"]
    values: Float[np.ndarray, " frame"] | None = None

    def move(self, frame: int) -> None:
        if self.values is None:
            self.artist.set_data([self.time[frame]] * 2, self.axes.get_ylim())
        else:
            self.artist.set_data([self.time[frame]], [self.values[frame]])
        self.axes.draw_artist(self.artist)


def _style(number: int) -> tuple[str, str]:
    return SEED_COLOURS[number % len(SEED_COLOURS)], SEED_MARKERS[number % len(SEED_MARKERS)]


def _name(figure: Figure, track: Track, number: int, columns: int, side: int) -> tuple[int, int]:
    """Write a galaxy's name with its marker, and return the first row and column of its picture."""
    row, column = divmod(number, columns)
    left, top = MARGIN + column * (side + GAP), MARGIN + row * (side + LABEL)
    colour, marker = _style(number)
    kind, seed = track.kinds[number], track.seeds[number]
    name = textwrap.shorten(f"{seed}: {kind}" if kind else f"seed {seed}", max(8, int((side - 8) / 6.6)), placeholder=" ...")
    y = 1 - (top + side + LABEL / 2) / HEIGHT
    figure.add_artist(Line2D([(left + 6) / WIDTH], [y], marker=marker, color=colour, markersize=7, linestyle="none"))
    figure.text((left + 16) / WIDTH, y, name, va="center_baseline")
    return top, left


def _words(figure: Figure, track: Track, population: Population | None, left: int) -> Text:
    """Write what the movie shows and what the plots' lines are; return the title, which changes."""
    survey = track.survey
    bands = f"{', '.join(survey.rgb)} as red, green, blue" if len(set(survey.rgb)) > 1 else f"{survey.rgb[0]} band"
    model = track.provenance.get("model", "")
    size = f", {track.images.shape[-1] * survey.pixel_scale_arcsec:.3g} arcsec on a side" if survey.pixel_scale_arcsec else ""
    alone = len(track.seeds) == 1
    lines = [
        f"{f'{model}: ' if model else ''}{'one galaxy, of' if alone else f'{len(track.seeds)} galaxies, each of'} one noise",
        f"{survey.name}, {bands}{size}",
        "Planck 2018; measured as seen, nothing is corrected for",
    ]
    width = int((WIDTH - left - MARGIN) / 7)
    text = "\n".join(textwrap.fill(line, width) for line in lines)
    figure.text(left / WIDTH, 1 - 72 / HEIGHT, text, va="top", linespacing=1.5, size=9)
    colour, marker = _style(0)
    one = Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=1, label="the galaxy" if alone else "each galaxy")
    handles: list[Any] = [one]
    if len(track.seeds) > 2:
        handles.append(Line2D([], [], color="black", linestyle="--", linewidth=1.5, label="their median"))
    if population is not None:
        handles.append(Line2D([], [], color=MIDDLE, linewidth=2, label=textwrap.fill(f"median of {population.words}", width - 8)))
        handles.append(Patch(color=BAND, label="their 16th to 84th percentile"))
    below = 72 + 20 * (text.count("\n") + 1)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=((left - 8) / WIDTH, 1 - below / HEIGHT), fontsize=9)
    return figure.text(left / WIDTH, 1 - 28 / HEIGHT, "", size=20, va="top", animated=True)


def _plots(figure: Figure, track: Track, population: Population | None) -> Iterator[list[_Mover]]:
    """A plot a quantity; yields what moves in it."""
    chosen = [quantity for quantity in plotted(track.survey) if quantity.name in track.measured]
    below, height, before = PLOTS
    width = (WIDTH - 2 * MARGIN) / max(len(chosen), 1) - before
    for place, quantity in enumerate(chosen):
        left = MARGIN + place * (width + before) + before - 12
        axes = figure.add_axes((left / WIDTH, below / HEIGHT, width / WIDTH, height / HEIGHT))
        yield _plot(axes, track, quantity, population)


def plotted(survey: Survey) -> list[Quantity]:
    """The quantities that have a plot: magnitude, the two bluest colours between the picture's bands, and sizes on the sky and in space.

    Example:
        >>> from hubbleflow.survey import Survey
        >>> [quantity.name for quantity in plotted(Survey.get("hsc-wide"))]
        ['i_mag', 'g_r', 'r_i', 'i_half_light_radius_arcsec', 'i_half_light_radius_kpc']
    """
    known = {quantity.name: quantity for quantity in quantities(survey)}
    order = sorted({survey.band_index(band) for band in survey.rgb})
    between = range(order[0], order[-1])
    colours = [f"{survey.bands[band]}_{survey.bands[band + 1]}" for band in between][:2]
    radius = f"{survey.reference_band}_half_light_radius"
    sizes = [f"{radius}_arcsec", f"{radius}_kpc"] if survey.pixel_scale_arcsec else [radius]
    return [known[name] for name in (f"{survey.reference_band}_mag", *colours, *sizes)]


def _plot(axes: Axes, track: Track, quantity: Quantity, population: Population | None) -> list[_Mover]:
    values, time = track.measured[quantity.name], track.lookback_time_gyr
    seen = [values[np.isfinite(values)]]
    if population is not None and quantity.name in population.values:
        middle, quantiles = population.quantiles(quantity.name)
        known = np.isfinite(middle)
        at, (low, median, high) = lookback_time_gyr(middle[known]), quantiles[:, known]
        axes.fill_between(at, low, high, color=BAND, linewidth=0)
        axes.plot(at, median, color=MIDDLE, linewidth=2)
        seen += [low, high]
    movers = []
    for row, along in enumerate(values):
        colour, marker = _style(row)
        axes.plot(time, along, color=colour, linewidth=0.9)
        [point] = axes.plot([], [], color=colour, marker=marker, markersize=6, markeredgecolor="white", markeredgewidth=0.6, animated=True)
        movers.append(_Mover(axes, point, time, along))
    if len(values) > 2:
        enough = np.isfinite(values).sum(axis=0) >= len(values) / 2  # else it would be the median of the brightest
        axes.plot(time, np.where(enough, _nanmedian(values), np.nan), color="black", linestyle="--", linewidth=1.5)
    _limits(axes, np.concatenate(seen), quantity)
    axes.set_ylabel(quantity.axis)
    _time_axes(axes, track)
    [line] = axes.plot([], [], color="#303030", linewidth=0.8, animated=True)
    return [_Mover(axes, line, time), *movers]


def _time_axes(axes: Axes, track: Track) -> None:
    """Lookback time above, redshift below, the movie's beginning at the left: linear in time, so that no epoch is crowded."""
    z, time = track.redshift, track.lookback_time_gyr
    axes.set_xlim(time[0], time[-1])
    top = axes.secondary_xaxis("top")
    top.set_xlabel("lookback time (Gyr)")
    low, high = z.min(), z.max()
    even = MaxNLocator(5).tick_values(low, high)
    kept: list[float] = []
    for tick in (*TICKS, *(even if not sum(low <= tick <= high for tick in TICKS) > 2 else ())):
        place = float(lookback_time_gyr(np.array([tick]))[0]) if low <= tick <= high else np.inf
        if np.isfinite(place) and all(abs(place - float(lookback_time_gyr(np.array([k]))[0])) > 0.13 * np.ptp(time) for k in kept):
            kept.append(float(tick))
    axes.set_xticks(lookback_time_gyr(np.array(kept)), [f"{tick:.6g}" for tick in kept])
    axes.set_xlabel("redshift")


def _limits(axes: Axes, seen: np.ndarray, quantity: Quantity) -> None:
    """All but the outermost hundredth, so that one failed measurement does not flatten the others; bright is up."""
    if len(seen):
        low, high = np.percentile(seen, [1, 99])
        room = 0.08 * (high - low) or 0.5
        low, high = low - room, high + room
        axes.set_ylim((high, low) if quantity.name.endswith("_mag") else (low, high))


def _nanmedian(values: np.ndarray) -> np.ndarray:
    return np.array([np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else np.nan for column in values.T])
