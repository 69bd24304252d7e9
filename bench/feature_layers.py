"""Which dense layer of li2024-redshift-cnn to compare sets by: 512, 128 or 32 wide, by Frechet distance and KID; and what all metrics of
the last layer's features see.

    OMP_NUM_THREADS=1 python bench/feature_layers.py [RUN] [--generated SET.h5]

RUN is the folder that `bench/metric_power.py` leaves behind, its judge and its sets. Printed are z and value / floor (or the real set's
value) of 2,000 mock galaxies, left alone and corrupted (`corruptions.py`), against the other 4,000 of the same sky, and of a generator's
set where one is given; "-" where a distance needs more galaxies.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from corruptions import CORRUPTIONS, Corruption
from in_words import in_words
from metric_power import file_name, rows_of

from hubbleflow.galaxies import GalaxySet
from hubbleflow.metrics import Sample, all_metrics
from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.features import REDSHIFT_CNN
from hubbleflow.metrics.splits import judge
from hubbleflow.predictor import Predictor

LAYERS = (-6, -4, -2)  # behind whose tanh the features are
TRIED = (
    "correlated noise",
    "r brighter by 0.05 mag",
    "r and i swapped",
    "faint wings cut",
    "sizes x 1.05",
    "Sersic n x 1.2",
    "no Edge-on with Bulge",
)
ASKED = ("frechet_redshift_cnn", "kid_redshift_cnn")


def features(reader: Predictor, galaxies: GalaxySet) -> list[np.ndarray]:
    """What leaves each layer, in one pass."""
    heard: list[list[np.ndarray]] = [[] for _ in LAYERS]
    hooks = [
        reader.model.network[layer].register_forward_hook(lambda _, __, out, into=into: into.append(out.float().numpy()))
        for layer, into in zip(LAYERS, heard, strict=True)
    ]
    reader.predict(galaxies)
    for hook in hooks:
        hook.remove()
    return [np.concatenate(parts) for parts in heard]


def sample(galaxies: GalaxySet, seen: np.ndarray) -> Sample:
    """A set as the metrics see it, by one layer."""
    return Sample(galaxies.survey, dict(galaxies.columns), features={REDSHIFT_CNN: seen})


def main() -> None:
    """Print a line a layer and distance."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/metric_power"))
    parser.add_argument("--generated", type=Path)
    given = parser.parse_args()
    reader, sky = Predictor.load(given.run / "judge"), GalaxySet.open(given.run / "sky.h5")
    n = len(sky) // 3
    tried = [Corruption("nothing"), *(what for what in CORRUPTIONS if what.name in TRIED)]
    sets = {what.name: GalaxySet.open(given.run / f"{file_name(what)}.h5") for what in tried}
    if given.generated:
        sets["generator"] = GalaxySet.open(given.generated)
    seen = features(reader, sky)
    others = {name: features(reader, galaxies) for name, galaxies in sets.items()}
    for number, of_sky in enumerate(seen):
        names = ASKED if number < len(seen) - 1 else [metric.name for metric in all_metrics() if metric.name.endswith("_redshift_cnn")]
        for metric in (metric for metric in all_metrics() if metric.name in names):
            print(f"{of_sky.shape[1]:3d} wide  {metric.name}")
            for name, of_made in others.items():
                rows = rows_of(name, n)[0]
                real, made = sample(sky[rows], of_sky[rows]), sample(sets[name], of_made[number])
                result = judge(metric, real, made, choose_bins(real, made))
                beside = result.floor if result.real is None else result.real
                print(f"    {name:24s} {'-' if result.z is None else f'{result.z:6.1f}  {result.value:.4g} / {beside:.4g}'}", flush=True)


if __name__ == "__main__":
    in_words(main)
