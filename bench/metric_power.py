"""Do the metrics find what is wrong, and nothing where nothing is? Thirteen known corruptions x all metrics, and real against real.

    python bench/metric_power.py [--n 2000] [--null 100] [--inception WEIGHTS] [--out runs/metric_power] [--document docs/metric_power.md]

2,000 generated galaxies are held against 2,000 real ones, and these against 2,000 other real ones: that takes 4,000 real ones. All are of
one mock sky of 6,000, chosen anew for each corruption, because each seed has pointings of its own, and with them seeing; the generated
ones are corrupted (corruptions.py). 4,000 of another seed are what a generator would have been trained on, and what the redshift CNN was.
Both sides are measured alike, without a PSF of their own. What is printed is z: how far the distance lies above real against real, in its
scatter. The last column repeats real against real with --n-null galaxies a side, drawn from 8,000, and says how often z exceeded 3; not
for FID and IS, which take minutes each (by EfficientNet-Lite0, or by Inception-v3 where its weights are given).

It may be stopped and started again: sets, the network and finished comparisons stand in --out.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from corruptions import CORRUPTIONS, Corruption, mock
from in_words import in_words

from hubbleflow.cache import Cache
from hubbleflow.counting import counting
from hubbleflow.files import atomic_path, write_json
from hubbleflow.galaxies import GalaxySet
from hubbleflow.judge import RedshiftJudge, judge_recipe
from hubbleflow.measure import measure_file
from hubbleflow.metrics import Sample, evaluate
from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.corrections import tail_probability
from hubbleflow.metrics.perception import METRICS as PHOTOGRAPHS
from hubbleflow.metrics.splits import SPLITS, judge
from hubbleflow.perception import Perception, perceived
from hubbleflow.watch import train

if TYPE_CHECKING:
    from hubbleflow.metrics.streaming import Features

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "metric_power.md"
SKY, TRAINING, POOL = 11, 13, 14  # seeds
TRAINING_GALAXIES, POOL_GALAXIES = 4000, 8000
JUDGE_STEPS = 3000
CAUGHT = 3.0
# Which metrics say what is wrong, by the beginnings of their names.
NAMED = {
    "sizes x 1.05": (
        "relation_size",
        "w1_half_light_radius",
        "ks_half_light_radius",
        "w1_major_axis",
        "w1_isophotal_area",
        "profile_radial",
    ),
    "true sizes x 1.05, before the seeing": ("relation_size", "w1_half_light_radius", "ks_half_light_radius", "w1_major_axis"),
    "noise x 1.1": ("noise_rms",),
    "correlated noise": ("noise_correlation", "noise_autocorrelation", "power_spectrum_sky"),
    "r brighter by 0.05 mag": ("relation_colour", "w1_colours", "ks_colours"),
    "r and i swapped": ("w1_band_shares", "relation_colour", "w1_colours", "ks_colours"),
    "ellipticities x 0.8": ("w1_ellipticity", "ks_ellipticity", "relation_ellipticity"),
    "Sersic n x 1.2": ("w1_sersic_index", "ks_sersic_index", "relation_sersic"),
    "10 % of redshifts shuffled": ("redshift_",),
    "no Edge-on with Bulge": ("category_shares",),
    "10 % duplicates": ("duplicates",),
    "10 % copied from training": ("memorisation", "training_copies"),
    "faint wings cut": ("profile_wings",),
}


def measured(path: Path, make: Callable[[], GalaxySet]) -> GalaxySet:
    """A set in a file, made and measured once."""
    if not path.exists():
        make().write(path)
    measure_file(path)
    return GalaxySet.open(path)


def file_name(corruption: Corruption) -> str:
    """What its files are called."""
    return corruption.name.replace(" ", "_").replace("%", "percent").replace(",", "")


def rows_of(name: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of 3 n galaxies are real (2 n), and which generated: a choice for each corruption, so that they do not share its luck."""
    order = np.random.default_rng([SKY, zlib.crc32(name.encode())]).permutation(3 * n)
    return np.sort(order[: 2 * n]), np.sort(order[2 * n :])


