"""At which noise levels should a sampler stop? Without a network: by the width that it gives to Gaussian data. It writes the table of
docs/performance.md.

    python bench/schedule.py

The exact denoiser of data N(0, s^2) is s^2 / (s^2 + sigma^2) x, and where the probability flow leads is known; what a sampler of few
steps makes of it is wrong by so many per cent. Shown is the worst of the widths that a stretched survey has: s = 0.164 is a pixel of HSC's
sky, 0.12 one of less noise, 10 the brightness of a whole galaxy over its pixels. `sigmas_for` fits the levels of DPM-Solver++(2M) to 21
widths from 0.08 to 10; of those shown, only 10 is one of them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import torch
from in_words import in_words
from papers import around_section, write_section
from torch import Tensor

from hubbleflow.sampling import TWICE, follow, karras_sigmas, log_snr_sigmas, sigmas_for, steps_for

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
WIDTHS = (0.12, 0.164, 0.25, 0.5, 1.0, 3.0, 10.0)
SAMPLERS = ("euler", "heun", "dpm++2m", "dpm++3m", "unipc", "ipndm", "deis")
EVALUATIONS = (6, 8, 10, 20, 50)
SIGMA_MIN, SIGMA_MAX = 0.02, 80.0
LEVELS: dict[str, Callable[[str, int], Tensor]] = {
    "Karras, 0.01 to 400": lambda sampler, steps: karras_sigmas(steps, 0.01, 400.0),
    "Karras, 0.002 to 80": lambda sampler, steps: karras_sigmas(steps, 0.002, SIGMA_MAX),
    "even in ln sigma, 0.02 to 80": lambda sampler, steps: log_snr_sigmas(steps, SIGMA_MIN, SIGMA_MAX),
    "`sigmas_for`, 0.02 to 80": lambda sampler, steps: sigmas_for(sampler, steps, SIGMA_MIN, SIGMA_MAX),
}


def worst(sampler: str, sigmas: Tensor) -> float:
    """The largest error of a width, in per cent of it."""
    found = []
    for s in WIDTHS:
        first = float(sigmas[0])
        x = torch.full((1, 1, 1, 1), first, dtype=torch.float64)
        drawn = follow(sampler, lambda x, sigma, s=s: x * s**2 / (s**2 + sigma**2), x, sigmas, None)  # type: ignore[misc]
        found.append(100 * abs(drawn.item() * math.sqrt(s**2 + first**2) / (s * first) - 1))
    return max(found)


def table() -> str:
    lines = [
        "Worst error of a Gaussian's width, %, by evaluations of the denoiser:",
        "",
        "| sampler | noise levels | " + " | ".join(map(str, EVALUATIONS)) + " |",
        "|---|---|" + "---|" * len(EVALUATIONS),
    ]
    for sampler in SAMPLERS:
        for name, levels in LEVELS.items():
            errors = [worst(sampler, levels(sampler, steps_for(sampler, n))) for n in EVALUATIONS]
            twice = " (two a step)" if sampler in TWICE else ""
            lines.append(f"| {sampler}{twice} | {name} | " + " | ".join(f"{error:.3g}" for error in errors) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    given = parser.parse_args()
    around_section(given.document, "schedule")
    write_section(given.document, "schedule", table())


if __name__ == "__main__":
    in_words(main)
