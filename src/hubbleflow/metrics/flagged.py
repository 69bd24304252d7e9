"""Flagged fraction: do as many generated stamps as real ones hold a central galaxy that can be measured?

    flagged_fraction = share of galaxies with an UNTRUSTED bit of the reference band's flag

The other metrics leave flagged galaxies out, so a generator that paints an empty stamp now and then would pass them
all. This one counts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hubbleflow.metrics.galaxy_fitting import mean_per_bin
from hubbleflow.metrics.metric import Metric, NotComputable, Prepared, prepare_rows

if TYPE_CHECKING:
    from hubbleflow.metrics.bins import Bins
    from hubbleflow.metrics.sample import Sample


def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """1 for each flagged galaxy, 0 for the others."""
    if not (real.has_flags and generated.has_flags):
        raise NotComputable("needs measured flags in both sets: run measure on both")
    rows = [sample.flagged.astype(float)[:, None] for sample in (real, generated)]
    prepared = prepare_rows(
        rows[0],
        rows[1],
        bins,
        lambda x, index: mean_per_bin(x[:, 0], index, len(bins)),
        ("flagged",),
        binned_only=False,
    )
    return replace(prepared, resolution=1 / max(1, min(len(real) // 2, len(generated))))


METRICS = (
    Metric(
        "flagged_fraction",
        "Do as many stamps as in the real set hold no galaxy that can be trusted?",
        "single",
        "low",
        "",
        "measurement flags",
        prepare,
    ),
)
