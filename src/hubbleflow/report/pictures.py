"""The papers' pictures, drawn on one scale for both sets.

Real over generated at the same redshifts (Lizarraga et al. 2024, fig. 5), five bands and colour (Li et al. 2024, fig. 1), categories.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.report.colour import Style, rgb, sky_sigma
from hubbleflow.report.document import number
from hubbleflow.report.drawing import Drawing, figure

if TYPE_CHECKING:
    from jaxtyping import UInt8
    from matplotlib.axes import Axes

    from hubbleflow.metrics.evaluate import Report
    from hubbleflow.metrics.examples import Pictures
    from hubbleflow.metrics.novelty import ClosestPairs
    from hubbleflow.survey import Survey

CHOSEN = "Chosen by redshift and seed, not by looks; none is left out."
COLOUR_OF_SCALE: dict[str, Style] = {"linear": "lupton", "log": "noise"}
WORST_A_ROW = 5
WHITE_SIGMA = 40.0  # log pictures run from half a sigma of sky to this many sigmas or the brightest pixel


def pictures(report: Report) -> Iterator[Drawing]:
    """Every picture that the report's sets allow, the worst galaxies apart."""
    examples = report.examples
    if len(examples.real) and len(examples.generated):
        yield side_by_side(report)
    if all(len(side) for side in examples.bands):
        yield bands_figure(report)
    if examples.categories:
        yield categories_figure(report)
    if report.closest is not None:
        yield closest_figure(report, report.closest)


def side_by_side(report: Report) -> Drawing:
    """Lizarraga fig. 5: real galaxies above, generated ones below."""
    survey, rows = report.real.survey, (report.examples.real, report.examples.generated)
    shown = _alike(report, [row for row in rows])
    columns = max(len(row) for row in rows)
    with figure(1.15 * columns, 2.65) as fig:
        axes = fig.subplots(2, columns, squeeze=False)
        for line, row, coloured, which in zip(axes, rows, shown, ("real", "generated"), strict=True):
            _strip(line, coloured, row.labels, survey)
            _row_name(line[0], which)
    labels = ", ".join(label for label in rows[0].labels if label)
    return Drawing(
        "side_by_side",
        fig,
        "Side by side",
        f"{len(rows[0])} real galaxies above {len(rows[1])} generated ones" + (f", at {labels}" if labels else "") + ".",
        f"Real above, generated below, at the same redshifts where both sets know them. {_style_words(survey)} {CHOSEN} "
        "As Lizarraga et al. 2024, fig. 5.",
        vector=False,
    )


def bands_figure(report: Report) -> Drawing:
    """Li fig. 1: every band and the colour picture, linear and logarithmic, of a low- and a high-redshift galaxy of each set."""
    sides = list(zip(report.examples.bands, (report.real.survey, report.generated.survey), strict=True))
    columns = max(len(survey.bands) for _, survey in sides) + 1
    lines = 2 * sum(len(chosen) for chosen, _ in sides)
    coloured = {scale: _alike(report, [chosen for chosen, _ in sides], style) for scale, style in COLOUR_OF_SCALE.items()}
    with figure(1.25 * columns + 0.7, 1.25 * lines + 0.3) as fig:
        axes = iter(fig.subplots(lines, columns, squeeze=False))
        for side, (chosen, survey) in enumerate(sides):
            sigma = sky_sigma(chosen.images)
            for number, label in enumerate(chosen.labels):
                for scale in COLOUR_OF_SCALE:
                    line = next(axes)
                    for ax, image, noise, band in zip(line, chosen.images[number], sigma, survey.bands, strict=False):
                        _band(ax, image, float(noise), scale, survey)
                        if number == 0 and scale == "linear":
                            ax.set_title(band, pad=3)
                    _show(line[len(survey.bands)], coloured[scale][side][number], survey)
                    for ax in line[len(survey.bands) + 1 :]:
                        ax.set_axis_off()
                    _row_name(line[0], f"{_broken(label, 20)}\n{scale}")
    labels = "; ".join(label for chosen, _ in sides for label in chosen.labels)
    survey = report.real.survey
    return Drawing(
        "bands",
        fig,
        "Band by band",
        f"Images in {', '.join(survey.bands)} and in colour, on linear and logarithmic scales, of: {labels}.",
        "Linear (from -3 sigma of the sky to the brightest pixel) and logarithmic (from half a sigma); "
        "colours beside them by Lupton et al. 2004 with the field's stretch for HSC (5, Q 8) and with one relative to the noise. "
        f"{CHOSEN} As Li et al. 2024, fig. 1.",
        vector=False,
    )


def categories_figure(report: Report) -> Drawing:
    """A row of real and a row of generated galaxies of each category."""
    survey, sheets = report.real.survey, report.examples.categories
    columns = max(len(side) for pair in sheets.values() for side in pair)
    lines = [(name, which, side) for name, pair in sheets.items() for which, side in zip(("real", "generated"), pair, strict=True)]
    shown = _alike(report, [side for _, _, side in lines])
    with figure(1.05 * columns + 0.8, 1.1 * len(lines)) as fig:
        axes = fig.subplots(len(lines), columns, squeeze=False)
        for line, coloured, (name, which, _) in zip(axes, shown, lines, strict=True):
            _strip(line, coloured, (), survey)
            _row_name(line[0], f"{name}\n{which}")
    return Drawing(
        "categories",
        fig,
        "Category by category",
        f"Real and generated galaxies of the categories {', '.join(sheets)}.",
        f"For each category a row of real and a row of generated galaxies, drawn at random. {_style_words(survey)}",
        vector=False,
    )


