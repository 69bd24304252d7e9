"""Asked and recovered redshift, bin by bin: what is read from the images of real and of generated galaxies, side by side."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from hubbleflow.report.document import number, row, table

if TYPE_CHECKING:
    from hubbleflow.metrics.evaluate import Report

ROWS = {
    "redshift_bias": "bias, |median dz / (1 + z)|",
    "redshift_sigma_nmad": "scatter, NMAD of dz / (1 + z)",
    "redshift_outliers": "outliers, |dz| > 0.15 (1 + z)",
    "redshift_loss": "redshift loss (Li et al. 2024)",
    "redshift_coverage_68": "within the central 68 %",
    "redshift_coverage_90": "within the central 90 %",
}


def recovered_table(report: Report) -> str:
    """A table of the errors of read redshifts, a column a redshift bin; "" where no redshifts were read or there are no such bins."""
    if report.bins.kind != "redshift":
        return ""
    rows = []
    for name, words in ROWS.items():
        result = report.results.get(name)
        if result is None or not result.computed or not result.per_bin or "real" not in result.per_bin:
            continue
        for which, key, whole in (("real", "real", result.real), ("generated", "value", result.value)):
            rows.append(row(f"{escape(words)}, {which}", [number(whole), *(number(value) for value in result.per_bin[key][0])]))
    caption = (
        "Redshifts read from the images against those of the real galaxies, and those asked of the generated ones. "
        "A generator is right where it has the real galaxies' numbers: no network reads redshifts without error."
    )
    return table(("", "all", *report.bins.labels), rows, caption) if rows else ""
