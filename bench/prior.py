"""How well does the prior know the galaxies? Galaxies held out of its fit, by likelihood and by what it draws at their redshifts and kinds.

    OMP_NUM_THREADS=1 python bench/prior.py SKY.h5 [--document docs/training.md]

SKY, a mock sky of 25,000 galaxies or so, is what `bench/papers.py` leaves behind; four fifths of it are fitted to. Printed, and written
into docs/training.md: the mean log density of both parts by the number of components, beside the CPU seconds of the fit; that of the
held-out part where the prior was fitted to fewer galaxies; then, as many drawn as were held out, each column's Wasserstein-1 distance
from the held-out galaxies' in five redshift bins, over that of as many galaxies of the fitted part (mean of twenty choices): 1 is as good
as real galaxies are.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from in_words import in_words
from papers import around_section, write_section
from scipy.stats import wasserstein_distance

from hubbleflow.conditions import ANGLES
from hubbleflow.diffusion import galaxy_seeds
from hubbleflow.galaxies import GalaxySet
from hubbleflow.prior import Prior
from hubbleflow.simulate.numbers import NUMBERS, with_numbers

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "training.md"
COMPONENTS = (1, 4, 16, 64, 256)
FEWER = (160, 640, 2560)  # galaxies that are fitted to
FEWER_COMPONENTS = (1, 2, 4, 6, 8, 16, 32)
BINS = 5
FLOORS = 20
Table = dict[str, np.ndarray]


def likelihoods(learn: Table, held: Table) -> list[str]:
    """A row a number of components."""
    text = ["| components | of those fitted to | of those held out | seconds to fit |", "|---|---|---|---|"]
    for components in COMPONENTS:
        begun = time.process_time()
        prior = Prior.fit(learn, components=components)
        seconds = time.process_time() - begun
        inside, outside = (float(prior.log_density(table).mean()) for table in (learn, held))
        text.append(f"| {components} | {inside:.2f} | {outside:.2f} | {seconds:.1f} |")
        print(text[-1], flush=True)
    return text


def from_fewer(learn: Table, held: Table) -> list[str]:
    """A row a number of galaxies fitted to, a column a number of components: how likely the held-out galaxies are."""
    text = ["| fitted to | by default | " + " | ".join(f"{components} components" for components in FEWER_COMPONENTS) + " |"]
    text.append("|---" * (2 + len(FEWER_COMPONENTS)) + "|")
    for n in FEWER:
        some = {name: values[:n] for name, values in learn.items()}
        priors = [Prior.fit(some, components=components) for components in (None, *FEWER_COMPONENTS)]
        found = [float(prior.log_density(held).mean()) for prior in priors]
        text.append(f"| {n:,} | {found[0]:.2f} ({len(priors[0].weight)}) | " + " | ".join(f"{value:.2f}" for value in found[1:]) + " |")
        print(text[-1], flush=True)
    return text


def distances(learn: Table, held: Table) -> list[str]:
    """A row a column: W1 over that of real galaxies, per redshift bin."""
    n = len(held["redshift"])
    drawn = Prior.fit(learn).draw({name: held[name] for name in ("redshift", "category")}, galaxy_seeds(0, 0, n))
    edges = np.quantile(held["redshift"], np.linspace(0, 1, BINS + 1))
    bins = list(pairwise(edges))
    text = ["| column | " + " | ".join(f"z {low:.2f}-{high:.2f}" for low, high in bins) + " |"]
    text.append("|---" * (BINS + 1) + "|")
    rng = np.random.default_rng(1)
    within = [[(table["redshift"] >= low) & (table["redshift"] <= high) for table in (held, drawn, learn)] for low, high in bins]
    for name in (name for name in NUMBERS if name in learn):
        ratios = []
        for ours, theirs, known in within:
            real, others = held[name][ours], learn[name][known]
            floor = np.mean([wasserstein_distance(real, rng.choice(others, len(real), replace=False)) for _ in range(FLOORS)])
            ratios.append(wasserstein_distance(real, drawn[name][theirs]) / floor)
        text.append(f"| `{name}` | " + " | ".join(f"{ratio:.1f}" for ratio in ratios) + " |")
        print(text[-1], flush=True)
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sky", type=Path)
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    given = parser.parse_args()
    around_section(given.document, "prior")
    sky = with_numbers(GalaxySet.open(given.sky))
    rows = np.random.default_rng(0).permutation(len(sky))
    names = [name for name in ("redshift", "category", *NUMBERS) if not name.endswith(ANGLES)]  # angles stand apart
    table = {name: np.asarray(sky.column(name)) for name in names}
    learn, held = ({name: values[part] for name, values in table.items()} for part in np.split(rows, [len(rows) * 4 // 5]))
    counted = f"Mean log density (of eq. 1 in `prior.py`) of {len(learn['redshift']):,} mock galaxies and {len(held['redshift']):,} others:"
    text = [
        counted,
        "",
        *likelihoods(learn, held),
        "",
        "Of the held-out galaxies, where the prior was fitted to fewer:",
        "",
        *from_fewer(learn, held),
        "",
        "Wasserstein-1 distance of drawn from held-out galaxies over that of real ones:",
        "",
    ]
    write_section(given.document, "prior", "\n".join([*text, *distances(learn, held)]))


if __name__ == "__main__":
    in_words(main)
