"""The discrete diffusion against diffusers' schedulers and exact answers, and the two networks that predict its noise against their
papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hubbleflow.conditions import Condition, Conditions
from hubbleflow.ddpm import DiscreteProcess, ancestral, ddim, denoiser_of, noise_loss
from hubbleflow.diffusion import NoiseStreams, guided, seeded_noise
from hubbleflow.errors import InputError
from hubbleflow.models import TrainingSet, get_model
from hubbleflow.networks.embedding import SinusoidalCode
from hubbleflow.networks.li_unet import LiUNet
from hubbleflow.networks.lizarraga_unet import LizarragaUNet
from hubbleflow.sampling import euler

PROCESS = DiscreteProcess.linear()
MEAN, STD = 0.7, 0.3
TINY = {"lizarraga2024": {"width": 8, "largest": 4}, "li2024-ddpm": {"widths": [8, 8, 8, 8, 8], "blocks": 1, "largest": 4}}
REDSHIFT = Condition.fit("redshift", np.linspace(0.05, 3, 20))
CATEGORY = Condition.fit("category", np.array(["elliptical", "irregular", "spiral"] * 3))
MAGNITUDE = Condition.fit("i_mag", np.linspace(18, 25, 20))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def exact_noise(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """E[eps | x_t] for x ~ N(MEAN, STD^2), at one step t for all."""
    alpha_bar = float(PROCESS.alpha_bar[int(t)])
    return math.sqrt(1 - alpha_bar) / (alpha_bar * STD**2 + 1 - alpha_bar) * (x_t - math.sqrt(alpha_bar) * MEAN)


def scheduler(kind: str, **options: object):
    diffusers = pytest.importorskip("diffusers")
    return getattr(diffusers, kind)(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, clip_sample=False, **options)


def made(name: str, *columns: Condition, size: int = 16, **arguments: object):
    torch.manual_seed(0)
    kind = get_model(name)
    return kind(**(kind.arguments(TrainingSet(3, size, Conditions(columns or (REDSHIFT,)), 0.5)) | TINY[name] | arguments))


# -- the process ----------------------------------------------------------------------------------------------------------------
def test_noising_is_diffusers() -> None:
    x, noise = torch.randn(2, 1000, 1, 2, 2, generator=seeded())
    t = torch.arange(1000)
    theirs = scheduler("DDPMScheduler").add_noise(x, noise, t)
    assert float((PROCESS.noised(x, t, noise) - theirs).abs().max()) < 1e-5


@pytest.mark.parametrize("steps", [1000, 50])
def test_ancestral_sampling_is_diffusers(steps: int) -> None:
    theirs = scheduler("DDPMScheduler", variance_type="fixed_large", timestep_spacing="trailing")
    # Its tables are float32, in which 1 - abar of the first steps has four digits; ours are float64.
    theirs.betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    theirs.alphas = 1 - theirs.betas
    theirs.alphas_cumprod = theirs.alphas.cumprod(0)
    theirs.set_timesteps(steps)
    start = torch.randn(3, 2, 4, 4, generator=seeded(), dtype=torch.float64)
    x, generator = start, seeded(1)
    for t in theirs.timesteps:
        step = theirs.step(exact_noise(x, t), int(t), x, generator=generator)
        # A strided last step ends in the galaxy, and diffusers adds its noise to that all the same.
        x = step.pred_original_sample if t == theirs.timesteps[-1] else step.prev_sample
    generator = seeded(1)
    ours = ancestral(exact_noise, start, PROCESS, steps, lambda: torch.randn(start.shape, generator=generator, dtype=torch.float64))
    assert [t for t, _, _ in PROCESS.transitions(steps)] == theirs.timesteps.tolist()
    assert float((ours - x).abs().max()) < 1e-5


@pytest.mark.parametrize("steps", [1000, 50])
def test_ddim_is_diffusers(steps: int) -> None:
    theirs = scheduler("DDIMScheduler", timestep_spacing="trailing", set_alpha_to_one=True)
    theirs.alphas_cumprod = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)
    theirs.set_timesteps(steps)
    start = torch.randn(3, 2, 4, 4, generator=seeded(), dtype=torch.float64)
    x = start
    for t in theirs.timesteps:
        x = theirs.step(exact_noise(x, t), int(t), x, eta=0.0).prev_sample
    assert float((ddim(exact_noise, start, PROCESS, steps) - x).abs().max()) < 1e-5


@pytest.mark.parametrize(("sampler", "steps", "tolerance"), [("ancestral", 1000, 0.02), ("ancestral", 50, 0.06), ("ddim", 250, 0.02)])
def test_gaussian_data_are_recovered(sampler: str, steps: int, tolerance: float) -> None:
    generator = seeded()
    x = torch.randn(20_000, 1, 1, 1, generator=generator, dtype=torch.float64)
    if sampler == "ddim":
        out = ddim(exact_noise, x, PROCESS, steps)
    else:
        out = ancestral(exact_noise, x, PROCESS, steps, lambda: torch.randn(x.shape, generator=generator, dtype=torch.float64))
    assert float(out.mean()) == pytest.approx(MEAN, abs=0.01)
    assert float(out.std()) == pytest.approx(STD, rel=tolerance)


def test_few_steps_keep_faint_sky_by_chance_and_lose_it_without() -> None:
    """The figures of ddpm.py: with an exact network both samplers are linear, and row k of x is what the k-th draw of noise weighs."""
    sky, steps, draws = 0.1, 50, torch.eye(50, dtype=torch.float64)[:, :, None, None, None].unbind()

    def exact(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha_bar = float(PROCESS.alpha_bar[int(t)])
        return math.sqrt(1 - alpha_bar) / (alpha_bar * sky**2 + 1 - alpha_bar) * x_t

    fresh = iter(draws[1:])
    assert float(ancestral(exact, draws[0], PROCESS, steps, lambda: next(fresh)).norm()) / sky == pytest.approx(1.03, abs=0.005)
    assert next(fresh, None) is None, "one draw a step, none in the last"
    assert float(ddim(exact, draws[0], PROCESS, steps).norm()) / sky == pytest.approx(0.74, abs=0.005)


def test_ddim_is_euler_in_other_coordinates() -> None:
    """And the denoiser made of the noise is Wiener's filter, at the process's levels."""

    def predict(x_t: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return exact_noise(x_t, t[0].round())

    process = DiscreteProcess.linear().double()  # t is found among float64 levels
    denoise = guided(denoiser_of(predict, process), torch.zeros(5, 0))
    x = torch.randn(5, 1, 2, 2, generator=seeded(), dtype=torch.float64)
    sigmas = process.sigmas(40)
    for sigma in sigmas[:-1]:
        wiener = MEAN + STD**2 / (STD**2 + sigma**2) * (sigma * x - MEAN)
        assert torch.allclose(denoise(sigma * x, sigma), wiener, atol=1e-6)
    there = euler(denoise, x * (1 + sigmas[0] ** 2).sqrt(), sigmas)
    assert torch.allclose(there, ddim(exact_noise, x, process, 40), atol=1e-6)


def test_steps_between_steps() -> None:
    """sigma -> t is the inverse of the table, between its rows too, and stays within it."""
    sigmas = PROCESS.sigmas(1000)[:-1].flip(0).float()
    assert torch.allclose(PROCESS.step_at(sigmas), torch.arange(1000.0), atol=2e-2)
    halfway = (sigmas[200] * sigmas[201]).sqrt()
    ends = torch.tensor([1e-6, 1e6])
    assert PROCESS.step_at(torch.stack([halfway, *ends])).tolist() == pytest.approx([200.5, 0, 999], abs=2e-2)
    assert PROCESS.strided(1000)[:2] == [999, 998] and PROCESS.strided(3) == [999, 666, 332, -1]
    for steps in (0, 1001):
        with pytest.raises(InputError, match=f"1 to 1000, got {steps}"):
            PROCESS.strided(steps)


def test_losses_of_a_silent_network_are_those_of_a_gaussian() -> None:
    def silent(x_t: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x_t)

    x, c = torch.randn(500, 1, 16, 16, generator=seeded()), torch.zeros(500, 0)
    # E[e^2/2; |e| < 1] + E[|e| - 1/2; |e| > 1] of a unit Gaussian
    inside, density = math.erf(1 / math.sqrt(2)), math.exp(-0.5) / math.sqrt(2 * math.pi)
    huber = (inside - 2 * density) / 2 + 2 * density - (1 - inside) / 2
    assert float(noise_loss(silent, PROCESS, x, c, seeded())) == pytest.approx(1, rel=0.02)
    assert float(noise_loss(silent, PROCESS, x, c, seeded(), huber=True)) == pytest.approx(huber, rel=0.02)


def test_a_network_that_knows_the_galaxy_has_no_loss() -> None:
    x = torch.randn(4, 1, 8, 8, generator=seeded())

    def knowing(x_t: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        alpha_bar = torch.from_numpy(PROCESS.alpha_bar)[t.long()][:, None, None, None]
        return ((x_t - alpha_bar.sqrt() * x) / (1 - alpha_bar).sqrt()).float()

    assert float(noise_loss(knowing, PROCESS, x, torch.zeros(4, 0), seeded())) < 1e-6


def test_streams_are_one_a_galaxy() -> None:
    together, alone = NoiseStreams([3, 5, 8], (2, 4, 4)), NoiseStreams([5], (2, 4, 4))
    for _ in range(3):
        assert torch.equal(together()[1:2], alone())
    assert torch.equal(NoiseStreams([3, 5], (2,))(), seeded_noise([3, 5], (2,)))


# -- the models -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "dpm++2m", "heun", "euler"])
def test_every_sampler_gives_each_galaxy_its_own(name: str, sampler: str) -> None:
    model = made(name).eval()
    c = Conditions((REDSHIFT,)).encode({"redshift": np.array([0.2, 1.0, 2.5])})
    with torch.no_grad():
        together = model.sample(c, [1, 2, 3], steps=4, sampler=sampler)
        alone = model.sample(c[1:2], [2], steps=4, sampler=sampler)
        other = model.sample(c[1:2], [7], steps=4, sampler=sampler)
    scale = float(together.std())
    assert together.shape == (3, 3, 16, 16) and torch.isfinite(together).all()
    assert torch.allclose(together[1:2], alone, atol=1e-4 * scale) and not torch.allclose(alone, other, atol=0.1 * scale)


def test_names_and_numbers_of_samplers() -> None:
    model, c = made("lizarraga2024").eval(), torch.zeros(1, 1)
    with torch.no_grad():
        by_default = model.sample(c, [1], steps=5)
        assert torch.equal(by_default, model.sample(c, [1], steps=5, sampler="ancestral"))
        with pytest.raises(InputError, match="unknown sampler 'magic': choose one of ancestral, ddim, dpm"):
            model.sample(c, [1], sampler="magic")
        with pytest.raises(InputError, match="1 to 1000, got 1500"):
            model.sample(c, [1], steps=1500)
    assert [model.default_steps(name) for name in (None, "ancestral", "ddim", "dpm++2m")] == [1000, 1000, 50, 50]


@pytest.mark.parametrize("name", TINY)
def test_guidance_leads_away_from_what_was_not_asked(name: str) -> None:
    model = made(name)
    x, c = torch.randn(4, 3, 16, 16, generator=seeded()), torch.tensor([[-1.0], [0.0], [0.5], [1.0]])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)

    def train(c: torch.Tensor) -> None:
        for step in range(3):
            optimizer.zero_grad()
            model(x, c, seeded(step)).backward()
            optimizer.step()

    dropped = c.clone()
    dropped[:2] = torch.nan
    train(dropped)
    with torch.no_grad():
        plain, more, none = (model.sample(c, [1, 2, 3, 4], steps=1, guidance=w) for w in (1.0, 2.0, 0.0))
        unasked = model.sample(torch.full_like(c, torch.nan), [1, 2, 3, 4], steps=1)
    scale = float(plain.std())
    assert torch.allclose(none, unasked, atol=1e-4 * scale) and torch.allclose(more, 2 * plain - none, atol=1e-3 * scale)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize(
    "columns", [(CATEGORY,), (REDSHIFT, CATEGORY), (MAGNITUDE, REDSHIFT), ()], ids=["class", "both", "magnitude", "none"]
)
def test_other_conditions(name: str, columns: tuple[Condition, ...]) -> None:
    """Every condition reaches the network, and changing it changes what is said of the noise."""
    conditions = Conditions(columns)
    torch.manual_seed(0)
    kind = get_model(name)
    arguments = kind.arguments(TrainingSet(3, 16, conditions, 0.5))
    assert (arguments["redshift"] is None) == (REDSHIFT not in columns)
    model = kind(**arguments | TINY[name])
    for parameter in model.parameters():  # layers that start at zero would say nothing yet
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    c = torch.zeros(2, len(columns))
    x, t = torch.randn(2, 3, 16, 16, generator=seeded()), torch.tensor([500.0, 500.0])
    with torch.no_grad():
        before = model.predict_noise(x, t, c)
        for number in range(len(columns)):
            changed = c.clone()
            changed[0, number] = 1.0
            after = model.predict_noise(x, t, changed)
            assert not torch.allclose(after[0], before[0], atol=1e-5) and torch.allclose(after[1], before[1], atol=1e-5)


def test_networks_are_told_the_redshift_itself() -> None:
    z = np.array([0.1, 0.5, 2.9])
    for name in TINY:
        model = made(name)
        heard: list[torch.Tensor] = []
        model.network.register_forward_hook(lambda _module, inputs, _output, heard=heard: heard.append(inputs[2]))
        model(torch.randn(3, 3, 16, 16), Conditions((REDSHIFT,)).encode({"redshift": z}), seeded())
        assert heard[0][:, 0].tolist() == pytest.approx(z.tolist(), abs=1e-5)


def test_lizarragas_code_is_sines_plus_redshift() -> None:
    net = LizarragaUNet(5, (0,), 0, width=8)
    code = net._code(torch.tensor([7.0]), torch.tensor([[0.25]]))
    i = torch.arange(128)
    angle = 7.0 * 10_000.0 ** (-i / 128)
    assert code.shape == (1, 256)
    assert torch.allclose(code[0], torch.cat([angle.sin(), angle.cos()]) + 0.25, atol=1e-5)
    four = SinusoidalCode(4)(torch.tensor([100.0]))
    assert four[0].tolist() == pytest.approx([math.sin(100), math.sin(1), math.cos(100), math.cos(1)], abs=1e-5)


def test_lis_redshift_is_a_map_beside_every_blocks_input() -> None:
    net = LiUNet(5, (0,), (8, 8, 16, 16, 16), blocks=2)
    blocks = [*net.down, net.middle, *net.up]
    seen: list[torch.Tensor] = []
    for block in blocks:
        block.residual[0].register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    net(torch.randn(1, 5, 32, 32), torch.tensor([3.0]), torch.tensor([[1.75]]))
    assert [h.shape[-1] for h in seen] == [32, 16, 8, 4, 2, 4, 8, 16, 32], "five resolutions"
    assert all((h[:, -1] == 1.75).all() for h in seen)
    convolutions = [
        [m for m in block.residual[0].modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)] for block in blocks
    ]
    assert all(len(three) == 3 for three in convolutions) and all(block.attention.heads == 4 for block in blocks)


@pytest.mark.parametrize(("name", "size"), [("lizarraga2024", 60), ("li2024-ddpm", 72)])
def test_stamps_that_cannot_be_halved_are_refused(name: str, size: int) -> None:
    with pytest.raises(InputError, match=f"multiple of .* pixels on a side, got {size}"):
        made(name, size=size)


def test_the_papers_training_is_the_default() -> None:
    lizarraga, li = (get_model(name).defaults for name in TINY)
    assert (lizarraga.learning_rate, lizarraga.weight_decay, lizarraga.clip, lizarraga.ema) == (2e-5, 0.01, 1.0, 0.995)
    assert (lizarraga.batch_size, lizarraga.stretch, lizarraga.jitter, lizarraga.steps) == (128, "minmax", 0.01, 958_654)
    assert (li.learning_rate, li.batch_size, li.stretch, li.ema, li.steps) == (1e-5, 32, "none", 0.0, 191_730)
    assert made("lizarraga2024").huber and not made("li2024-ddpm").huber
    assert lizarraga.decay_to == li.decay_to == 1 and lizarraga.condition_dropout == li.condition_dropout == 0
