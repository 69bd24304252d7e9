"""The U-Net of Lizarraga et al. (2024), figure 1 and section 5.1.

    image -> 64 -(1/2)-> 128 -(1/4)-> 256 -(1/8)-> 256 -> bottleneck 512, 512, 256 -> the way back -> image

Every stage is pairs of 3x3 convolutions without bias, each followed by GroupNorm with one group, with GELU between them and after a
residual pair; on the way down 2x2 max-pooling, on the way up bilinear interpolation and the feature map of the way down beside it. After
every change of resolution one vector a galaxy is added to all positions, a linear function of SiLU(code); then, in the described network,
self-attention of four heads (LayerNorm before it, and before the two linear layers with GELU that follow it), which the released network
does without.

    code = (sin(t f_i), cos(t f_i))_{i < 128} + z,   f_i = 10000^(-i / 128)

The redshift is a number added to each of the 256 components, raw, with neither a scale nor an embedding. Ours, where the paper is silent:
a condition other than redshift is embedded (:class:`ConditionEmbedding`) and added to the code too; "not asked" is a learned vector, as
everywhere in this package, which enters only a training that drops conditions.

At 5 x 64 x 64: 22.3e6 parameters without attention, 23.3e6 with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from hubbleflow.networks.embedding import ConditionEmbedding, SinusoidalCode

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

HEADS = 4


class Pair(nn.Module):
    """Two convolutions with GroupNorm(1), GELU between them; as a `residual`, GELU of their sum with what came in."""

    def __init__(self, channels_in: int, channels_out: int, between: int | None = None, *, residual: bool = False) -> None:
        super().__init__()
        between = between or channels_out
        self.residual = residual
        self.layers = nn.Sequential(
            nn.Conv2d(channels_in, between, 3, padding=1, bias=False),
            nn.GroupNorm(1, between),
            nn.GELU(),
            nn.Conv2d(between, channels_out, 3, padding=1, bias=False),
            nn.GroupNorm(1, channels_out),
        )

    def forward(self, h: Float[Tensor, "n c y x"]) -> Float[Tensor, "n d y x"]:
        return F.gelu(h + self.layers(h)) if self.residual else self.layers(h)


class PositionAttention(nn.Module):
    """Self-attention over positions and two linear layers on each position, both added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(channels), nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.feed = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels))

    def forward(self, h: Float[Tensor, "n c y x"]) -> Float[Tensor, "n c y x"]:
        n, c, height, width = h.shape
        rows = h.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(rows)).reshape(n, height * width, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4)
        rows = rows + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, height * width, c))
        rows = rows + self.feed(rows)
        return rows.transpose(1, 2).reshape(n, c, height, width)


class Stage(nn.Module):
    """One change of resolution: two pairs, the code, attention. `halve` says on which way."""

    def __init__(self, channels_in: int, channels_out: int, code: int, *, halve: bool, attention: bool) -> None:
        super().__init__()
        self.halve = halve
        between = None if halve else channels_in // 2
        self.pairs = nn.Sequential(Pair(channels_in, channels_in, residual=True), Pair(channels_in, channels_out, between))
        self.told = nn.Linear(code, channels_out)
        self.attention = PositionAttention(channels_out) if attention else nn.Identity()

    def forward(self, h: Tensor, code: Float[Tensor, "n code"], beside: Tensor | None = None) -> Tensor:
        h = F.max_pool2d(h, 2) if self.halve else F.interpolate(h, scale_factor=2, mode="bilinear")
        h = self.pairs(h if beside is None else torch.cat([beside, h], dim=1))
        return self.attention(h + self.told(F.silu(code))[:, :, None, None])


class LizarragaUNet(nn.Module):
    """eps_theta(x_t, t, c).

    Args:
        bands: image channels.
        conditions: layout of the conditions (see :class:`ConditionEmbedding`).
        added: which of them is added to the code as it is; the others are embedded.
        width: channels at full resolution, a multiple of four; the paper's is 64.
        code: length of the time code.
        attention: the described network (True) or the released one (False).
        image_size, largest: attention is kept to feature maps of at most `largest` of the image's `image_size` positions on a side.

    Example:
        >>> net = LizarragaUNet(5, (0,), 0, width=8)
        >>> net(torch.zeros(2, 5, 16, 16), torch.tensor([3.0, 999.0]), torch.tensor([[0.5], [2.0]])).shape
        torch.Size([2, 5, 16, 16])
    """

    def __init__(
        self,
        bands: int,
        conditions: tuple[int, ...],
        added: int | None,
        width: int = 64,
        code: int = 256,
        attention: bool = True,
        image_size: int = 64,
        largest: int = 64,
    ) -> None:
        super().__init__()
        self.added = added
        self.embedded = [number for number in range(len(conditions)) if number != added]
        self.time = SinusoidalCode(code)
        self.nothing = nn.Parameter(torch.zeros(code)) if added is not None else None
        self.embed = ConditionEmbedding(tuple(conditions[number] for number in self.embedded), code) if self.embedded else None

        full, half, quarter = (attention and image_size // 2**level <= largest for level in (0, 1, 2))
        self.first = Pair(bands, width)
        self.down = nn.ModuleList(
            [
                Stage(width, 2 * width, code, halve=True, attention=half),
                Stage(2 * width, 4 * width, code, halve=True, attention=quarter),
                Stage(4 * width, 4 * width, code, halve=True, attention=attention),
            ]
        )
        self.bottleneck = nn.Sequential(Pair(4 * width, 8 * width), Pair(8 * width, 8 * width), Pair(8 * width, 4 * width))
        self.up = nn.ModuleList(
            [
                Stage(8 * width, 2 * width, code, halve=False, attention=quarter),
                Stage(4 * width, width, code, halve=False, attention=half),
                Stage(2 * width, width, code, halve=False, attention=full),
            ]
        )
        self.last = nn.Conv2d(width, bands, 1)

    def _code(self, t: Float[Tensor, " n"], c: Float[Tensor, "n k"]) -> Float[Tensor, "n code"]:
        code = self.time(t)
        if self.added is not None and self.nothing is not None:
            value = c[:, self.added, None]
            code = code + torch.where(torch.isfinite(value), torch.nan_to_num(value), self.nothing)
        return code if self.embed is None else code + self.embed(c[:, self.embedded])

    def forward(self, x: Float[Tensor, "n band y x"], t: Float[Tensor, " n"], c: Float[Tensor, "n k"]) -> Float[Tensor, "n band y x"]:
        code = self._code(t, c)
        h = self.first(x)
        passed = []
        for stage in self.down:
            passed.append(h)
            h = stage(h, code)
        h = self.bottleneck(h)
        for stage in self.up:
            h = stage(h, code, passed.pop())
        return self.last(h)
