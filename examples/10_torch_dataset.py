"""A training loop of one's own: real galaxies and endless generated ones through PyTorch's DataLoader.

New here: `GalaxyDataset` (a file of galaxies, read by workers as batches are asked for) and `GeneratedDataset` (galaxies drawn without end,
the same ones whatever the number of workers). A small network learns to read redshifts off the middle of stamps twice: from half of a set,
and from galaxies that a generator draws, none of which it sees twice. Both are then asked about the other half of the set.

    python examples/10_torch_dataset.py [SET.h5] [--model GENERATOR] [--workers 2] [--out FOLDER]

Without a set a mock sky is made; without a generator (a folder or a name) one is trained on the first half for `--minutes`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from hubbleflow.adaptors.torch_dataset import GalaxyDataset, GeneratedDataset
from hubbleflow.counting import counting
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.simulate import simulate
from hubbleflow.training import Recipe
from hubbleflow.watch import train

BATCH = 64


def middle(image: torch.Tensor) -> torch.Tensor:
    """The transform: 16 x 16 pixels around the centre, as a row of numbers."""
    at = (image.shape[-1] - 16) // 2
    return image[:, at : at + 16, at : at + 16].flatten()


def learn(batches: Iterable[dict[str, Any]], total: int, what: str) -> nn.Module:
    """ln(1 + z) from a row of pixels, by a perceptron."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.LazyLinear(128), nn.GELU(), nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 1))
    optimiser = None
    with counting(f"learning from {what}", total) as on_progress:
        for batch in islice(batches, total):
            loss = nn.functional.huber_loss(network(batch["image"])[:, 0], batch["redshift"].log1p(), delta=0.1)
            optimiser = optimiser or torch.optim.AdamW(network.parameters(), lr=1e-3)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            on_progress(1)
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("galaxies", nargs="?", type=Path, help="an HDF5 file of galaxies with redshifts (none: a mock sky)")
    parser.add_argument("--model", help="a generator's folder or name, conditioned on redshift (none: one is trained)")
    parser.add_argument("--workers", type=int, default=2, help="processes that read or draw")
    parser.add_argument("--batches", type=int, default=60, help="of 64 galaxies to learn from")
    parser.add_argument("--minutes", type=float, default=1.0, help="of training the generator, where none is given")
    parser.add_argument("--n", type=int, default=2000, help="galaxies of the mock sky")
    parser.add_argument("--out", type=Path, default=Path("runs/10_torch_dataset"))
    arguments = parser.parse_args()

    path = arguments.galaxies or simulate(arguments.out / "sky.h5", n=arguments.n, seed=1, image_size=32).path
    seen, unseen = GalaxySet.open(path).split([0.5, 0.5], seed=1)
    if arguments.model is None:
        train(seen, arguments.out / "model", Recipe(minutes=arguments.minutes, seed=1), resume=True, sheets=False)
    generator = Generator.from_pretrained(arguments.model or arguments.out / "model")

    # The generator's stretch makes network units of flux for both: what is learnt from one can be asked about the other.
    how = {"stretch": generator.stretch, "transform": middle}
    real = GalaxyDataset(seen, columns=["redshift"], **how)
    shuffled = DataLoader(real, batch_size=BATCH, shuffle=True, num_workers=arguments.workers, generator=torch.Generator().manual_seed(1))
    drawn = GeneratedDataset(generator, seed=1, steps=10, **how)  # conditions from the training set's distribution, without end
    endless = DataLoader(drawn, batch_size=BATCH, num_workers=arguments.workers)
    networks = {
        "real galaxies": learn(chain.from_iterable(repeat(shuffled)), arguments.batches, "real galaxies"),
        "drawn galaxies": learn(endless, arguments.batches, "drawn galaxies"),
    }

    test = next(iter(DataLoader(GalaxyDataset(unseen, columns=["redshift"], **how), batch_size=len(unseen))))
    spread = (test["redshift"] - test["redshift"].median()).abs().div(1 + test["redshift"]).median()
    print(f"median |dz| / (1 + z) of {len(unseen)} unseen real galaxies (the median redshift for all: {spread:.3f})")
    for what, network in networks.items():
        with torch.inference_mode():
            z = network(test["image"])[:, 0].expm1()
        print(f"  learnt from {what:15} {((z - test['redshift']).abs() / (1 + test['redshift'])).median():.3f}")


if __name__ == "__main__":
    main()
