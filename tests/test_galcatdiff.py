"""GalCatDiff: windows cut and joined exactly, attention that stays in its window, and the blocks as Fan et al. (2025) describe them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hubbleflow.conditions import Condition, Conditions
from hubbleflow.errors import InputError
from hubbleflow.models import TrainingSet, get_model
from hubbleflow.networks.astro_rab import AstroRab, AstroRabUNet, AttentionFusionUnit, WindowAttention, map_of, windows_of

SIZES = [(16, 16, 4, 0), (16, 16, 4, 2), (18, 13, 5, 0), (18, 13, 5, 2), (7, 9, 8, 4), (3, 3, 8, 0)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("height", "width", "window", "shift"), SIZES)
def test_windows_hold_their_pixels_and_give_them_back(height: int, width: int, window: int, shift: int) -> None:
    h = torch.arange(2.0 * 3 * height * width).reshape(2, 3, height, width) + 1
    windows = windows_of(h, window, shift)
    assert torch.equal(map_of(windows, height, width, window, shift), h)
    assert windows.count_nonzero() == h.count_nonzero(), "what is added is zero"
    # The first window that lies within the map, by hand.
    first = (-shift) % window
    if first + window <= min(height, width):
        rows = -(-(height + shift) // window), -(-(width + shift) // window)
        index = ((first + shift) // window) * rows[1] + (first + shift) // window
        assert torch.equal(windows[index], h[0, :, first : first + window, first : first + window].flatten(1).T)


@pytest.mark.parametrize(("height", "width", "window", "shift"), SIZES)
@pytest.mark.parametrize("channels", [8, 64])
def test_window_attention_is_full_attention_with_a_mask(height: int, width: int, window: int, shift: int, channels: int) -> None:
    attention = WindowAttention(channels, window, shift)
    h = torch.randn(2, channels, height, width)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    label = ((y + shift) // window * 1000 + (x + shift) // window).flatten()
    together = label[:, None] == label[None, :]
    heads = attention.heads
    q, k, v = attention.qkv(h).flatten(2).reshape(2, 3, heads, channels // heads, height * width).double().unbind(1)
    scores = torch.einsum("nhdi,nhdj->nhij", q, k) / (channels // heads) ** 0.5
    weights = scores.masked_fill(~together, -torch.inf).softmax(dim=-1)
    plain = torch.einsum("nhij,nhdj->nhdi", weights, v).reshape(2, channels, height, width)
    assert float((attention(h) - plain).detach().abs().max()) < 1e-5


def test_light_stays_in_its_window_until_windows_are_shifted() -> None:
    h = torch.randn(1, 8, 16, 16)
    changed = h.clone()
    changed[:, :, 0, 0] += 5
    for shift, reach in ((0, 4), (2, 2)):
        attention = WindowAttention(8, 4, shift)
        moved = (attention(changed) - attention(h)).abs().amax(dim=(0, 1)) > 1e-7
        assert moved[:reach, :reach].all() and int(moved.sum()) == reach**2


def test_the_fusion_is_equation_2() -> None:
    unit, h = AttentionFusionUnit(8, 4), torch.randn(2, 8, 12, 12)
    torch.nn.init.zeros_(unit.gate.weight)
    torch.nn.init.zeros_(unit.out.bias)
    unit.out.weight.data = torch.eye(8)[:, :, None, None]
    normed = unit.norm(h)
    attended, convolved = unit.attention(normed), unit.convolution(normed)
    for bias, expected in ((40.0, attended), (-40.0, convolved), (0.0, (attended + convolved) / 2)):
        torch.nn.init.constant_(unit.gate.bias, bias)
        assert torch.allclose(unit(h), expected, atol=1e-5)


def test_a_block_is_convolution_fusion_and_skip_twice() -> None:
    block, x, e = AstroRab(8, 16, 12, window=4), torch.randn(2, 8, 12, 12), torch.randn(2, 12)
    h = block.skip(x) + block.fuse1(block.conv1(x, e))
    assert torch.allclose(block(x, e), h + block.fuse2(block.conv2(h, e)))
    assert (block.fuse1.attention.shift, block.fuse2.attention.shift) == (0, 2)
    assert not torch.allclose(block(x, e), block(x, -e))


def test_the_network_has_two_stages_each_way_and_embeds_in_every_block() -> None:
    net = AstroRabUNet(3, (4,), width=8, window=4, blocks=3)
    assert len(net.shrink) == len(net.grow) == 2 and len(net.down) == len(net.up) == 2 * 3
    sizes, blocks = [], [module for module in net.modules() if isinstance(module, AstroRab)]
    for block in blocks:
        block.register_forward_hook(lambda _, inputs, out: sizes.append((len(inputs), out.shape[-1])))
    torch.nn.init.normal_(net.out.weight)  # it starts at zero
    net(torch.randn(2, 3, 24, 24), torch.tensor([5.0, 700.0]), torch.tensor([[0.0], [3.0]])).square().sum().backward()
    assert [size for _, size in sizes] == [24] * 3 + [12] * 3 + [6] + [12] * 3 + [24] * 3
    for block in blocks:
        for part in (block.conv1, block.conv2):
            assert part.modulation.weight.grad.abs().sum() > 0
    assert net.embed_conditions.columns[0].weight.grad.abs().sum(dim=1).bool().tolist() == [True, False, False, True]


def test_category_and_step_change_the_output_and_a_patch_keeps_the_size() -> None:
    net = AstroRabUNet(2, (3, 0), width=8, window=3, patch=2)
    torch.nn.init.normal_(net.out.weight)
    x = torch.randn(1, 2, 24, 24)

    def out(t: float, *c: float) -> torch.Tensor:
        return net(x, torch.tensor([t]), torch.tensor([c]))

    one = out(10.0, 1.0, 0.3)
    assert one.shape == x.shape
    for other in (out(11.0, 1.0, 0.3), out(10.0, 2.0, 0.3), out(10.0, 1.0, 0.4), out(10.0, float("nan"), 0.3)):
        assert float((one - other).detach().abs().max()) > 1e-4


def conditions() -> Conditions:
    return Conditions((Condition.fit("category", np.array(["elliptical", "spiral"] * 5)),))


def test_sizes_at_both_scales() -> None:
    kind = get_model("galcatdiff")
    given = kind.arguments(TrainingSet(3, 64, conditions(), 0.5))
    assert given == {"bands": 3, "image_size": 64, "conditions": [2]}
    with torch.device("meta"):
        paper, small = (kind(**given, **kind.at_scale(scale)) for scale in ("paper", "small"))
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in (paper, small)]
    assert 9.4e6 < counts[0] < 9.9e6 and 1.0e6 < counts[1] < 1.3e6
    assert kind.defaults.conditions == ("category",) and kind.defaults.stretch is None


def test_stamps_that_do_not_divide_are_refused() -> None:
    kind = get_model("galcatdiff")
    with pytest.raises(InputError, match="a multiple of 4 pixels on a side, got 30"):
        kind.arguments(TrainingSet(3, 30, conditions(), 0.5))
    with pytest.raises(InputError, match="a multiple of 8 pixels on a side, got 60"):
        kind(3, 60, [2], patch=2)
    assert kind(3, 60, [2], width=8).eval().sample(torch.zeros(1, 1), [1], steps=2).shape == (1, 3, 60, 60), "7.5 windows"


def test_it_learns_two_kinds_of_galaxy() -> None:
    """Red at the left, blue at the right: after a short training each category is drawn where and as it belongs."""
    model = get_model("galcatdiff")(2, 16, [2], width=16, multipliers=(1, 1, 2), blocks=1, window=4)
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    blobs = [torch.exp(-((x - centre) ** 2 + (y - 7.5) ** 2) / 6) for centre in (4.0, 11.0)]
    images = torch.stack([torch.stack([blobs[0], 0 * x]), torch.stack([0 * x, blobs[1]])]) * 2 - 0.3
    c = torch.tensor([[0.0], [1.0]])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    generator, losses = torch.Generator().manual_seed(0), []
    for _ in range(150):
        loss = model(images.repeat(4, 1, 1, 1), c.repeat(4, 1), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-30:]) < 0.1 * np.mean(losses[:10])
    with torch.no_grad():
        drawn = model.eval().sample(c[[0, 1, 1, 0]], [1, 2, 3, 4], steps=20)
    distance = (drawn[:, None] - images[None]).square().mean(dim=(2, 3, 4))
    assert distance.argmin(dim=1).tolist() == [0, 1, 1, 0]
    assert float((drawn - images[[0, 1, 1, 0]]).abs().mean()) < 0.3
