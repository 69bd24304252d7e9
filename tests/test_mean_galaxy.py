"""The mean galaxy: its profiles, that it is learned, and what a denoiser around it draws."""

from __future__ import annotations

import math

import pytest
import torch

from hubbleflow.band_conditions import BandConditions
from hubbleflow.conditions import ANGLE, Condition, Conditions
from hubbleflow.diffusion import MODES_SPREAD, EdmDenoiser, Weighing, edm_loss, galaxy_seeds
from hubbleflow.errors import InputError
from hubbleflow.models import get_model
from hubbleflow.models.edm import Edm
from hubbleflow.networks.expected_error import ExpectedError
from hubbleflow.networks.mean_galaxy import MeanGalaxy, MeanImage, galaxy_modes, radial_profiles


class Given(torch.nn.Module):
    """A mean that is known: the one condition, everywhere."""

    def forward(self, c: torch.Tensor) -> torch.Tensor:
        return c[:, :1, None, None].expand(-1, 1, 8, 8)

    def loss(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return ((x - self(c)) ** 2).mean()


class Silent(torch.nn.Module):
    """A network that says nothing."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor, m: MeanImage) -> torch.Tensor:
        assert m.image.shape == x.shape
        return torch.zeros_like(x)


@pytest.mark.parametrize("sigma", [1.0, 1.7, 4.3, 11.0])
def test_profiles_make_round_galaxies_of_any_width(sigma: float) -> None:
    profiles = radial_profiles(64, 12, 0).float()
    axis = torch.arange(64) - 31.5
    galaxy = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * sigma**2))
    weights = torch.einsum("kyx,yx->k", profiles, galaxy) / 64**2
    left = galaxy - torch.einsum("k,kyx->yx", weights, profiles)
    assert float(left.square().mean().sqrt() / galaxy.square().mean().sqrt()) < 0.01


def test_it_learns_what_galaxies_of_a_brightness_look_like() -> None:
    """Galaxies as bright as they are asked to be, half of them wide and half of them high: their mean is between, and round."""
    torch.manual_seed(0)
    axis = torch.arange(32) - 15.5
    y2, x2 = axis[:, None] ** 2, axis[None] ** 2
    wide, high = torch.exp(-x2 / 60 - y2 / 20), torch.exp(-x2 / 20 - y2 / 60)
    mean = EdmDenoiser(torch.nn.Identity(), 0.5, MeanGalaxy(1, 32, (0,), widths=8, width=32))
    optimizer = torch.optim.Adam(mean.parameters(), 3e-3)
    for step in range(600):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / 600)
        brightness = torch.randn(32, 1)
        shapes = torch.where(torch.rand(32, 1, 1, 1) < 0.5, wide, high)
        optimizer.zero_grad()
        mean.mean_loss((2 + brightness)[:, :, None, None] * shapes, brightness).backward()
        optimizer.step()
    asked = torch.tensor([[-1.0], [0.0], [1.0]])
    made = mean.middle(asked)
    assert not made.requires_grad
    torch.testing.assert_close(made, made.transpose(2, 3))
    assert made[:, 0].mean((1, 2)).tolist() == pytest.approx(((2 + asked[:, 0]) * wide.mean()).tolist(), rel=0.03)


def ellipses(theta: torch.Tensor, size: int = 32) -> torch.Tensor:
    """Galaxies twice as long as wide, their major axis at theta from +x towards +y."""
    axis = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    cos, sin = theta.cos()[:, None, None], theta.sin()[:, None, None]
    return torch.exp(-((x * cos + y * sin) ** 2) / 48 - (y * cos - x * sin) ** 2 / 12)[:, None]


def test_it_learns_how_galaxies_lie_and_turns_with_them() -> None:
    torch.manual_seed(0)
    mean = EdmDenoiser(torch.nn.Identity(), 0.5, MeanGalaxy(1, 32, (0, ANGLE), widths=8, width=32, harmonics=3))
    assert torch.equal(mean.middle(torch.zeros(1, 2)), mean.middle(torch.zeros(1, 2)).transpose(2, 3)), "it starts round"
    optimizer = torch.optim.Adam(mean.parameters(), 3e-3)
    for step in range(600):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / 600)
        theta = math.pi * torch.rand(32)
        c = torch.stack([torch.zeros(32), 2 * theta], dim=1)
        c[torch.rand(32) < 0.3, 1] = torch.nan
        optimizer.zero_grad()
        mean.mean_loss(ellipses(theta), c).backward()
        optimizer.step()
    asked = torch.tensor([0.3, 1.2, 2.5])
    made = mean.middle(torch.stack([torch.zeros(3), 2 * asked], dim=1))
    assert float((made - ellipses(asked)).square().mean().sqrt()) < 0.05 * float(ellipses(asked).square().mean().sqrt())
    turned = mean.middle(torch.stack([torch.zeros(3), 2 * (asked + math.pi / 2)], dim=1))
    torch.testing.assert_close(turned, made.rot90(-1, (2, 3)), msg="a quarter turn from +x towards +y", atol=1e-4, rtol=1e-4)
    unasked = mean.middle(torch.tensor([[0.0, torch.nan]]))
    torch.testing.assert_close(unasked, unasked.transpose(2, 3))
    assert float((unasked[0, 0] - ellipses(torch.linspace(0, math.pi, 64))[:, 0].mean(0)).abs().max()) < 0.1


def test_modes_are_orthonormal_and_make_up_a_galaxy() -> None:
    modes = galaxy_modes(32, 8, (2, 4))
    torch.testing.assert_close(modes @ modes.T, torch.eye(len(modes)), atol=1e-5, rtol=0)
    galaxy = ellipses(torch.tensor([0.7])).flatten()
    assert float((modes @ galaxy).square().sum() / galaxy.square().sum()) > 0.99


@pytest.mark.parametrize("size", [8, 12, 16, 64])
def test_modes_are_those_of_any_machine(size: int) -> None:
    """A network's weights are of them: libraries of linear algebra differ in signs, and in what they make of images that add nothing."""
    modes, images = galaxy_modes(size, 12, (1, 2, 3, 4)), radial_profiles(size, 12, 0).flatten(1).float() / size
    shown = modes[modes.any(dim=1)]
    torch.testing.assert_close(shown @ shown.T, torch.eye(len(shown)), atol=1e-5, rtol=0)
    assert (len(shown) == len(modes)) == (size > 12)
    if size > 12:
        assert float((modes[:13] * images).sum(dim=1).min()) > 0.999
        axis = torch.arange(size) - (size - 1) / 2
        narrowest = torch.exp(-(axis[:, None] ** 2 + axis**2) / 2).flatten()
        assert float(modes[1] @ narrowest) > 0 and float(modes[0].min()) > 0


def test_the_best_denoiser_stays_the_best_where_modes_count_more() -> None:
    """Gaussian data: the Wiener filter's loss, with and without the modes, and that of denoisers next to it."""
    modes, generator = galaxy_modes(8, 3, (2,)), torch.Generator().manual_seed(0)
    x = 0.5 * torch.randn(4000, 1, 8, 8, generator=generator)

    class Off(torch.nn.Module):
        by = 0.0

        def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
            return self.by * x

    def flat(sigma: torch.Tensor, b: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(b)

    network = Off()
    losses = {}
    weighing = Weighing(flat, flat, modes, modes_weight=1.0, galaxy_weight=3.0)
    for network.by in (-0.1, 0.0, 0.1):
        denoiser, again = EdmDenoiser(network, 0.5), torch.Generator().manual_seed(1)
        losses[network.by] = float(edm_loss(denoiser, x, torch.zeros(4000, 0), math.log(0.5), 0.0, again, weighing))
    spread = MODES_SPREAD * 0.5
    assert losses[0.0] == pytest.approx(1 + (0.25 + spread**2) / (0.25 * spread**2) * 0.125, rel=0.02)
    assert losses[0.0] < min(losses[-0.1], losses[0.1])


def test_the_best_denoiser_stays_the_best_where_near_ones_count_more() -> None:
    """Gaussian data, weighed by how far from the mean they are put: the loss draws to the Wiener filter from either side."""
    modes, generator = galaxy_modes(8, 3, (2,)), torch.Generator().manual_seed(0)
    x = 0.5 * torch.randn(4000, 1, 8, 8, generator=generator)

    class Off(torch.nn.Module):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = torch.nn.Parameter(torch.tensor(by))

        def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
            return self.by * x

    def near(sigma: torch.Tensor, b: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        return (4 * (0.1 + d).log()).expand_as(b)

    slopes = []
    for by in (-0.1, 0.0, 0.1):
        denoiser, again = EdmDenoiser(Off(by), 0.5), torch.Generator().manual_seed(1)
        weighing = Weighing(near, near, modes, modes_weight=1.0, galaxy_weight=0.0)
        edm_loss(denoiser, x, torch.zeros(4000, 0), math.log(0.5), 0.0, again, weighing).backward()
        slopes.append(float(denoiser.network.by.grad))
    assert slopes[0] < 0 < slopes[2]
    assert abs(slopes[1]) < 0.1 * min(-slopes[0], slopes[2])


def test_a_bright_pixel_counts_more_than_the_sky_and_each_in_units_of_its_expected_error() -> None:
    error, mean = torch.ones(1, 1, 3, 3), torch.full((1, 1, 3, 3), -1.0)
    error[..., 1, 1], mean[..., 1, 1] = 2.0, 1.0

    def table(sigma: torch.Tensor, b: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        return torch.where(b > 1, math.log(4.0), 0.0)

    def flat(sigma: torch.Tensor, b: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(b)

    weighings = [Weighing(tau, flat, torch.eye(9), 0.0, 3.0) for tau in (flat, table)]
    found = [float(weighing.loss(error, torch.zeros_like(error), torch.ones(1), mean, 1.0)) for weighing in weighings]
    assert found == pytest.approx([(8 * 2 + 49 * 8) / 57, (8 * 2 + 49 * (2 + math.log(4))) / 57])


def test_what_is_expected_of_errors_is_learned() -> None:
    """Errors as wide as noise level, brightness and deviation say: tau is the logarithm of their square."""
    torch.manual_seed(0)
    expected = ExpectedError()
    optimizer = torch.optim.Adam(expected.parameters(), 1e-2)
    for _ in range(1000):
        sigma, b, d = (torch.randn(64)).exp(), torch.rand(64, 2, 100) * 3, torch.rand(64, 1, 100)
        error = sigma[:, None, None] ** 0.5 * (0.2 + b) * (0.3 + d) * torch.randn(64, 2, 100)
        tau = expected(sigma, b, d)
        optimizer.zero_grad()
        (error**2 * (-tau).exp() + tau).mean().backward()
        optimizer.step()
    sigma, b, d = torch.tensor([0.5, 1.0, 2.0]), torch.tensor([[0.3, 1.5]]).expand(3, -1), torch.tensor([[0.2], [0.5], [0.8]])
    torch.testing.assert_close(expected(sigma, b, d), (sigma[:, None] * (0.2 + b) ** 2 * (0.3 + d) ** 2).log(), atol=0.3, rtol=0)


def test_bands_learn_from_one_another() -> None:
    """What a magnitude means is learned in whichever band it is met: here galaxies brighter in the first band, fainter in the second."""
    torch.manual_seed(0)
    conditions = Conditions((Condition("g_mag", "identity"), Condition("g_r", "identity")))
    mean = MeanGalaxy(2, 32, conditions.layout, widths=8, width=32, **BandConditions.of(conditions, ("g", "r")).to_dict())
    optimizer = torch.optim.Adam(mean.parameters(), 3e-3)
    axis = torch.arange(32) - 15.5
    blob = torch.exp(-(axis[:, None] ** 2 + axis**2) / 20)
    for step in range(500):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / 500)
        g, r = 0.4 - 1.4 * torch.rand(32), 1.4 * torch.rand(32) - 0.4
        c = torch.stack([g, g - r], dim=1)
        optimizer.zero_grad()
        mean.loss(torch.stack([1 - g, 1 - r], dim=1)[:, :, None, None] * blob, c).backward()
        optimizer.step()
    with torch.no_grad():
        made = mean(torch.tensor([[0.8, 1.6]]))[0] / blob  # g = 0.8, r = -0.8: the other way round
        unasked = mean(torch.tensor([[0.8, torch.nan]]))[0] / blob
    assert made[:, 16, 16].tolist() == pytest.approx([0.2, 1.8], abs=0.25)
    assert float(unasked[0, 16, 16]) == float(made[0, 16, 16]), "g does not depend on the colour"
    assert torch.isfinite(unasked).all()


def test_a_band_that_colours_do_not_lead_to_is_told_the_magnitude_of_another() -> None:
    torch.manual_seed(0)
    conditions = Conditions((Condition("i_mag", "identity"), Condition("r_i", "identity")))
    mean = MeanGalaxy(3, 16, conditions.layout, widths=4, width=16, **BandConditions.of(conditions, ("g", "r", "i")).to_dict())
    torch.nn.init.normal_(mean.radial[3].weight)
    with torch.no_grad():
        bright, faint = mean(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    assert ((bright - faint).abs().amax(dim=(1, 2)) > 0.01).all()
    assert MeanGalaxy(2, 16, ())(torch.zeros(3, 0)).shape == (3, 2, 16, 16), "without any conditions, one mean for all"


def test_what_conditions_say_of_each_band() -> None:
    names = ("redshift", "i_mag", "r_i", "i_z", "u_g", "r_seeing", "i_seeing")
    columns = [Condition(name, "identity", mean=number, scale=2.0 if name == "i_mag" else 0.5) for number, name in enumerate(names)]
    found = BandConditions.of(Conditions((Condition("redshift", "log1p"), *columns[1:])), ("g", "r", "i", "z"))
    assert len(found.matrix) == 2, "magnitudes and seeing"
    magnitude, seeing = found.matrix
    assert [len(row) for row in magnitude] == [7] * 4
    assert magnitude == ((0,) * 7, (0, 1, 0.25, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0, 0), (0, 1, 0, -0.25, 0, 0, 0)), "no colour leads to g"
    assert seeing[1][5] == seeing[2][6] == 1.0 and not any(seeing[0]) and not any(seeing[3])
    means = [3.0, 1.0, -2.0]  # of r, i and z
    assert found.offset[0][1:] == pytest.approx([(m - sum(means) / 3) / 2.0 for m in means])
    assert BandConditions.of(Conditions((columns[1],)), ("g", "i")) == BandConditions(), "of one band nothing is to be shared"


def test_around_a_mean_a_silent_network_is_the_wiener_filter() -> None:
    """Data N(m, s^2): D = m + c_skip (x_t - m) is the best there is, with a weighted loss of one, and nothing of it teaches the mean."""
    denoiser, generator = EdmDenoiser(Silent(), 0.5, Given()), torch.Generator().manual_seed(0)
    c = 3 * torch.randn(2000, 1, generator=generator)
    x = c[:, :, None, None] + 0.5 * torch.randn(2000, 1, 8, 8, generator=generator)
    assert float(edm_loss(denoiser, x, c, 0.0, 1.4, generator)) == pytest.approx(1.0, abs=0.02)
    assert float(denoiser.mean_loss(x, c)) == pytest.approx(0.25, rel=0.02)
    x_t = x[:2] + 1.0
    torch.testing.assert_close(denoiser(x_t, torch.tensor([0.5, 0.5]), c[:2]), (x_t + c[:2, :, None, None]) / 2)


def test_the_mean_and_the_network_learn_each_from_its_own_loss() -> None:
    torch.manual_seed(0)
    model = Edm(2, 16, (0,), 0.5, width=8, multipliers=(1, 2), patch=2, of_bands={})
    assert model.denoiser.mean is not None
    x, c = torch.randn(4, 2, 16, 16), torch.randn(4, 1)
    edm_loss(model.denoiser, x, c, 0.0, 1.0, torch.Generator().manual_seed(0)).backward()
    assert all(parameter.grad is None for parameter in model.denoiser.mean.parameters())
    model.denoiser.mean_loss(x, c).backward()
    assert any(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in model.denoiser.mean.parameters())
    assert Edm(2, 16, (0,), 0.5, width=8, multipliers=(1, 2), patch=2, mean_widths=0, of_bands={}).denoiser.mean is None


@pytest.mark.parametrize("mean_widths", [6, 0])
def test_an_untrained_model_draws_noise_of_its_own_width_around_the_mean(mean_widths: int) -> None:
    """The network starts silent, so that the data it believes in are N(m(c), s^2): drawn within a per cent in ten steps."""
    torch.manual_seed(0)
    model = Edm(1, 16, (0,), 0.4, width=8, multipliers=(1,), patch=2, mean_widths=mean_widths, sigma_max=80.0, of_bands={})
    c = torch.full((400, 1), 0.7)
    if mean_widths:
        torch.nn.init.normal_(model.denoiser.mean.radial[3].weight, std=0.05)
    with torch.inference_mode():
        drawn = model.sample(c, galaxy_seeds(0, 0, 400))
        middle = model.denoiser.middle(c)
    s = 0.2 if mean_widths else 0.4
    assert (float(middle.abs().max()) > 0.05) == bool(mean_widths)
    assert float((drawn - middle).mean()) == pytest.approx(0, abs=4 * s / math.sqrt(400 * 256))
    assert float((drawn - middle).std()) == pytest.approx(s, rel=0.01)


@pytest.mark.parametrize("name", ["edm", "consistency"])
@pytest.mark.parametrize("arguments", [{}, {"modes_weight": 0.0}, {"mean_widths": 0}])
def test_all_that_may_learn_learns(name: str, arguments: dict[str, float]) -> None:
    """What several processes train together needs a gradient of every weight that may have one."""
    model = get_model(name)(2, 16, (0,), 0.5, width=8, multipliers=(1, 2), patch=2, of_bands={}, **arguments)
    x, c = torch.randn(4, 2, 16, 16), torch.randn(4, 1)
    model.loss(x, c, torch.Generator().manual_seed(0)).backward()
    assert not [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]


def test_the_mean_alone_learns_where_that_is_asked() -> None:
    model = Edm(2, 16, (0,), 0.5, width=8, multipliers=(1, 2), patch=2, mean_alone=True, of_bands={})
    model.loss(torch.randn(4, 2, 16, 16), torch.randn(4, 1), torch.Generator().manual_seed(0)).backward()
    learned = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert learned and all(name.startswith("denoiser.mean.") for name in learned)
    with pytest.raises(InputError, match="mean_widths = 0 is none"):
        Edm(2, 16, (0,), 0.5, mean_widths=0, mean_alone=True, of_bands={})
    with pytest.raises(InputError, match="mean_alone is of edm's training"):
        get_model("consistency")(2, 16, (0,), 0.5, patch=2, multipliers=(1, 2), mean_alone=True, of_bands={})


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean_widths": -3},
        {"mean_harmonics": -1},
        {"modes_weight": -0.5},
        {"galaxy_weight": -1},
        {"sums": -1},
        {"rest": 0.0},
        {"rest": -1.0},
    ],
)
def test_a_mean_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="mean_widths, .* must not be negative and rest must be positive"):
        Edm(2, 16, (0,), 0.5, width=8, multipliers=(1, 2), patch=2, of_bands={}, **wrong)


def test_steps_where_nothing_is_asked() -> None:
    edm, consistency = get_model("edm"), get_model("consistency")
    assert [edm.default_steps(sampler) for sampler in (None, "dpm++2m", "dpm++3m", "heun")] == [10, 10, 20, 20]
    assert consistency.default_steps() == 1