def worst_figure(report: Report, pictures: Pictures) -> Drawing:
    """The generated galaxies that are least like real ones, and what is odd about each."""
    survey, worst = report.generated.survey, report.worst
    coloured = _alike(report, [report.examples.real, pictures])[1]
    columns = min(WORST_A_ROW, len(pictures))
    lines = -(-len(pictures) // columns)
    with figure(2.0 * columns, 2.5 * lines) as fig:
        axes = fig.subplots(lines, columns, squeeze=False).ravel()
        for ax in axes[len(pictures) :]:
            ax.set_axis_off()
        for ax, picture, label, fault in zip(axes, coloured, pictures.labels, worst.faults, strict=False):
            _show(ax, picture, survey)
            ax.set_title(_broken(label, 30), fontsize=8, pad=2)
            ax.set_xlabel(f"{fault.label}\n{number(fault.value)}, real {number(fault.low)} to {number(fault.high)}", fontsize=7.5)
    found = [f"{label + ': ' if label else ''}{f.label} {number(f.value)}" for label, f in zip(pictures.labels, worst.faults, strict=True)]
    return Drawing(
        "worst",
        fig,
        "The worst galaxies",
        f"The {len(pictures)} generated galaxies that are least like real ones. {'; '.join(found)}.",
        "Generated galaxies with the largest distance of a measured quantity from the real galaxies of the same bin, and what the central "
        f"95 % of those have. {_style_words(survey)} None is left out but flagged ones, which are counted under Galaxies.",
        vector=False,
    )


def closest_figure(report: Report, closest: ClosestPairs) -> Drawing:
    """The generated galaxies nearest to the training set, above what they are nearest to."""
    survey = report.generated.survey
    shown = np.split(rgb(np.concatenate([closest.generated.images, closest.training.images]), survey, "noise"), 2)
    distances = tuple(f"d = {number(distance)}" for distance in closest.distance)
    with figure(1.15 * len(distances), 2.65) as fig:
        axes = fig.subplots(2, len(distances), squeeze=False)
        _strip(axes[0], shown[0], distances, survey)
        _strip(axes[1], shown[1], (), survey)
        _row_name(axes[0][0], "generated")
        _row_name(axes[1][0], "training")
    rows = "; ".join(f"{g} and {t}: {number(d)}" for (g, t), d in zip(closest.rows, closest.distance, strict=True))
    return Drawing(
        "closest_pairs",
        fig,
        "Closest pairs",
        f"The {len(distances)} generated galaxies nearest to the training set above what they are nearest to. Rows and distances: {rows}.",
        "Each generated galaxy above the training galaxy that it is most like, which is turned and mirrored to fit; d is their distance "
        f"relative to the galaxy itself (0: a copy). Bright, smooth galaxies are close without being copies. {_style_words(survey)}",
        vector=False,
    )


def _alike(report: Report, groups: list[Pictures], style: Style = "noise") -> list[UInt8[np.ndarray, "n y x 3"]]:
    """Colour pictures on one scale (groups alternate between real and generated): else nothing could be compared by eye."""
    if report.real.survey.bands != report.generated.survey.bands or len({g.images.shape[1:] for g in groups}) > 1:
        surveys = (report.real.survey, report.generated.survey)
        return [rgb(group.images, surveys[place % 2], style) for place, group in enumerate(groups)]
    together = rgb(np.concatenate([group.images for group in groups]), report.real.survey, style)
    return np.split(together, np.cumsum([len(group) for group in groups])[:-1])


def _style_words(survey: Survey) -> str:
    if not survey.linear:
        return "Pictures are shown as they are (display values)."
    bands = ", ".join(survey.rgb)
    name = f"Colour: {bands} as red, green, blue" if len(set(survey.rgb)) > 1 else f"Grey: {survey.rgb[0]}"
    return f"{name}, asinh-stretched to the sky's noise (Lupton et al. 2004), one scale for both sets."


def _strip(line: Any, coloured: UInt8[np.ndarray, "n y x 3"], labels: tuple[str, ...], survey: Survey) -> None:
    for place, ax in enumerate(line):
        if place < len(coloured):
            _show(ax, coloured[place], survey)
            if place < len(labels):
                ax.set_title(_broken(labels[place], 17), fontsize=7, pad=2)
        else:
            ax.set_axis_off()


def _show(ax: Axes, picture: np.ndarray, survey: Survey, **options: Any) -> None:
    # Flux images have y upwards; pictures that were photographs have their first row at the top.
    ax.imshow(picture, origin="lower" if survey.linear else "upper", interpolation="nearest", **options)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def _band(ax: Axes, image: np.ndarray, sigma: float, scale: str, survey: Survey) -> None:
    if not survey.linear:
        values, low, high = (image, 0.0, 255.0) if scale == "linear" else (np.log10(1 + image), 0.0, np.log10(256.0))
    elif scale == "linear":
        values, low, high = image, -3 * sigma, max(float(image.max()), 5 * sigma)
    else:
        values = np.log10(np.maximum(image, 0.5 * sigma) / sigma)
        low, high = np.log10(0.5), np.log10(max(float(image.max()) / sigma, WHITE_SIGMA))
    _show(ax, values, survey, cmap="gray", vmin=low, vmax=high)


def _broken(label: str, width: int) -> str:
    """A label on several lines: its parts one below the other, long names of categories broken."""
    return "\n".join(textwrap.fill(part, width) for part in label.split(", "))


def _row_name(ax: Axes, name: str) -> None:
    ax.set_ylabel(name, fontsize=8)
