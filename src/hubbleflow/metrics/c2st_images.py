"""Can a network tell generated images from real ones?  (classifier two-sample test; Lopez-Paz & Oquab 2017, arXiv 1610.06545)

A small convolutional network learns on one half of both sets (as many of each) to say which set an image comes from,
and is asked on the other half; then the halves change places.

    c2st_images = share of images, of both folds, whose set is told rightly:  0.5 = cannot be told apart, 1 = always told

It sees what no list of quantities names: all pixels of all common bands, as asinh(x / sigma) in units of the real sky's
rms. 32 features of each patch of 4 x 4 pixels, 32 of each block of 2 x 2 patches, the mean and the scatter of these over the
image, one linear layer: some seven thousand weights, so that a few hundred images teach it in a second. It sees noise,
brightness, colours, sizes and wings, and is no judge of how the parts of a galaxy hang together over many pixels. Images
are turned and mirrored at random while it learns. Copies of one image stand in one fold (what it has learnt by heart
must not count). Real against real at the same sizes gives the floor: a network that learns nothing is at 0.5.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared
from hubbleflow.metrics.noise import sky_sigma
from hubbleflow.metrics.sample import Sample, rows_in_bins

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float32, Int

    from hubbleflow.metrics.bins import Bins

LARGEST_STAMP = 64  # px: of larger ones the centre is looked at
PATCH, BLOCK, WIDTH = 4, 2, 32  # pixels, patches, features
STEPS, BATCH, LEARNING_RATE = 100, 40, 2e-2
FEWEST = 200  # images a side: fewer teach little
FEWEST_IN_A_CELL = 10


class Discriminator(nn.Module):
    """Images, cut into patches, to the logarithm of the odds that they are generated."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.patch = nn.Linear(bands * PATCH**2, WIDTH)
        self.block = nn.Linear(WIDTH * BLOCK**2, WIDTH)
        self.norm = nn.BatchNorm1d(2 * WIDTH)
        self.head = nn.Linear(2 * WIDTH, 1)

    def forward(self, patches: torch.Tensor, axes: tuple[int, ...] = (), transposed: bool = False) -> torch.Tensor:
        """(n, blocks, 4, 16 bands) to (n,).

        Means and scatters over an image do not ask where a block stands, so that to mirror or to transpose the weights is to
        mirror or to transpose the images, and costs nothing.
        """
        x = functional.silu(functional.linear(patches, _turned(self.patch.weight, PATCH, axes, transposed), self.patch.bias))
        x = functional.silu(functional.linear(x.flatten(2), _turned(self.block.weight, BLOCK, axes, transposed), self.block.bias))
        scatter = (x.var(1, unbiased=False) + 1e-6).sqrt()
        return self.head(self.norm(torch.cat([x.mean(1), scatter], dim=1)))[:, 0]


def _turned(weight: torch.Tensor, side: int, axes: tuple[int, ...], transposed: bool) -> torch.Tensor:
    """Weights (out, y x in) mirrored along axes 1 (y) and 2 (x) and transposed."""
    if not axes and not transposed:
        return weight
    square = weight.unflatten(1, (side, side, -1)).flip(axes)
    return (square.transpose(1, 2) if transposed else square).flatten(1)


