"""The U-Net of Li et al. (2024), appendix A.1, figures 8 and 9.

Given in the paper: five feature-map resolutions (64, 32, 16, 8, 4 px), sinusoidal position embedding of the step, residual blocks of three
convolutions with GroupNorm and SiLU, self-attention of four heads in every down-sampling block, up-sampling block and the one in the
middle, 1.24e8 parameters; and

    "Redshift label is converted to a hidden representation identical to the input of the blocks, then concatenated to these inputs.
    No embedding is done for the redshift condition value."

So each block sees [h, z], z a constant map. Ours, because the paper's text leaves it open (its figures were not at hand):

*  Widths 64-128-256-512-1024 (Ronneberger et al. 2015) and two residual blocks a block (Ho et al. 2020); the step's code is 768 numbers
   long, which makes it 1.24e8 parameters.
*  One map of z a block, not as many as h has channels: copies of a map are the same function with more weights.
*  A residual block is (3x3 convolution, GroupNorm, SiLU) thrice, the sum with what came in (through a 1x1 convolution where channels
   change) standing before the last SiLU; the convolution is first so that no norm can take the constant map away. The last norm starts at
   zero, so that a block starts as nothing (Goyal et al. 2017).
*  The step's code passes two linear layers (Ho et al. 2020) and is added after a block's first convolution.
*  A block is: map beside the input, residual blocks, attention, then a strided convolution down; or, on the way up, nearest-neighbour
   interpolation with a convolution first, and the feature map of the way down beside it.
*  A condition other than redshift is another map: a continuous one as it is, a category as one map a class (1 for its own, 0 else). "Not
   asked" is a map of a learned value, which enters only a training that drops conditions; it starts at -1, where no redshift is, or
   without any class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from hubbleflow.networks.embedding import ConditionNumbers, SinusoidalCode
from hubbleflow.networks.patch_unet import Attention, group_norm
from hubbleflow.networks.zeroed import zeroed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float
    from torch import Tensor

HEADS = 4
CODE = 12  # length of the step's code over the first width: 768, with which the paper's number of parameters comes out


class TripleConvolution(nn.Module):
    """A residual block of three convolutions, told the step after the first."""

    def __init__(self, channels_in: int, channels_out: int, code: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.told = nn.Linear(code, channels_out)
        self.rest = nn.Sequential(
            group_norm(channels_out),
            nn.SiLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
            group_norm(channels_out),
            nn.SiLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1),
            zeroed(group_norm(channels_out)),
        )
        self.skip = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, h: Float[Tensor, "n c y x"], code: Float[Tensor, "n code"]) -> Float[Tensor, "n d y x"]:
        return F.silu(self.skip(h) + self.rest(self.first(h) + self.told(code)[:, :, None, None]))


class Block(nn.Module):
    """[h, z] -> residual blocks -> attention."""

    def __init__(self, channels_in: int, channels_out: int, maps: int, code: int, blocks: int, *, attention: bool) -> None:
        super().__init__()
        inward = [channels_in + maps] + [channels_out] * (blocks - 1)
        self.residual = nn.ModuleList([TripleConvolution(channels, channels_out, code) for channels in inward])
        self.attention = Attention(channels_out, HEADS) if attention else nn.Identity()

    def forward(self, h: Tensor, maps: Float[Tensor, "n maps"], code: Float[Tensor, "n code"]) -> Tensor:
        h = torch.cat([h, maps[:, :, None, None].expand(-1, -1, *h.shape[-2:]).to(h.dtype)], dim=1)
        for block in self.residual:
            h = block(h, code)
        return self.attention(h)


class LiUNet(nn.Module):
    """eps_theta(x_t, t, c).

    Args:
        bands: image channels.
        conditions: layout of the conditions: 0 for a continuous one, K for one of K classes.
        widths: channels at each resolution, from the image's own down; multiples of four.
        blocks: residual blocks a block.
        image_size, largest: attention is kept to feature maps of at most `largest` of the image's `image_size` positions on a side.

    Example:
        >>> net = LiUNet(5, (0,), (8, 8, 8))
        >>> net(torch.zeros(2, 5, 16, 16), torch.tensor([3.0, 999.0]), torch.tensor([[0.5], [2.0]])).shape
        torch.Size([2, 5, 16, 16])
    """

    def __init__(
        self,
        bands: int,
        conditions: tuple[int, ...],
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        blocks: int = 2,
        image_size: int = 64,
        largest: int = 64,
    ) -> None:
        super().__init__()
        code = CODE * widths[0]
        self.time = nn.Sequential(SinusoidalCode(widths[0]), nn.Linear(widths[0], code), nn.SiLU(), nn.Linear(code, code), nn.SiLU())
        self.maps = ConditionNumbers(conditions, learned=True)
        attends = [image_size // 2**level <= largest for level in range(len(widths))]

        def block(channels_in: int, level: int) -> Block:
            return Block(channels_in, widths[level], self.maps.size, code, blocks, attention=attends[level])

        self.stem = nn.Conv2d(bands, widths[0], 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths[:-1]):
            self.down.append(block(widths[max(level - 1, 0)], level))
            self.shrink.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
        self.middle = block(widths[-2], len(widths) - 1)
        self.grow, self.up = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(widths) - 1)):
            self.grow.append(nn.Conv2d(widths[level + 1], widths[level + 1], 3, padding=1))
            self.up.append(block(widths[level + 1] + widths[level], level))
        self.last = nn.Sequential(group_norm(widths[0]), nn.SiLU(), zeroed(nn.Conv2d(widths[0], bands, 3, padding=1)))

    def forward(self, x: Float[Tensor, "n band y x"], t: Float[Tensor, " n"], c: Float[Tensor, "n k"]) -> Float[Tensor, "n band y x"]:
        code, maps = self.time(t), self.maps(c)
        h = self.stem(x)
        passed = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            h = block(h, maps, code)
            passed.append(h)
            h = shrink(h)
        h = self.middle(h, maps, code)
        for grow, block in zip(self.grow, self.up, strict=True):
            h = grow(F.interpolate(h, scale_factor=2, mode="nearest"))
            h = block(torch.cat([h, passed.pop()], dim=1), maps, code)
        return self.last(h)
