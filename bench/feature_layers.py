"""Which dense layer of li2024-redshift-cnn to compare sets by: 512, 128 or 32 wide, by Frechet distance and KID; and what all metrics of
the last layer's features see.

    OMP_NUM_THREADS=1 python bench/feature_layers.py JUDGE [GENERATED.h5]

JUDGE is the folder of a trained li2024-redshift-cnn. Printed are z and value / floor (or the real set's value) of 2,000 galaxies of the
mock sky (seed 101) against 2,000 of another (102), left alone and corrupted (`corruptions.py`), and against a generator's set where one
is given; "-" where a distance needs more galaxies.
"""

from __future__ import annotations

import argparse

import numpy as np
from corruptions import CORRUPTIONS, mock

from hubbleflow.galaxies import GalaxySet
from hubbleflow.metrics import Sample, all_metrics
from hubbleflow.metrics.bins import choose_bins
from hubbleflow.metrics.features import REDSHIFT_CNN
from hubbleflow.metrics.splits import judge
from hubbleflow.predictor import Predictor

N = 2000
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


def samples(reader: Predictor, galaxies: GalaxySet) -> list[Sample]:
    """With the features of each layer, in one pass."""
    heard: list[list[np.ndarray]] = [[] for _ in LAYERS]
    hooks = [
        reader.model.network[layer].register_forward_hook(lambda _, __, out, into=into: into.append(out.float().numpy()))
        for layer, into in zip(LAYERS, heard, strict=True)
    ]
    reader.predict(galaxies)
    for hook in hooks:
        hook.remove()
    return [Sample(galaxies.survey, dict(galaxies.columns), features={REDSHIFT_CNN: np.concatenate(rows)}) for rows in heard]


def main() -> None:
    """Print a line a layer and distance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("judge")
    parser.add_argument("generated", nargs="?")
    given = parser.parse_args()
    reader = Predictor.load(given.judge)
    sky = mock(N, 101)
    real = samples(reader, sky)
    sets = {"left alone": mock(N, 102)} | {what.name: mock(N, 102, what, sky) for what in CORRUPTIONS if what.name in TRIED}
    if given.generated:
        sets["generator"] = GalaxySet.open(given.generated)
    others = {name: samples(reader, galaxies) for name, galaxies in sets.items()}
    for number, whole in enumerate(real):
        names = ASKED if number < len(real) - 1 else [metric.name for metric in all_metrics() if metric.name.endswith("_redshift_cnn")]
        for metric in (metric for metric in all_metrics() if metric.name in names):
            print(f"{whole.features[REDSHIFT_CNN].shape[1]:3d} wide  {metric.name}")
            for name, made in others.items():
                result = judge(metric, whole, made[number], choose_bins(whole, made[number]))
                beside = result.floor if result.real is None else result.real
                print(f"    {name:24s} {'-' if result.z is None else f'{result.z:6.1f}  {result.value:.4g} / {beside:.4g}'}", flush=True)


if __name__ == "__main__":
    main()
