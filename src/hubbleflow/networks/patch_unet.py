"""A small U-Net on patches, made for galaxies in the middle of a stamp.

The image is folded so that each 4x4 patch becomes one position with sixteen times the channels (pixel-unshuffle): galaxies are smooth on
the scale of the seeing, so little is lost and a step costs little (bench/training.py). Residual blocks are those of ADM (Dhariwal & Nichol
2021): GroupNorm, SiLU, 3x3 convolution, the embedding entering as scale and shift of the second norm, the last convolution starting at
zero. Four things are ours:

*  Four constant maps (x, y, and two Gaussians of r) stand beside the input: the galaxy sits at the centre and convolutions cannot know
   where that is.
*  The output is net(x) + a x + b + shrinkage + sums, with a, b per band from the embedding. Most pixels are blank sky, for which the best
   denoiser is a linear function of the pixel that depends on the noise level alone: giving the network that function frees it for the
   galaxy, and keeps the sky's rms right from the first minute (without it the background came out 2.6 times too noisy).
*  Within a galaxy the best denoiser is another: stretched light is smooth there, its own noise small, so that nearly all that is rough is
   noise and has to go. A network on patches is slow to learn to draw a galaxy's pixels as smooth as that, and its bright galaxies came
   out speckled (bench/training.py). So it says how much of each starlet plane of x to keep, band by band, and of the mean of all bands,
   whose structure they share: sum_j (g_j + v k_j) w_j(x) + h_j mean w_j(x), with maps g, h, k of one number a patch, and v of one a pixel:
   where the mean galaxy is so bright that asinh has compressed the noise (docs/decisions/0018-what-counts.md).
*  What a few sums over the whole stamp say of a galaxy is said of these sums (networks/galaxy_sums.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from hubbleflow.networks.embedding import ConditionEmbedding, FourierFeatures
from hubbleflow.networks.galaxy_sums import GalaxySums
from hubbleflow.networks.mean_galaxy import MeanImage, above_sky
from hubbleflow.networks.starlet import smoothed, smoothing
from hubbleflow.networks.zeroed import zeroed

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

BRIGHT_RATE = 4.0  # bright pixels are few: what is said of them has to be learned from little
SHORT = 256  # positions up to which attention is written out: torch's fused one is made for more


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with groups of at least eight channels, at most 32 groups."""
    groups = next(g for g in range(min(32, max(1, channels // 8)), 0, -1) if channels % g == 0)
    return nn.GroupNorm(groups, channels, eps=1e-5)


class Attention(nn.Module):
    """Self-attention over all positions of a feature map, 64 channels a head where `heads` does not say, added to its input."""

    def __init__(self, channels: int, heads: int | None = None) -> None:
        super().__init__()
        self.heads = heads or max(1, channels // 64)
        self.norm, self.qkv, self.out = group_norm(channels), nn.Conv2d(channels, 3 * channels, 1), zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, h: Float[Tensor, "n c y x"]) -> Float[Tensor, "n c y x"]:
        n, c, height, width = h.shape
        q, k, v = self.qkv(self.norm(h)).reshape(n, 3, self.heads, c // self.heads, height * width).transpose(-1, -2).unbind(1)
        if height * width <= SHORT:
            attended = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1).to(v.dtype) @ v
        else:
            attended = F.scaled_dot_product_attention(q, k, v)
        return h + self.out(attended.transpose(-1, -2).reshape(n, c, height, width))


class ResidualBlock(nn.Module):
    """Two convolutions around an embedding; `resample` is "down" (mean of 2x2), "up" (nearest) or None."""

    def __init__(
        self, channels_in: int, channels_out: int, embedding: int, *, attention: bool = False, resample: str | None = None
    ) -> None:
        super().__init__()
        self.resample = resample
        self.norm1, self.conv1 = group_norm(channels_in), nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * channels_out)
        self.norm2, self.conv2 = group_norm(channels_out), zeroed(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.skip = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()
        self.attention = Attention(channels_out) if attention else nn.Identity()

    def _resampled(self, h: Tensor) -> Tensor:
        if self.resample == "down":
            return F.avg_pool2d(h, 2)
        if self.resample == "up":
            return F.interpolate(h, scale_factor=2, mode="nearest")
        return h

    def forward(self, x: Float[Tensor, "n c y x"], embedding: Float[Tensor, "n e"]) -> Float[Tensor, "n d v u"]:
        # In float32: in bfloat16 the norm of channels-last maps is slow on a CPU, and less exact.
        h = self.conv1(self._resampled(F.silu(self.norm1(x.float()))))
        scale, shift = self.modulation(embedding).float()[:, :, None, None].chunk(2, dim=1)
        h = self.conv2(F.silu(torch.addcmul(shift, self.norm2(h.float()), 1 + scale)))
        return self.attention(self.skip(self._resampled(x)) + h)


def coordinate_maps(size: int) -> Float[Tensor, "1 4 y x"]:
    """x, y in -1..1 and two Gaussians about the centre (widths 0.1 and 0.32 of the half width), scaled to order one."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    r2 = x**2 + y**2
    return torch.stack([x, y, 2 * torch.exp(-r2 / 0.02), 2 * torch.exp(-r2 / 0.2)])[None]


class PatchUNet(nn.Module):
    """F(x, t, c): images, a scalar noise code and conditions in, images out.

    Args:
        bands: image channels.
        image_size: pixels on a side; divisible by patch * 2 ** (levels - 1).
        conditions: layout of the conditions (see :class:`ConditionEmbedding`).
        width: channels at the first level.
        multipliers: channels of each level over `width`.
        blocks: residual blocks a level on the way down (one more on the way up).
        attention_sizes: feature-map sizes (positions on a side) that get self-attention; the middle always does.
        patch: pixels on a side of the patch that becomes one position.
        scales: starlet planes that are shrunk; 0 for none.
        condition_frequency: highest of a condition's code (see :class:`ConditionEmbedding`).
        mean: whether it is told what galaxies of these conditions look like on average, which was subtracted from x.
        sigma_data: standard deviation of what it denoises; t is ln(sigma) / 4 of the noise.
        sums: width of the layers that speak of sums over the stamp (see :class:`GalaxySums`); 0 for none.

    Example:
        >>> net = PatchUNet(5, 64, (0,), width=16, multipliers=(1, 2))
        >>> net(torch.zeros(2, 5, 64, 64), torch.zeros(2), torch.zeros(2, 1)).shape
        torch.Size([2, 5, 64, 64])
    """

    def __init__(
        self,
        bands: int,
        image_size: int,
        conditions: tuple[int, ...],
        width: int = 48,
        multipliers: tuple[int, ...] = (1, 2),
        blocks: int = 1,
        attention_sizes: tuple[int, ...] = (8,),
        patch: int = 4,
        scales: int = 3,
        condition_frequency: float = 32.0,
        mean: bool = False,
        sigma_data: float = 0.5,
        sums: int = 0,
    ) -> None:
        super().__init__()
        coarsest = patch * 2 ** (len(multipliers) - 1)
        if image_size % coarsest:
            raise ValueError(f"stamps of {image_size} px do not divide into {coarsest}: pad or crop them, or use fewer levels")
        self.patch, self.scales, self.sigma_data = patch, scales, sigma_data
        size, embedding = image_size // patch, 4 * width
        self.noise_features = FourierFeatures(2 * width)
        self.embed_noise = nn.Linear(2 * width, embedding)
        self.embed_conditions = ConditionEmbedding(conditions, embedding, condition_frequency)
        self.embed = nn.Sequential(nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU())
        self.register_buffer("coordinates", coordinate_maps(size), persistent=False)

        channels = width * multipliers[0]
        self.stem = nn.Conv2d(bands * (patch**2 + mean) + 4, channels, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips = [channels]
        for level, multiplier in enumerate(multipliers):
            if level:
                size //= 2
                self.down.append(ResidualBlock(channels, channels, embedding, resample="down"))
                skips.append(channels)
            for _ in range(blocks):
                self.down.append(ResidualBlock(channels, width * multiplier, embedding, attention=size in attention_sizes))
                channels = width * multiplier
                skips.append(channels)
        self.middle = nn.ModuleList(
            [ResidualBlock(channels, channels, embedding, attention=True), ResidualBlock(channels, channels, embedding)]
        )
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for _ in range(blocks + 1):
                self.up.append(ResidualBlock(channels + skips.pop(), width * multiplier, embedding, attention=size in attention_sizes))
                channels = width * multiplier
            if level:  # with the channels of the level above: at twice the positions a side they are what costs
                self.up.append(ResidualBlock(channels, width * multipliers[level - 1], embedding, resample="up"))
                channels = width * multipliers[level - 1]
                size *= 2
        self.norm, self.out = group_norm(channels), zeroed(nn.Conv2d(channels, bands * patch**2, 3, padding=1))
        self.gate = zeroed(nn.Linear(embedding, 2 * bands))
        self.register_buffer("smoothing", smoothing(image_size, scales), persistent=False)
        self.shrink = zeroed(nn.Conv2d(channels, 2 * scales * bands, 3, padding=1)) if scales else None
        self.shrink_bright = zeroed(nn.Conv2d(channels, scales * bands, 3, padding=1)) if scales and mean else None
        self.sums = GalaxySums(bands, image_size, embedding, sums) if sums else None

    def forward(
        self, x: Float[Tensor, "n band y x"], t: Float[Tensor, " n"], c: Float[Tensor, "n k"], m: MeanImage | None = None
    ) -> Float[Tensor, "n band y x"]:
        code = self.embed_conditions(c) if m is None or self.training else m.once(self.embed_conditions, c)
        embedding = self.embed(self.embed_noise(self.noise_features(t)) + code)
        h = F.pixel_unshuffle(x, self.patch)
        beside = [self.get_buffer("coordinates").expand(len(x), -1, -1, -1).to(h.dtype)]
        if m is not None:
            beside.append(F.avg_pool2d(m.image, self.patch).to(h.dtype))
        h = torch.cat([h, *beside], dim=1)
        h = self.stem(h.to(memory_format=torch.channels_last))  # all that follows keeps it
        skips = [h]
        for block in self.down:
            h = block(h, embedding)
            skips.append(h)
        for block in self.middle:
            h = block(h, embedding)
        for block in self.up:
            if block.resample is None:
                h = torch.cat([h, skips.pop()], dim=1)
            h = block(h, embedding)
        h, x = F.silu(self.norm(h.float())), x.float()
        a, b = self.gate(embedding)[:, :, None, None].chunk(2, dim=1)
        y = F.pixel_shuffle(self.out(h), self.patch).float() + a.float() * x + b.float()
        if self.sums is not None:
            y = y + self.sums(x, embedding)
        if self.shrink is None:
            return y
        if self.shrink_bright is None:
            return self._shrunk(y, x, self.shrink(h).float(), None, None)
        # The less noise, the more times c_out is what is to go: to take half of a plane away it is to be said alike at all noise levels.
        strength = BRIGHT_RATE * (1 + (self.sigma_data * (-4 * t.float()).exp()) ** 2).sqrt()
        return self._shrunk(y, x, self.shrink(h).float(), self.shrink_bright(h).float() * strength[:, None, None, None], m)

    def _shrunk(self, y: Tensor, x: Tensor, kept: Tensor, bright: Tensor | None, m: MeanImage | None) -> Tensor:
        """y and the starlet planes of x, as much of each as is kept, one number a patch; and one more for bright pixels, whose noise asinh
        has compressed: a galaxy's middle is smaller than a patch.

        sum_j g_j w_j = sum_j (g_j - g_{j-1}) c_j: the differences are taken of the few numbers instead of the many pixels.
        """
        sets = kept if bright is None else torch.cat([kept, bright], dim=1)
        own, common, *more = F.pad(sets.unflatten(1, (-1, self.scales, x.shape[1])), (0, 0, 0, 0, 0, 0, 1, 1)).diff(dim=2).unbind(1)
        rows = (-1, self.patch)  # one number for all of a patch's, so that a row of patches is spread out once for all of its pixels' rows
        y = y.unflatten(2, rows)
        with torch.autocast(x.device.type, enabled=False):
            compressed = m.once(noise_compressed).unflatten(2, rows) if more and m is not None else None
            for j, c in enumerate(smoothed(x, self.get_buffer("smoothing"))):
                amount, c = self._on_row(own[:, j]), c.unflatten(2, rows)
                if compressed is not None:
                    amount = torch.addcmul(amount, self._on_row(more[0][:, j]), compressed)
                y = y.addcmul_(amount, c).addcmul_(self._on_row(common[:, j]), c.mean(dim=1, keepdim=True))
        return y.flatten(2, 3)

    def _on_row(self, maps: Float[Tensor, "n band v u"]) -> Float[Tensor, "n band v 1 x"]:
        return maps.repeat_interleave(self.patch, dim=3)[:, :, :, None]


def noise_compressed(m: Float[Tensor, "n band y x"]) -> Float[Tensor, "n band y x"]:
    """From 0 in the sky to 1 where a mean galaxy is so bright that asinh has compressed the noise."""
    return (2 * above_sky(m.float())).tanh() ** 2
