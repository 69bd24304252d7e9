"""Bins in which two sets are compared: redshift where both know it, else category, else everything at once.

Redshift bins hold equal numbers of *real* galaxies (quantiles of the real redshifts), so that every bin is equally well
measured: as many as the matched sample size allows with 40 galaxies a bin, at most 8. Li 2024 draws its figures in
steps of 0.5 without giving bins for eq. 2; with 93 % of GalaxiesML below z = 1.5 such steps would rest the mean on a
handful of galaxies. Generated galaxies outside the real set's redshift range have nothing to be compared with: they are
in no bin, and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from hubbleflow.metrics.sample import Sample

GALAXIES_A_BIN = 40
MOST_BINS = 8
UNKNOWN = frozenset({"", "nan", "None"})  # names that stand for no category


@dataclass(frozen=True)
class Bins:
    """Which bin each galaxy of either set falls in.

    Attributes:
        kind: "redshift", "category" or "all".
        labels: one a bin, for people.
        centres: where to draw each bin: the median redshift of its real galaxies, or 0, 1, 2, ...
        edges: bins + 1 redshifts; None unless kind is "redshift".
        real, generated: bin number of each row, -1 for none.
        notes: sentences about rows and categories left out.
    """

    kind: Literal["redshift", "category", "all"]
    labels: tuple[str, ...]
    centres: tuple[float, ...]
    edges: tuple[float, ...] | None
    real: Int[np.ndarray, " n_real"]
    generated: Int[np.ndarray, " n_generated"]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)


def choose_bins(real: Sample, generated: Sample) -> Bins:
    """Redshift bins if at least half of both sets has a redshift, else categories that both sets have, else one bin.

    Example:
        >>> from hubbleflow.metrics.sample import Sample
        >>> from hubbleflow.survey import Survey
        >>> sky = Sample(Survey.get("hsc-i"), {"redshift": np.linspace(0.0, 1.0, 200)})
        >>> bins = choose_bins(sky, sky)
        >>> bins.kind, bins.labels
        ('redshift', ('z 0.00-0.50', 'z 0.50-1.00'))
    """
    known = [np.isfinite(sample.redshift) for sample in (real, generated)]
    if all(k.sum() >= max(1, len(k) / 2) for k in known):
        return redshift_bins(real.redshift, generated.redshift)
    notes = () if known[0].any() == known[1].any() else ("only one of the two sets has redshifts, so nothing is compared per redshift",)
    categories = [set(sample.category) - UNKNOWN for sample in (real, generated)]
    common = sorted(categories[0] & categories[1])
    if common:
        for missing, where in ((categories[0] - categories[1], "generated"), (categories[1] - categories[0], "real")):
            if missing:
                notes = (*notes, f"no {where} galaxies of category {', '.join(sorted(missing))}")
        index = [np.array([common.index(c) if c in common else -1 for c in s.category], int) for s in (real, generated)]
        return Bins("category", tuple(common), tuple(map(float, range(len(common)))), None, index[0], index[1], notes)
    return Bins("all", ("all",), (0.0,), None, np.zeros(len(real), int), np.zeros(len(generated), int), notes)


def redshift_bins(real: Float[np.ndarray, " n_real"], generated: Float[np.ndarray, " n_generated"]) -> Bins:
    """Bins of equal numbers of real galaxies; both ends closed; rows without a redshift or outside the real range get -1."""
    finite = real[np.isfinite(real)]
    matched = min(len(finite) // 2, int(np.isfinite(generated).sum()))
    number = int(np.clip(matched // GALAXIES_A_BIN, 1, MOST_BINS))
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, number + 1)))
    if len(edges) == 1:  # every real galaxy at one redshift
        edges = np.array([edges[0], edges[0]])
    digits = 2 if len({f"{e:.2f}" for e in edges}) == len(edges) else 4
    labels = tuple(f"z {a:.{digits}f}-{b:.{digits}f}" for a, b in pairwise(edges))
    index = []
    for z in (real, generated):
        bin_number = np.clip(np.searchsorted(edges, z, side="right") - 1, 0, len(labels) - 1)
        inside = np.isfinite(z) & (z >= edges[0]) & (z <= edges[-1])
        index.append(np.where(inside, bin_number, -1))
    centres = [np.median(real[index[0] == number]) if (index[0] == number).any() else np.nan for number in range(len(labels))]
    notes = []
    for name, z in (("real", real), ("generated", generated)):
        if unknown := int((~np.isfinite(z)).sum()):
            notes.append(f"{unknown} of {len(z)} {name} galaxies have no redshift and are in no redshift bin")
    if outside := int((np.isfinite(generated) & (index[1] < 0)).sum()):
        notes.append(
            f"{outside} of {len(generated)} generated galaxies lie outside the real redshifts "
            f"{edges[0]:.3g}-{edges[-1]:.3g} and are in no bin"
        )
    return Bins("redshift", labels, tuple(map(float, centres)), tuple(float(e) for e in edges), index[0], index[1], tuple(notes))
