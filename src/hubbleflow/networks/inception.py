"""Inception-v3 (Szegedy et al. 2016) as the Frechet Inception Distance has it (Heusel et al. 2017): image -> 2,048 features, 1,008 classes.

A stem of five convolutions, then eleven blocks of parallel branches whose channels are joined:

    5b 5c 5d    1x1 | 1x1-5x5 | 1x1-3x3-3x3 | pool-1x1                                       35 px
    6a          3x3/2 | 1x1-3x3-3x3/2 | pool/2                                               17 px
    6b - 6e     1x1 | 1x1-1x7-7x1 | 1x1-7x1-1x7-7x1-1x7 | pool-1x1                           17 px
    7a          1x1-3x3/2 | 1x1-1x7-7x1-3x3/2 | pool/2                                        8 px
    7b 7c       1x1 | 1x1-(1x3 and 3x1) | 1x1-3x3-(1x3 and 3x1) | pool-1x1                    8 px

Every convolution is followed by batch normalisation and ReLU. Two things are the FID's and not the paper's: pooling beside the branches
is a mean over pixels that exist (a maximum in 7c), and there are eight classes that mean nothing. The parameters bear the names that the
published weights have (`pt_inception-2015-12-05-6726825d.pth`), so that these can be read into it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    Layer = tuple[str, int, int | tuple[int, int]]  # name, channels, kernel
    Branch = tuple[Layer, ...]

FEATURES, CLASSES, SIDE = 2048, 1008, 299


class BasicConv2d(nn.Module):
    """Convolution, batch normalisation, ReLU; as large as before unless it strides or `pad` is off."""

    def __init__(self, channels: int, width: int, kernel: int | tuple[int, int], stride: int = 1, pad: bool = True) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if pad and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(channels, width, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Branches side by side, joined; a branch whose name ends in "a" is followed by its twin "b", and both of what went before.

    Args:
        channels: that come in.
        branches: the layers of each.
        pooled: channels of the convolution after pooling; None: the block halves the image, its pool has no convolution.
        maximum: pool by maximum instead of by mean.
    """

    def __init__(self, channels: int, branches: tuple[Branch, ...], pooled: int | None, maximum: bool = False) -> None:
        super().__init__()
        self.names = [[name for name, _, _ in branch] for branch in branches]
        self.halves, self.maximum = pooled is None, maximum
        self.width = pooled or channels
        for branch in branches:
            before = channels
            for name, width, kernel in branch:
                last = name == branch[-1][0]
                self.add_module(name, BasicConv2d(before, width, kernel, stride=2 if self.halves and last else 1))
                before = before if name.endswith("a") else width  # the twin sees what "a" saw: both 3x3s of 7b and 7c keep the channels
                self.width += width if last or name.endswith("a") else 0
        if pooled is not None:
            self.branch_pool = BasicConv2d(channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = []
        for names in self.names:
            h = x
            for name in names:
                layer = self.get_submodule(name)
                if name.endswith("a"):
                    out.append(layer(h))
                else:
                    h = layer(h)
            out.append(h)
        if self.halves:
            return torch.cat([*out, F.max_pool2d(x, 3, 2)], dim=1)
        near = F.max_pool2d(x, 3, 1, 1) if self.maximum else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat([*out, self.branch_pool(near)], dim=1)


def _block_5(pooled: int) -> tuple[tuple[Branch, ...], int]:
    triple = (("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3))
    return ((("branch1x1", 64, 1),), (("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)), triple), pooled


def _block_6(width: int) -> tuple[tuple[Branch, ...], int]:
    row, column = (1, 7), (7, 1)
    short = (("branch7x7_1", width, 1), ("branch7x7_2", width, row), ("branch7x7_3", 192, column))
    sides = (column, row, column, row)
    long = tuple((f"branch7x7dbl_{n}", 192 if n == 5 else width, side) for n, side in enumerate(sides, start=2))
    return ((("branch1x1", 192, 1),), short, (("branch7x7dbl_1", width, 1), *long)), 192


def _block_7() -> tuple[tuple[Branch, ...], int]:
    fork = (("branch3x3_1", 384, 1), ("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1)))
    double = (("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3), ("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1)))
    return ((("branch1x1", 320, 1),), fork, double), 192


HALF_6: tuple[Branch, ...] = (
    (("branch3x3", 384, 3),),
    (("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
)
HALF_7: tuple[Branch, ...] = (
    (("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3)),
    (("branch7x7x3_1", 192, 1), ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1)), ("branch7x7x3_4", 192, 3)),
)


class Inception(nn.Module):
    """Pictures of 3 x 299 x 299 in -1..1 -> features (n, 2048); `fc` makes the classes' logits of them."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3, pad=False)
        blocks = [("5b", *_block_5(32)), ("5c", *_block_5(64)), ("5d", *_block_5(64)), ("6a", HALF_6, None)]
        blocks += [(f"6{letter}", *_block_6(width)) for letter, width in zip("bcde", (128, 160, 160, 192), strict=True)]
        blocks += [("7a", HALF_7, None), ("7b", *_block_7()), ("7c", *_block_7())]
        self.blocks, channels = [f"Mixed_{name}" for name, _, _ in blocks], 192
        for name, branches, pooled in blocks:
            block = Mixed(channels, branches, pooled, maximum=name == "7c")
            self.add_module(f"Mixed_{name}", block)
            channels = block.width
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Float[Tensor, "n 3 299 299"]) -> Float[Tensor, "n 2048"]:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        return x.mean(dim=(2, 3))
