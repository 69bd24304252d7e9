"""Scores of tools that fitted the same galaxies, against the truth: what `rivals.py` prints.

Scatter is half of the interval that holds the central 68 %, with its bootstrap error; bias the median; a fit that gave no numbers is in
neither, and is an outlier. "ours - theirs" is of the galaxies that both fitted, with the error of a paired bootstrap: the same galaxies
drawn for both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sersic_mocks import BINS, half_width, label_of

QUANTITIES = ("ln R_e", "ln n", "e")
OUTLIER, DRAWS, LEAST_SNR = 0.5, 400, 30


@dataclass(frozen=True)
class Score:
    """One tool, one quantity, one S/N bin."""

    label: str
    quantity: str
    tool: str
    n: int
    bias: float
    scatter: float
    scatter_error: float
    outliers: float
    failed: float
    difference: float
    difference_error: float

    def row(self) -> str:
        """A line of the table under `HEAD`."""
        outliers = f"{self.outliers:.1%}" if self.quantity == "ln n" else ""
        compared = f"{self.difference:+.4f} ± {self.difference_error:.4f}" if self.tool != "ours" else ""
        numbers = f"{self.bias:+.4f} | {self.scatter:.4f} ± {self.scatter_error:.4f} | {compared} | {outliers} | {self.failed:.1%}"
        return f"| {self.label} | {self.n} | {self.quantity} | {self.tool} | {numbers} |"


HEAD = "| S/N | N | | tool | bias | scatter | ours - theirs | \\|Δ ln n\\| > 0.5 | no fit |\n|---|---|---|---|---|---|---|---|---|"


def errors_of(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Fitted less true (galaxy, QUANTITIES), of fitted (galaxy, R_e n q); NaN where there is no fit."""
    return np.stack([np.log(values[:, 0] / truth["radius"]), np.log(values[:, 1] / truth["n"]), truth["q"] - values[:, 2]], axis=1)


def scores(tools: dict[str, np.ndarray], truth: np.ndarray, snr: np.ndarray, seed: int = 0) -> list[Score]:
    """All scores, of fitted values (galaxy, R_e n q) by tool; one of the tools is "ours"."""
    rng, found = np.random.default_rng(seed), []
    off = {name: errors_of(values, truth) for name, values in tools.items()}
    for low, high in BINS:
        rows = np.flatnonzero((snr >= low) & (snr < high))
        label, picks = label_of(low, high), rng.integers(0, len(rows), (DRAWS, len(rows)))
        for k, quantity in enumerate(QUANTITIES):
            for name in tools:
                theirs, mine = off[name][rows, k], off["ours"][rows, k]
                mine_too = np.where(np.isfinite(theirs), mine, np.nan)
                again = np.array([(half_width(theirs[pick]), half_width(mine_too[pick])) for pick in picks])
                outliers = 1.0 - np.mean(np.abs(theirs) <= OUTLIER)
                difference = half_width(mine_too) - half_width(np.where(np.isfinite(mine), theirs, np.nan))
                found.append(
                    Score(
                        label,
                        quantity,
                        name,
                        len(rows),
                        float(np.nanmedian(theirs)),
                        half_width(theirs),
                        float(again[:, 0].std()),
                        float(outliers),
                        float(np.mean(~np.isfinite(theirs))),
                        difference,
                        float((again[:, 1] - again[:, 0]).std()),
                    )
                )
    return found


def verdict(found: list[Score]) -> tuple[str, list[str]]:
    """Whether we are worse than the best rival of each bin and quantity above S/N 30: in a line, and one by one.

    The best rival is that of the least scatter: the best of several by luck too, and of as many comparisons between equals one in six is
    above one error. Above two errors it is no luck.
    """
    sentences, beyond = [], []
    for label in dict.fromkeys(one.label for one in found):
        if float(label.strip(">").split("-")[0]) < LEAST_SNR:
            continue
        for quantity in QUANTITIES:
            theirs = [one for one in found if (one.label, one.quantity) == (label, quantity) and one.tool != "ours"]
            best = min(theirs, key=lambda one: one.scatter)
            beyond.append(best.difference / best.difference_error)
            words = "no worse than" if beyond[-1] <= 1 else f"{beyond[-1]:.1f} errors worse than"
            sentences.append(
                f"S/N {label}, {quantity}: {words} the best rival ({best.tool}, {best.scatter:.4f}):"
                f" ours - theirs {best.difference:+.4f} ± {best.difference_error:.4f}"
            )
    one, two = (sum(value > limit for value in beyond) for limit in (1, 2))
    words = "WORSE than" if two else "no worse than"
    line = f"ours is {words} the best rival above S/N 30: of {len(beyond)} comparisons {one} above one error, {two} above two"
    return f"{line} (of equals, {len(beyond) / 6:.1f} above one)", sentences
