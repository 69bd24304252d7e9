"""The papers' plots: histograms, means per redshift bin, predicted against true redshift.

Lizarraga et al. 2024, figs. 3, 4 and 2; Li et al. 2024, fig. 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hubbleflow.metrics.redshift_loss import per_galaxy_loss
from hubbleflow.report.drawing import GENERATED_COLOUR, REAL_COLOUR, Drawing, figure, log_axis, lookback_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hubbleflow.metrics.evaluate import Report
    from hubbleflow.metrics.sample import Sample

A_ROW = 5  # panels side by side, at most
POINTS = 4000  # galaxies drawn in a scatter plot


def plots(report: Report) -> Iterator[Drawing]:
    """Every plot that the report's sets allow."""
    if report.described:
        yield histogram_figure(report)
        if len(report.bins) > 1:
            yield means_figure(report)
    predicted = [sample.predicted_redshift for sample in (report.real, report.generated)]
    if all(p is not None and np.isfinite(p).any() for p in predicted) and report.bins.kind == "redshift":
        yield redshift_figure(report)


def histogram_figure(report: Report) -> Drawing:
    """Lizarraga fig. 3: linear above, logarithmic below."""
    names = list(report.described)
    columns = min(A_ROW, max(2, -(-len(names) // 2)))
    blocks = -(-len(names) // columns)
    with figure(2.3 * columns, 3.6 * blocks) as fig:
        axes = fig.subplots(2 * blocks, columns, squeeze=False)
        for place in range(blocks * columns):
            above, below = (axes[2 * (place // columns) + row, place % columns] for row in (0, 1))
            if place >= len(names):
                above.set_axis_off()
                below.set_axis_off()
                continue
            described = report.described[names[place]]
            for ax in (above, below):
                _histogram(ax, described["histogram"])
            above.set_title(described["label"])
            log_axis(below)
        for row in axes:
            row[0].set_ylabel("share of galaxies")
        axes[0, 0].legend(fontsize=8)
    return Drawing(
        "histograms",
        fig,
        "Distributions",
        "Histograms of " + ", ".join(report.described[name]["label"] for name in names) + " of real and generated galaxies; "
        "the distances between them are in the table above.",
        "Measured quantities of unflagged galaxies, linear above and logarithmic below (as Lizarraga et al. 2024, fig. 3). "
        "Values beyond the outer half per cent are counted in the end bins.",
    )


def _histogram(ax: Axes, histogram: dict[str, np.ndarray]) -> None:
    for which, colour in (("real", REAL_COLOUR), ("generated", GENERATED_COLOUR)):
        counts = histogram[which]
        share = counts / max(counts.sum(), 1)
        ax.stairs(
            share,
            histogram["edges"],
            color=colour,
            label=which,
            fill=which == "real",
            alpha=0.45 if which == "real" else None,
        )
        ax.stairs(share, histogram["edges"], color=colour, linewidth=1.4)


def means_figure(report: Report) -> Drawing:
    """Lizarraga fig. 4: mean and 95 % interval of each quantity in each bin."""
    names = list(report.described)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    in_redshift = report.bins.kind == "redshift"
    with figure(3.5 * columns, 2.9 * rows) as fig:
        axes = fig.subplots(rows, columns, squeeze=False).ravel()
        for ax in axes[len(names) :]:
            ax.set_axis_off()
        for ax, name in zip(axes, names, strict=False):
            _means(ax, report, report.described[name])
            ax.set_ylabel(report.described[name]["label"])
            if in_redshift:
                ax.set_xlabel("redshift")
                lookback_axis(ax)
            else:
                ax.set_xticks(report.bins.centres, report.bins.labels, rotation=30, ha="right")
        axes[0].legend(fontsize=8)
    return Drawing(
        "means",
        fig,
        "Means at each redshift" if in_redshift else "Means of each category",
        f"Mean and 95 per cent interval of {len(names)} measured quantities in {len(report.bins)} bins, real and generated; "
        "the numbers are in the table below the figure.",
        "Means of unflagged galaxies with 95 % intervals (Student's t) per bin, as Lizarraga et al. 2024, fig. 4."
        + (" Lookback times: Planck 2018." if in_redshift else ""),
    )


def _means(ax: Axes, report: Report, described: dict[str, Any]) -> None:
    centres = np.array(report.bins.centres)
    offset = 0.012 * (np.ptp(centres) or 1.0)
    for which, colour, marker, shift in (
        ("real", REAL_COLOUR, "o", -offset),
        ("generated", GENERATED_COLOUR, "s", offset),
    ):
        row = described["means"][which]
        known = np.isfinite(row["mean"])
        spread = np.nan_to_num(np.abs(np.stack([row["mean"] - row["low"], row["high"] - row["mean"]])))
        ax.errorbar(
            centres[known] + shift,
            row["mean"][known],
            yerr=spread[:, known],
            color=colour,
            marker=marker,
            markersize=4,
            capsize=2,
            linewidth=1,
            linestyle="-" if report.bins.kind == "redshift" else "none",
            label=which,
        )
    if report.bins.edges is not None:
        ax.set_xlim(report.bins.edges[0], report.bins.edges[-1])


def redshift_figure(report: Report) -> Drawing:
    """Lizarraga fig. 2 and Li fig. 7: predicted against asked redshift, and the loss in each bin."""
    edges = report.bins.edges or (0.0, 1.0)
    top = edges[-1] * 1.03
    with figure(10.5, 3.7) as fig:
        left, middle, right = fig.subplots(1, 3)
        for ax, sample, which, colour in (
            (left, report.real, "real", REAL_COLOUR),
            (middle, report.generated, "generated", GENERATED_COLOUR),
        ):
            _scatter(ax, sample, colour, top, report.seed)
            ax.set_xlabel("true redshift" if which == "real" else "redshift asked for")
            ax.text(0.04, 0.96, which, transform=ax.transAxes, va="top", weight="bold")
            lookback_axis(ax)
        left.set_ylabel("redshift read from the image")
        losses = _losses(report)
        for which, colour, marker in (("real", REAL_COLOUR, "o"), ("generated", GENERATED_COLOUR, "s")):
            right.plot(report.bins.centres, losses[which], color=colour, marker=marker, markersize=4, label=which)
        right.set(xlim=(edges[0], edges[-1]), ylim=(0, None), xlabel="redshift", ylabel="mean redshift loss (Li 2024, eq. 4)")
        right.legend(fontsize=8)
        lookback_axis(right)
    words = ", ".join(
        f"{a:.2f} and {b:.2f} at {label}" for a, b, label in zip(losses["real"], losses["generated"], report.bins.labels, strict=True)
    )
    return Drawing(
        "redshift",
        fig,
        "Redshift read from the images",
        f"Predicted against true redshift of real and generated galaxies, "
        f"and the mean redshift loss of real and generated galaxies per bin: {words}.",
        "A network trained on real galaxies reads a redshift from each image; dashed: perfect agreement, dotted: 0.15 (1 + z) from it. "
        f"At most {POINTS} galaxies are drawn. As Lizarraga et al. 2024, fig. 2, and Li et al. 2024, fig. 7.",
    )


def _scatter(ax: Axes, sample: Sample, colour: str, top: float, seed: int) -> None:
    asked, predicted = sample.redshift, np.asarray(sample.predicted_redshift, float)
    rows = np.flatnonzero(np.isfinite(asked) & np.isfinite(predicted))
    if len(rows) > POINTS:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:POINTS])
    ax.scatter(asked[rows], np.clip(predicted[rows], 0, top), s=5, color=colour, alpha=0.35, linewidths=0, rasterized=True)
    line = np.array([0.0, top])
    ax.plot(line, line, color="#808080", linestyle="--", linewidth=1)
    for sign in (-1, 1):
        ax.plot(line, line + sign * 0.15 * (1 + line), color="#808080", linestyle=":", linewidth=1)
    ax.set(xlim=(0, top), ylim=(0, top))


def _losses(report: Report) -> dict[str, np.ndarray]:
    losses = {}
    for which, sample, index in (
        ("real", report.real, report.bins.real),
        ("generated", report.generated, report.bins.generated),
    ):
        loss = per_galaxy_loss(np.asarray(sample.predicted_redshift, float), sample.redshift)
        cells = [loss[(index == number) & np.isfinite(loss)] for number in range(len(report.bins))]
        losses[which] = np.array([cell.mean() if len(cell) else np.nan for cell in cells])
    return losses
