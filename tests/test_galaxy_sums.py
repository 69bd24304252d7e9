"""Sums over a stamp are denoised by what they are: nothing at first, and then more of far ones than of near ones."""

from __future__ import annotations

import torch

from hubbleflow.networks.galaxy_sums import GalaxySums
from hubbleflow.networks.patch_unet import PatchUNet

SIZE, EMBEDDING = 16, 4


def test_it_says_nothing_before_it_has_learned() -> None:
    x, t, c, networks = torch.randn(2, 3, SIZE, SIZE), torch.zeros(2), torch.zeros(2, 1), []
    for sums in (0, 16):
        torch.manual_seed(0)
        networks.append(PatchUNet(3, SIZE, (0,), width=8, patch=2, sums=sums))
        torch.manual_seed(1)
        torch.nn.init.normal_(networks[-1].out.weight)
        torch.nn.init.normal_(networks[-1].gate.weight)
    without, with_it = (network(x, t, c).detach() for network in networks)
    assert float(without.abs().max()) > 0.1
    torch.testing.assert_close(with_it, without)
    torch.nn.init.normal_(networks[1].sums.last.weight)
    said = networks[1](x, t, c).detach() - without
    modes = networks[1].sums.get_buffer("modes")
    torch.testing.assert_close((said.flatten(2) @ modes.T) @ modes, said.flatten(2), atol=1e-3, rtol=1e-3)


def test_what_it_says_lies_within_its_modes_and_reads_nothing_else() -> None:
    sums = GalaxySums(2, SIZE, EMBEDDING, 16)
    torch.nn.init.normal_(sums.last.weight)
    modes, x, embedding = sums.get_buffer("modes"), torch.randn(3, 2, SIZE, SIZE), torch.randn(3, EMBEDDING)
    y = sums(x, embedding).detach()
    assert float(y.abs().max()) > 0.1
    torch.testing.assert_close((y.flatten(2) @ modes.T) @ modes, y.flatten(2), atol=1e-4, rtol=1e-4)
    other = torch.randn_like(x).flatten(2)
    other = (other - (other @ modes.T) @ modes).reshape(x.shape)
    torch.testing.assert_close(sums(x + other, embedding).detach(), y, atol=1e-3, rtol=1e-3)


def test_few_far_ones_do_not_keep_the_others_from_being_shrunk() -> None:
    """Nine in ten have modes of rms 0.1, one of 3, in noise of 1: the best that one amount for all can do has an error of rms 0.69."""
    torch.manual_seed(0)
    sums, generator = GalaxySums(1, SIZE, EMBEDDING, 64), torch.Generator().manual_seed(0)
    modes = sums.get_buffer("modes")

    def drawn(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        far = torch.rand(n, 1, 1, generator=generator) < 0.1
        u = torch.where(far, 3.0, 0.1) * torch.randn(n, 1, len(modes), generator=generator)
        return u, ((u + torch.randn(u.shape, generator=generator)) @ modes).unflatten(2, (SIZE, SIZE))

    def error(n: int) -> torch.Tensor:
        u, x = drawn(n)
        return ((sums(x, torch.zeros(n, EMBEDDING)).flatten(2) @ modes.T - u) ** 2).mean()

    optimizer = torch.optim.Adam(sums.parameters(), 2e-3)
    for _ in range(400):
        loss = error(256)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    variance = 0.9 * 0.1**2 + 0.1 * 3.0**2
    linear, best = variance / (1 + variance), 0.9 * 0.1**2 / 1.01 + 0.1 * 0.9
    with torch.no_grad():
        found = float(error(4000))
    assert best * 0.9 < found < best + 0.2 * (linear - best)
