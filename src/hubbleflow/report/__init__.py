"""Reports: pages and pictures made from results.

write_report(report, "REPORT")     REPORT/report.html, metrics.json and figures/*.png
rgb(images, survey)                8-bit colour pictures
sheet(galaxies, "sheet.png")       a labelled contact sheet
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hubbleflow.report.colour import rgb, sheet

if TYPE_CHECKING:
    from hubbleflow.metrics import Report

__all__ = ["rgb", "sheet", "write_report"]


def write_report(report: Report, folder: str | os.PathLike[str], progress: bool = True) -> Path:
    """Write `folder`/report.html, metrics.json and figures/*.png; see :func:`hubbleflow.report.page.write_report`."""
    # Imported here so that colour pictures can be drawn on machines without sep and astropy.
    from hubbleflow.report.page import write_report as write

    return write(report, folder, progress)
