"""Encoder and decoder whose every convolution has its own way to the flat layer (HD-CNN; Yan et al. 2015, as Li et al. 2024 adopt it).

    encoder   h_0 = x,   h_l = f(conv_l(h_l-1)),   s_l = flatten(skip_l(h_l)),   (s_1, ..., s_L, c) -> dense -> numbers
    decoder   (v, c) -> dense -> (s_1, ..., s_L),   h_L = f(skip_L(s_L)),   h_l-1 = f(conv_l(h_l) + skip_l-1(s_l-1)),   x = conv_1(h_1)

Each convolution halves (in the decoder doubles) the side. A skip is a 1x1 convolution that brings every level to about the same number of
features, many channels of the coarse and few of the fine one, so that neither detail nor overall shape has the flat layer to itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


def level_shapes(image_size: int, levels: int, features: int) -> list[tuple[int, int]]:
    """(channels, side) of what each level's skip carries: about `features` numbers.

    Raises:
        ValueError: the side does not halve that often.

    Example:
        >>> level_shapes(64, 4, 4096)
        [(4, 32), (16, 16), (64, 8), (256, 4)]
    """
    if image_size % 2**levels:
        raise ValueError(f"stamps of {image_size} px cannot be halved {levels} times: pad or crop them, or use fewer widths")
    sides = [image_size // 2 ** (level + 1) for level in range(levels)]
    return [(max(1, features // side**2), side) for side in sides]


def dense_layers(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with SiLU between them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


class HdEncoder(nn.Module):
    """Images and conditions -> numbers.

    Args:
        bands, image_size: shape of the images.
        numbers: how many numbers the conditions are.
        widths: channels of the convolutions, 4x4 with stride 2.
        features: numbers each level sends to the flat layer.
        dense: widths of the dense layers; the last is what comes out.
    """

    def __init__(self, bands: int, image_size: int, numbers: int, widths: Sequence[int], features: int, dense: Sequence[int]) -> None:
        super().__init__()
        shapes = level_shapes(image_size, len(widths), features)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise([bands, *widths]))
        self.skips = nn.ModuleList(nn.Conv2d(width, channels, 1) for width, (channels, _) in zip(widths, shapes, strict=True))
        self.dense = dense_layers([sum(channels * side**2 for channels, side in shapes) + numbers, *dense])

    def forward(self, x: Float[Tensor, "n band y x"], numbers: Float[Tensor, "n k"]) -> Float[Tensor, "n m"]:
        flat = []
        for convolution, skip in zip(self.convolutions, self.skips, strict=True):
            x = F.silu(convolution(x))
            flat.append(skip(x).flatten(1))
        return self.dense(torch.cat([*flat, numbers.to(flat[0])], dim=1))


class HdDecoder(nn.Module):
    """A latent vector and conditions -> images: the mirror of :class:`HdEncoder`, with the same arguments but `latent` numbers in."""

    def __init__(
        self, bands: int, image_size: int, numbers: int, widths: Sequence[int], features: int, dense: Sequence[int], latent: int
    ) -> None:
        super().__init__()
        self.shapes = level_shapes(image_size, len(widths), features)
        self.sizes = [channels * side**2 for channels, side in self.shapes]
        self.dense = dense_layers([latent + numbers, *dense, sum(self.sizes)])
        self.skips = nn.ModuleList(nn.Conv2d(channels, width, 1) for width, (channels, _) in zip(widths, self.shapes, strict=True))
        self.convolutions = nn.ModuleList(nn.ConvTranspose2d(b, a, 4, stride=2, padding=1) for a, b in pairwise([bands, *widths]))

    def forward(self, latent: Float[Tensor, "n d"], numbers: Float[Tensor, "n k"]) -> Float[Tensor, "n band y x"]:
        parts = F.silu(self.dense(torch.cat([latent, numbers.to(latent)], dim=1))).split(self.sizes, dim=1)
        sent = [
            skip(part.unflatten(1, (channels, side, side)))
            for skip, part, (channels, side) in zip(self.skips, parts, self.shapes, strict=True)
        ]
        h = sent[-1]
        for level in range(len(sent) - 1, 0, -1):
            h = self.convolutions[level](F.silu(h)) + sent[level - 1]
        return self.convolutions[0](F.silu(h))
