"""How a figure becomes a file: matplotlib figures without global state, as PNG for disks and as SVG or PNG text for the
page.

Plots go into the page as SVG whose text stays text (readable by screen readers, sharp on paper) and whose ink is
`currentColor`, so that they follow the page's light or dark scheme. Identifiers get the figure's name in front: several
SVGs in one page must not share any.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, StrMethodFormatter

from hubbleflow.files import atomic_path
from hubbleflow.report.document import image

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REAL_COLOUR, GENERATED_COLOUR = "#3b8ed0", "#e06a1b"  # told apart by every kind of colour vision, on white and on black
INK = "#010203"  # stands for "the page's text colour" until the SVG is written
STYLE: Any = {  # matplotlib types its keys one by one
    "svg.fonttype": "none",
    "svg.hashsalt": "hubbleflow",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "text.parse_math": False,  # names of categories may hold dollar signs
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.facecolor": "none",
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True)
class Drawing:
    """A figure with the words that belong to it.

    Attributes:
        name: file name without ending, and anchor in the page.
        figure: the matplotlib figure.
        title: heading.
        alt: what a reader who can't see it must know.
        caption: what is shown, and from which paper's figure it is drawn.
        vector: SVG in the page (plots) or PNG (pictures of pixels).
    """

    name: str
    figure: Figure
    title: str
    alt: str
    caption: str
    vector: bool = True

    @cached_property
    def png(self) -> bytes:
        """PNG on white, 150 dpi."""
        return self._bytes("png", facecolor="white", dpi=150)

    def write_png(self, folder: Path) -> Path:
        """Write `folder`/`name`.png."""
        path = folder / f"{self.name}.png"
        with atomic_path(path) as temporary:
            temporary.write_bytes(self.png)
        return path

    def html(self) -> str:
        """The figure as HTML that needs no other file."""
        if not self.vector:
            return image(self.png, self.alt)
        return self._svg()

    def _svg(self) -> str:
        svg = self._bytes("svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}).decode()
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
        svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href=", "href=")
        svg = re.sub(r'\bid="([^"]+)"', rf'id="{self.name}-\1"', svg)
        svg = re.sub(r'(url\(#|href="#)', rf"\1{self.name}-", svg)
        svg = svg.replace(INK, "currentColor")
        # Inner groups carry nothing for a screen reader: the whole is one image, named by its alt text.
        return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(self.alt)}" ', 1).strip()

    def _bytes(self, kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        with matplotlib.rc_context(STYLE):
            self.figure.savefig(buffer, format=kind, **options)
        self.figure.set_layout_engine("none")  # the first drawing has laid it out, and layout is most of the cost
        return buffer.getvalue()


@contextmanager
def figure(width: float, height: float) -> Iterator[Figure]:
    """A new figure (inches) in the report's style; layout is done when it is drawn."""
    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def log_axis(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers (0.01): matplotlib's own labels are mathematics, which the style turns off."""
    axes.set_yscale("log")

    def minor(value: float, _: int | None = None) -> str:
        low, high = axes.get_ylim()
        return f"{value:g}" if high < 30 * low and f"{value:e}"[0] in "25" else ""

    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(minor))


def lookback_axis(axes: Axes, cosmology: Any = None) -> None:
    """A twin of a redshift axis, in Gyr of lookback time (Planck18 unless another cosmology is given). Call it after
    the limits are set.

    Ticks stand at round lookback times, at the redshifts where they belong (z = 1 is 7.94 Gyr).
    """
    from astropy.cosmology import Planck18

    low, high = axes.get_xlim()
    redshift = np.linspace(max(low, 0.0), max(high, 1e-3), 300)
    time = (cosmology or Planck18).lookback_time(redshift).value
    span = time[-1] - time[0]
    step = next((s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3) if span / s <= 6), 3)
    ticks = np.arange(np.ceil(time[0] / step), np.floor(time[-1] / step) + 1) * step
    places = np.interp(ticks, time, redshift)
    # Near z = 4 a Gyr is much redshift, near 0 little: drop labels that would touch their neighbour.
    kept: list[int] = []
    for number, place in enumerate(places):
        if not kept or place - places[kept[-1]] > 0.09 * (high - low):
            kept.append(number)
    twin = axes.twiny()
    twin.set_xlim(low, high)
    twin.set_xticks(places[kept], [f"{tick:g}" for tick in ticks[kept]])
    twin.spines["top"].set_visible(True)
    twin.set_xlabel("lookback time (Gyr)")