def in_patches(images: Float32[np.ndarray, "n band y x"]) -> Float32[np.ndarray, "n block 4 patch"]:
    """Blocks of 2 x 2 patches of 4 x 4 pixels of all bands: (n, blocks, patches, y x band); what is over at the edges is left out.

    Example:
        >>> in_patches(np.zeros((3, 5, 67, 64), np.float32)).shape
        (3, 64, 4, 80)
    """
    n, bands = images.shape[:2]
    step = BLOCK * PATCH
    blocks = [side // step for side in images.shape[2:]]
    top, left = ((side - number * step) // 2 for side, number in zip(images.shape[2:], blocks, strict=True))
    whole = images[:, :, top : top + blocks[0] * step, left : left + blocks[1] * step]
    parts = whole.reshape(n, bands, blocks[0], BLOCK, PATCH, blocks[1], BLOCK, PATCH).transpose(0, 2, 5, 3, 6, 4, 7, 1)
    return parts.reshape(n, blocks[0] * blocks[1], BLOCK**2, -1)


def told_rightly(
    a: Float32[np.ndarray, "n block 4 patch"], b: Float32[np.ndarray, "m block 4 patch"], seed: int = 0, steps: int = STEPS
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " m"]]:
    """Whether each image's set is told rightly by a network that has learnt on the other fold.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> real, brighter = (in_patches(rng.normal(mean, 1, (60, 1, 16, 16)).astype(np.float32)) for mean in (0.0, 0.5))
        >>> right = np.concatenate(told_rightly(real, brighter))
        >>> bool(right.mean() > 0.9)
        True
    """
    right = tuple(np.zeros(len(images), bool) for images in (a, b))
    folds = [_folds(images, seed) for images in (a, b)]
    with torch.random.fork_rng(devices=[]):
        for fold in range(2):
            torch.manual_seed(2 * seed + fold)
            network = Discriminator(a.shape[3] // PATCH**2)
            _teach(network, a[folds[0] != fold], b[folds[1] != fold], steps)
            for side, (images, which) in enumerate(zip((a, b), folds, strict=True)):
                asked = np.flatnonzero(which == fold)
                if len(asked):
                    right[side][asked] = (_odds(network, images[asked]) > 0) == bool(side)
    return right[0], right[1]


def _folds(images: Float32[np.ndarray, "n block 4 patch"], seed: int) -> Int[np.ndarray, " n"]:
    """0 or 1 of each image, the same for copies."""
    _, first, copy_of = np.unique(images[:, 0].reshape(len(images), -1), axis=0, return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(first))
    return (order % 2)[copy_of.ravel()]


def _teach(
    network: Discriminator, a: Float32[np.ndarray, "n block 4 patch"], b: Float32[np.ndarray, "m block 4 patch"], steps: int
) -> None:
    size = min(len(a), len(b))
    order = torch.randperm(2 * size)
    images = torch.from_numpy(np.concatenate([a[:size], b[:size]])[order.numpy()])
    labels = (order >= size).float()
    batches = list(zip(images.tensor_split(-(-len(labels) // BATCH)), labels.tensor_split(-(-len(labels) // BATCH)), strict=True))
    epochs = -(-steps // len(batches))
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=epochs * len(batches))
    network.train()
    for _ in range(epochs):
        for number in torch.randperm(len(batches)).tolist():
            along_y, along_x, transposed = (torch.rand(3) < 0.5).tolist()
            axes = tuple(axis for axis, mirrored in ((1, along_y), (2, along_x)) if mirrored)
            x, y = batches[number]
            loss = functional.binary_cross_entropy_with_logits(network(x, axes, transposed), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def _odds(network: Discriminator, images: Float32[np.ndarray, "n block 4 patch"]) -> Float[np.ndarray, " n"]:
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(part) for part in torch.from_numpy(images).split(100)]).numpy()


def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
    """Stretched images of the bands in common."""
    images = [sample.images for sample in (real, generated) if sample.images is not None]
    if len(images) < 2 or real.image_rows is None or generated.image_rows is None:
        raise NotComputable("needs images of both sets")
    sizes = [f"{x.shape[3]}x{x.shape[2]}" for x in images]
    if sizes[0] != sizes[1]:
        raise NotComputable(f"needs stamps of one size in both sets, has images of {sizes[0]} and {sizes[1]} px")
    if min(images[0].shape[2:]) < BLOCK * PATCH:
        raise NotComputable(f"needs images of at least {BLOCK * PATCH} px, has {sizes[0]}")
    common = [band for band in real.survey.bands if band in generated.survey.bands]
    sigma = sky_sigma(real)
    scale = np.array([sigma[band] for band in common], np.float32)[:, None, None]
    surveys = (real.survey, generated.survey)
    rows = [stretched(x[:, [survey.band_index(band) for band in common]], scale) for x, survey in zip(images, surveys, strict=True)]
    rows = [in_patches(x) for x in rows]
    index = bins.real[real.image_rows], bins.generated[generated.image_rows]
    m = max(1, min(len(rows[0]) // 2, len(rows[1]), 1000))
    return Prepared(
        partial(_statistic, bins=len(bins)),
        ("share told rightly",),
        rows[0],
        index[0],
        rows[1],
        index[1],
        minimum=FEWEST,
        resolution=0.5 / np.sqrt(2 * m),
    )


def stretched(images: Float32[np.ndarray, "n band y x"], scale: Float32[np.ndarray, "band 1 1"]) -> Float32[np.ndarray, "n band y x"]:
    """asinh(x / scale) of the central 64 px, 0 where a pixel is not finite."""
    height, width = images.shape[2:]
    top, left = (max(0, (side - LARGEST_STAMP) // 2) for side in (height, width))
    centre = images[:, :, top : top + LARGEST_STAMP, left : left + LARGEST_STAMP]
    return np.arcsinh(np.nan_to_num(centre, nan=0.0, posinf=0.0, neginf=0.0) / scale)


def _statistic(
    a: Float32[np.ndarray, "n block 4 patch"],
    i: Int[np.ndarray, " n"],
    b: Float32[np.ndarray, "m block 4 patch"],
    j: Int[np.ndarray, " m"],
    bins: int,
) -> Measurement:
    right = told_rightly(a, b)
    table = np.full((1, bins), np.nan)
    for column, rows in enumerate(zip(rows_in_bins(i, bins), rows_in_bins(j, bins), strict=True)):
        if min(map(len, rows)) >= FEWEST_IN_A_CELL:
            table[0, column] = _balanced(*(side[of_bin] for side, of_bin in zip(right, rows, strict=True)))
    return Measurement(_balanced(*right), table)


def _balanced(a: Bool[np.ndarray, " n"], b: Bool[np.ndarray, " m"]) -> float:
    return float((a.mean() + b.mean()) / 2)


METRICS = (
    Metric(
        "c2st_images",
        "How often can a small network tell a generated image from a real one (0.5: a coin)?",
        "comparison",
        "low",
        "share",
        "classifier two-sample test, Lopez-Paz & Oquab 2017",
        prepare,
        splits=4,
        largest=1000,
    ),
)