def corrupted(corruption: Corruption, n: int, training: GalaxySet) -> GalaxySet:
    """The generated galaxies."""
    galaxies = mock(3 * n, SKY, corruption)[rows_of(corruption.name, n)[1]]
    return galaxies if corruption.table is None else corruption.table(galaxies, training)


def z_of(
    real: GalaxySet, generated: GalaxySet, features: Mapping[str, Features], training: GalaxySet, seed: int
) -> dict[str, float | None]:
    """z of every metric."""
    report = evaluate(real, generated, seed=seed, features=features, training=training)
    return {name: result.z for name, result in report.results.items()}


def photographed(look: Perception, galaxies: GalaxySet, path: Path) -> dict[str, np.ndarray]:
    """What a network for photographs makes of every band of every galaxy; kept in a file, because it takes a quarter of an hour."""
    if path.exists():
        with np.load(path) as file:
            return dict(file)
    with counting(f"{look.name} looks", len(galaxies)) as on_progress:
        parts = []
        for block in galaxies.blocks(256):
            parts.append(look(block.images[:], galaxies.survey))
            on_progress(len(block))
    found = {name: np.concatenate([part[name] for part in parts]).astype(np.float32) for name in parts[0]}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **found)
    return found


def z_by_photographs(real: GalaxySet, generated: GalaxySet, *seen: dict[str, np.ndarray]) -> dict[str, float | None]:
    """z of Frechet distance and inception score."""
    sides = [replace(Sample.of(galaxies), image_features=found) for galaxies, found in zip((real, generated), seen, strict=True)]
    bins = choose_bins(*sides)
    results = {metric.name: judge(metric, *sides, bins) for metric in PHOTOGRAPHS}
    return {name: result.z for name, result in results.items() if result.computed}


