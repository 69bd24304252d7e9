"""The Astro-RAB (Residual Attention Block) of GalCatDiff and the U-Net made of it (Fan et al. 2025, figures 1 and 2).

Given by the abstract and the captions, and built so:

    stem of one convolution; two down-sampling and two up-sampling stages, each of several Astro-RABs, with skip connections between the
    stages of one size; an Astro-RAB is (convolutional block -> Attention Fusion Unit -> skip connection), twice; the Attention Fusion
    Unit (AFU) is window attention combined with convolutions, "dynamically"; category and time are embedded and enter every Astro-RAB.

    h = skip(x) + AFU(conv(x; e)),   out = h + AFU(conv(h; e)),   e = embedding of time + embedding of category          (1)

Not given, and chosen here:

*   fusion: a gate for every pixel and channel, g = sigmoid(W [a, k]), AFU = W' (g a + (1 - g) k), with a the attention's output, k a 3x3
    convolution's, and both of the normalised input; W, W' are 1x1 convolutions                                             (2)
*   window attention: softmax(q k^T / sqrt(d)) v among the pixels of one window (Liu et al. 2021), without a positional bias: the
    convolution beside it knows positions. 8x8 windows, 32 channels a head
*   the second AFU of a block has its windows shifted by half a window, as in Liu et al. 2021, so that windows exchange light
*   windows that do not divide the map, and shifted ones: the map is padded, and padding is never attended to
*   convolutional block: GroupNorm, the embedding as its scale and shift, SiLU, 3x3 convolution
*   skip(x): 1x1 convolution where the channels change, x itself otherwise; every stage's blocks hand their output over to the stage of that
    size on the way up, by concatenation
*   down-sampling: 3x3 convolution with stride 2; up-sampling: nearest neighbour, then a 3x3 convolution
*   one Astro-RAB at the coarsest size, between the two ways
*   the last layer: a 3x3 convolution that starts at zero, without norm or SiLU. Where noise drowns a galaxy, the noise is the input itself:
    the way to it through skips and this layer is then linear, and short trainings draw better
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from hubbleflow.networks.embedding import ConditionEmbedding, FourierFeatures
from hubbleflow.networks.patch_unet import group_norm
from hubbleflow.networks.zeroed import zeroed

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

CHANNELS_A_HEAD = 32


def windows_of(h: Float[Tensor, "n c y x"], window: int, shift: int = 0) -> Float[Tensor, "m pixel c"]:
    """Cut maps, padded with zeros, into square windows, of which the first begins `shift` pixels before the map.

    Returns:
        The windows of the first map row by row, then those of the second, ...: m = n times the number of windows.

    Example:
        >>> windows_of(torch.zeros(2, 3, 10, 10), 4, shift=2).shape
        torch.Size([18, 16, 3])
    """
    n, c, height, width = h.shape
    below, right = (-(side + shift) % window for side in (height, width))
    h = F.pad(h, (shift, right, shift, below))
    rows, columns = h.shape[-2] // window, h.shape[-1] // window
    h = h.reshape(n, c, rows, window, columns, window).permute(0, 2, 4, 3, 5, 1)
    return h.reshape(n * rows * columns, window * window, c)


def map_of(windows: Float[Tensor, "m pixel c"], height: int, width: int, window: int, shift: int = 0) -> Float[Tensor, "n c y x"]:
    """Inverse of :func:`windows_of`: maps of that height and width, without the padding."""
    rows, columns = (-(-(side + shift) // window) for side in (height, width))
    h = windows.reshape(-1, rows, columns, window, window, windows.shape[-1]).permute(0, 5, 1, 3, 2, 4)
    h = h.reshape(len(h), -1, rows * window, columns * window)
    return h[:, :, shift : shift + height, shift : shift + width]


class WindowAttention(nn.Module):
    """Self-attention among the pixels of each window.

    Args:
        channels: of the map.
        window: pixels on a side of a window.
        shift: pixels by which the windows begin before the map.
    """

    def __init__(self, channels: int, window: int = 8, shift: int = 0) -> None:
        super().__init__()
        self.window, self.shift, self.heads = window, shift, max(1, channels // CHANNELS_A_HEAD)
        if channels % self.heads:
            raise ValueError(f"{channels} channels do not divide into {self.heads} heads: use a multiple of {CHANNELS_A_HEAD}")
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)

    def forward(self, h: Float[Tensor, "n c y x"]) -> Float[Tensor, "n c y x"]:
        n, c, height, width = h.shape
        qkv = windows_of(self.qkv(h), self.window, self.shift)
        q, k, v = qkv.reshape(*qkv.shape[:2], 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=self._inside(n, height, width, h.device))
        return map_of(attended.transpose(1, 2).flatten(2), height, width, self.window, self.shift)

    def _inside(self, n: int, height: int, width: int, device: torch.device) -> Bool[Tensor, "m 1 1 pixel"] | None:
        """True for keys that are pixels of the map; None where no window holds padding."""
        if not (self.shift or height % self.window or width % self.window):
            return None
        pixels = windows_of(torch.ones(1, 1, height, width, device=device), self.window, self.shift)[:, None, None, :, 0] > 0
        return pixels.repeat(n, 1, 1, 1)


class AttentionFusionUnit(nn.Module):
    """Eq. (2): window attention and a convolution, mixed by a gate of their own."""

    def __init__(self, channels: int, window: int, shift: int = 0) -> None:
        super().__init__()
        self.norm, self.attention = group_norm(channels), WindowAttention(channels, window, shift)
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate, self.out = nn.Conv2d(2 * channels, channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, h: Float[Tensor, "n c y x"]) -> Float[Tensor, "n c y x"]:
        h = self.norm(h)
        attended, convolved = self.attention(h), self.convolution(h)
        gate = torch.sigmoid(self.gate(torch.cat([attended, convolved], dim=1)))
        return self.out(gate * attended + (1 - gate) * convolved)


class ConvolutionBlock(nn.Module):
    """GroupNorm, scale and shift from the embedding, SiLU, 3x3 convolution."""

    def __init__(self, channels_in: int, channels_out: int, embedding: int) -> None:
        super().__init__()
        self.norm, self.modulation = group_norm(channels_in), nn.Linear(embedding, 2 * channels_in)
        self.convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1)

    def forward(self, h: Float[Tensor, "n c y x"], embedding: Float[Tensor, "n e"]) -> Float[Tensor, "n d y x"]:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        return self.convolution(F.silu(self.norm(h) * (1 + scale) + shift))


class AstroRab(nn.Module):
    """Eq. (1): (convolutional block, Attention Fusion Unit, skip connection), twice.

    Example:
        >>> block = AstroRab(16, 32, embedding=8, window=4)
        >>> block(torch.zeros(2, 16, 10, 10), torch.zeros(2, 8)).shape
        torch.Size([2, 32, 10, 10])
    """

    def __init__(self, channels_in: int, channels_out: int, embedding: int, window: int = 8) -> None:
        super().__init__()
        self.conv1, self.fuse1 = ConvolutionBlock(channels_in, channels_out, embedding), AttentionFusionUnit(channels_out, window)
        self.conv2 = ConvolutionBlock(channels_out, channels_out, embedding)
        self.fuse2 = AttentionFusionUnit(channels_out, window, window // 2)
        self.skip = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Float[Tensor, "n c y x"], embedding: Float[Tensor, "n e"]) -> Float[Tensor, "n d y x"]:
        h = self.skip(x) + self.fuse1(self.conv1(x, embedding))
        return h + self.fuse2(self.conv2(h, embedding))


class AstroRabUNet(nn.Module):
    """F(x, t, c): noisy images, step numbers and conditions in, images out.

    Args:
        bands: image channels.
        conditions: layout of the conditions (see :class:`ConditionEmbedding`).
        width: channels of the stem and the first stage.
        multipliers: channels of the two stages and of the coarsest size, over `width`.
        blocks: Astro-RABs a stage.
        window: pixels on a side of an attention window.
        patch: pixels on a side of the patch that the stem's convolution takes as one position; 1 is the image itself.
        steps: number of steps that t counts, 0 to steps - 1.

    Example:
        >>> net = AstroRabUNet(3, (4,), width=8, window=4)
        >>> net(torch.zeros(2, 3, 16, 16), torch.tensor([0, 999]), torch.zeros(2, 1)).shape
        torch.Size([2, 3, 16, 16])
    """

    def __init__(
        self,
        bands: int,
        conditions: tuple[int, ...],
        width: int = 64,
        multipliers: tuple[int, int, int] = (1, 2, 4),
        blocks: int = 2,
        window: int = 8,
        patch: int = 1,
        steps: int = 1000,
    ) -> None:
        super().__init__()
        self.patch, self.blocks, embedding = patch, blocks, 4 * width
        # The sinusoidal code of Vaswani et al. 2017: from one turn in 2 pi steps to a fraction of one in all of them.
        self.time_features = FourierFeatures(2 * width, 0.1 / steps, 1.0)
        self.embed_time = nn.Sequential(nn.Linear(2 * width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.embed_conditions = ConditionEmbedding(conditions, embedding)
        fine, middle, coarse = (width * multiplier for multiplier in multipliers)
        self.stem = nn.Conv2d(bands * patch**2, fine, 3, padding=1)
        self.down, self.shrink, self.up, self.grow = (nn.ModuleList() for _ in range(4))
        for size, following in ((fine, middle), (middle, coarse)):
            self.down.extend(AstroRab(size, size, embedding, window) for _ in range(blocks))
            self.shrink.append(nn.Conv2d(size, following, 3, stride=2, padding=1))
        self.middle = AstroRab(coarse, coarse, embedding, window)
        for size, previous in ((middle, coarse), (fine, middle)):
            self.grow.append(nn.Conv2d(previous, size, 3, padding=1))
            self.up.extend(AstroRab(2 * size, size, embedding, window) for _ in range(blocks))
        self.out = zeroed(nn.Conv2d(fine, bands * patch**2, 3, padding=1))

    def forward(self, x: Float[Tensor, "n band y x"], t: Float[Tensor, " n"], c: Float[Tensor, "n k"]) -> Float[Tensor, "n band y x"]:
        embedding = F.silu(self.embed_time(self.time_features(t.float())) + self.embed_conditions(c))
        h, skips = self.stem(F.pixel_unshuffle(x, self.patch)), list[torch.Tensor]()
        for stage, shrink in enumerate(self.shrink):
            for block in self.down[stage * self.blocks : (stage + 1) * self.blocks]:
                h = block(h, embedding)
                skips.append(h)
            h = shrink(h)
        h = self.middle(h, embedding)
        for stage, grow in enumerate(self.grow):
            h = grow(F.interpolate(h, scale_factor=2.0, mode="nearest"))
            for block in self.up[stage * self.blocks : (stage + 1) * self.blocks]:
                h = block(torch.cat([h, skips.pop()], dim=1), embedding)
        return F.pixel_shuffle(self.out(h), self.patch).float()
