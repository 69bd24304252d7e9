"""Starlet planes add up to the image, noise and smooth light fall into the planes they should, and the patch U-Net shrinks by them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import convolve1d
from torch import nn

from hubbleflow.networks.mean_galaxy import MeanImage, above_sky
from hubbleflow.networks.patch_unet import BRIGHT_RATE, PatchUNet
from hubbleflow.networks.starlet import smoothed, smoothing


def starlet(x: torch.Tensor, scales: int) -> list[torch.Tensor]:
    c = smoothed(x, smoothing(x.shape[-1], scales).to(x))
    return [finer - coarser for finer, coarser in pairwise(c)]


def test_planes_are_the_b_splines() -> None:
    x = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    c, planes = x.numpy(), starlet(x, 3)
    for scale, plane in enumerate(planes):
        kernel = np.zeros(4 * 2**scale + 1)
        kernel[:: 2**scale] = np.array([1, 4, 6, 4, 1]) / 16
        coarser = convolve1d(convolve1d(c, kernel, axis=-1, mode="nearest"), kernel, axis=-2, mode="nearest")
        np.testing.assert_allclose(plane, c - coarser, atol=1e-6)
        c = coarser
    np.testing.assert_allclose(sum(planes).numpy() + c, x, atol=1e-6)


def test_white_noise_lies_in_the_first_planes_and_a_smooth_galaxy_does_not() -> None:
    noise = torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(1))
    shares = [float(plane.var()) for plane in starlet(noise, 3)]
    np.testing.assert_allclose(np.sqrt(shares), [0.890, 0.201, 0.086], atol=0.005)  # Starck & Murtagh's sigma_j of a unit Gaussian
    axis = torch.arange(64) - 31.5
    galaxy = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 6.0**2))[None, None]
    assert (
        float(starlet(galaxy, 3)[0].abs().max()) < 0.03 and float(smoothed(torch.full((1, 1, 8, 8), 3.0), smoothing(8, 3))[3].std()) < 1e-6
    )


def test_the_network_keeps_of_each_plane_what_it_says() -> None:
    """With everything else zero the output is the shrinkage, one number a patch for a band's own plane and one for the mean of all."""
    torch.manual_seed(2)
    net = PatchUNet(3, 16, (0,), width=8, multipliers=(1, 2), patch=2, scales=2)
    x, t, c = torch.randn(2, 3, 16, 16), torch.log(torch.tensor([5e-4, 0.25])) / 4, torch.zeros(2, 1)
    assert float(net(x, t, c).detach().abs().max()) == 0.0
    assert net.shrink is not None
    nn.init.normal_(net.shrink.weight, std=0.3)
    nn.init.normal_(net.shrink.bias)
    kept: list[torch.Tensor] = []
    net.shrink.register_forward_hook(lambda module, given, made: kept.append(made))
    out = net(x, t, c)
    maps = F.interpolate(kept[0], scale_factor=2, mode="nearest").reshape(2, 2, 2, 3, 16, 16)
    planes = torch.stack(starlet(x, 2), dim=1)
    expected = (maps[:, 0] * planes + maps[:, 1] * planes.mean(dim=2, keepdim=True)).sum(dim=1)
    torch.testing.assert_close(out, expected)
    assert float(out.detach().std()) > 0.1


def test_more_is_kept_or_taken_where_the_mean_galaxy_is_bright() -> None:
    net = PatchUNet(3, 16, (0,), width=8, multipliers=(1, 2), patch=2, scales=2, mean=True, sigma_data=0.2)
    assert net.shrink_bright is not None
    nn.init.ones_(net.shrink_bright.bias)
    x, m = torch.randn(2, 3, 16, 16), 2 * torch.rand(2, 3, 16, 16)
    sigma = torch.tensor([10.0, 0.02])
    out = net(x, sigma.log() / 4, torch.zeros(2, 1), MeanImage(m))
    strength = BRIGHT_RATE * torch.sqrt(1 + (0.2 / sigma) ** 2)[:, None, None, None]
    torch.testing.assert_close(out, strength * (2 * above_sky(m)).tanh() ** 2 * sum(starlet(x, 2)))


def test_a_network_without_planes() -> None:
    net = PatchUNet(3, 16, (0,), width=8, multipliers=(1, 2), patch=2, scales=0)
    assert net.shrink is None and net(torch.randn(1, 3, 16, 16), torch.zeros(1), torch.zeros(1, 1)).shape == (1, 3, 16, 16)