def kept(path: Path, compute: Any) -> dict[str, float | None]:
    """What stands in a file, or is computed and put there."""
    if not path.exists():
        write_json(path, compute())
    found: dict[str, float | None] = json.loads(path.read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--null", type=int, default=100, help="comparisons of real against real")
    parser.add_argument("--n-null", type=int, default=1000, help="galaxies a side of those")
    parser.add_argument("--inception", type=Path, help="the weights of the FID's Inception-v3")
    parser.add_argument("--out", type=Path, default=Path("runs/metric_power"))
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    arguments = parser.parse_args()
    out, n = arguments.out, arguments.n
    out.mkdir(parents=True, exist_ok=True)
    training = measured(out / "training.h5", lambda: mock(TRAINING_GALAXIES, TRAINING))
    sky = measured(out / "sky.h5", lambda: mock(3 * n, SKY))
    train(training, out / "judge", judge_recipe(1, steps=JUDGE_STEPS), resume=True, sheets=False)
    cache = Cache.opened(out / "cache", True)

    def judge_of(first: GalaxySet, second: GalaxySet) -> RedshiftJudge:
        return RedshiftJudge.of(first, second, out, str(out / "judge"), cache=cache)

    columns: dict[str, dict[str, float | None]] = {}
    for corruption in (Corruption("nothing"), *CORRUPTIONS):
        name = file_name(corruption)
        real = sky[rows_of(corruption.name, n)[0]]
        generated = measured(out / f"{name}.h5", lambda c=corruption: corrupted(c, n, training))
        judge = judge_of(real, generated)
        columns[corruption.name] = kept(
            out / f"{name}.json", lambda r=real, g=generated, j=judge: z_of(j.read(r), j.read(g), j.features, training, 0)
        )
        best = sorted(((z, metric) for metric, z in columns[corruption.name].items() if z is not None), reverse=True)[:4]
        print(f"{corruption.name:28s}", ", ".join(f"{metric} {z:.1f}" for z, metric in best), flush=True)

    look = perceived(True, arguments.inception, [sky.survey])
    assert look is not None
    of_sky: dict[str, np.ndarray] = {}  # looked at once, and only where something has not been done
    for corruption in (Corruption("nothing"), *CORRUPTIONS):
        path = out / f"{file_name(corruption)}.{look.name}.json"
        if not path.exists():
            of_sky = of_sky or photographed(look, sky, out / f"sky.{look.name}.npz")
            rows, generated = rows_of(corruption.name, n)[0], GalaxySet.open(out / f"{file_name(corruption)}.h5")
            of_real = {name: seen[rows] for name, seen in of_sky.items()}
            of_generated = photographed(look, generated, out / f"{file_name(corruption)}.{look.name}.npz")
            write_json(path, z_by_photographs(sky[rows], generated, of_real, of_generated))
        columns[corruption.name] |= json.loads(path.read_text())

    # The network looks at each galaxy of the pool once, not in each of a hundred comparisons.
    few = arguments.n_null
    pool = measured(out / "pool.h5", lambda: mock(max(POOL_GALAXIES, 3 * few), POOL))
    judge = judge_of(pool, sky)
    pool = judge.read(pool)
    seen = {name: function(pool) for name, function in judge.features.items()}
    features = {name: lambda galaxies, table=table: table[galaxies.columns["object_id"]] for name, table in seen.items()}
    null: list[dict[str, float | None]] = []
    for number in range(arguments.null):
        order = np.random.default_rng([POOL, number]).permutation(len(pool))
        a, b = pool[np.sort(order[: 2 * few])], pool[np.sort(order[2 * few : 3 * few])]
        null.append(kept(out / f"null-{number:03d}.json", lambda a=a, b=b, s=number: z_of(a, b, features, training, s)))
        print(f"real against real {number + 1} of {arguments.null}", file=sys.stderr, flush=True)
    with atomic_path(arguments.document) as temporary:
        temporary.write_text(document(columns, null, n, few), encoding="utf-8")
    print(f"{arguments.document}")


def document(columns: dict[str, dict[str, float | None]], null: list[dict[str, float | None]], n: int, few: int) -> str:
    """The page: what was caught by what, the whole table, and real against real."""
    text = ["# What the metrics find", "", "    python bench/metric_power.py", ""]
    text += [
        f"z of every metric for {n:,} generated against {n:,} real galaxies of the mock sky (of {2 * n:,}, so that real against real has",
        f"the same sizes), where the generated ones are wrong in one known way; z above {CAUGHT:g} counts as found. Bold: metrics whose",
        "name says what is wrong.",
        "",
        "| what was done | found by a metric that names it | the three largest z |",
        "|---|---|---|",
    ]
    for name, zs in columns.items():
        known = {metric: z for metric, z in zs.items() if z is not None}
        naming = {metric: z for metric, z in known.items() if metric.startswith(NAMED.get(name, ("-",)))}
        best = max(naming, key=naming.__getitem__) if naming else None
        says = (
            "" if name == "nothing" else f"{best} {naming[best]:.1f}" + ("" if naming[best] > CAUGHT else " (missed)") if best else "none"
        )
        largest = ", ".join(f"{metric} {z:.1f}" for metric, z in sorted(known.items(), key=lambda item: -item[1])[:3])
        text.append(f"| {name} | {says} | {largest} |")
    looks = [z for zs in null for z in zs.values() if z is not None]
    over = {limit: sum(z > limit for z in looks) for limit in (2.0, 3.0)}
    if looks:
        text += [
            "",
            f"Real against real, {len(null)} times {few:,} against {few:,}: of {len(looks):,} values of z "
            + " and ".join(f"{number} ({100 * number / len(looks):.2f} %) exceed {limit:g}" for limit, number in over.items())
            + f" (by Student's t, with a scatter known from {SPLITS} splits: "
            + " and ".join(f"{100 * tail_probability(limit, SPLITS):.2f} %" for limit in over)
            + ").",
        ]
    head = ["metric", *columns, *(["real against real: above 3"] if null else [])]
    text += ["", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for metric in next(iter(columns.values())):
        if all(zs.get(metric) is None for zs in columns.values()):
            continue
        cells = []
        for name, zs in columns.items():
            z = zs.get(metric)
            shown = "-" if z is None else f"{z:.1f}"
            cells.append(f"**{shown}**" if metric.startswith(NAMED.get(name, ("-",))) else shown)
        if null:
            values = [zs[metric] for zs in null if zs.get(metric) is not None]
            cells.append(f"{sum(z > CAUGHT for z in values if z is not None)} of {len(values)}" if values else "-")
        text.append(f"| `{metric}` | " + " | ".join(cells) + " |")
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    in_words(main)
