"""What a galaxy costs, to draw and to learn from, beside the paper's recipe and two libraries. It writes a table of docs/performance.md.

    pip install --no-deps --target runs/lucidrains denoising-diffusion-pytorch einops      # for this benchmark only
    OMP_NUM_THREADS=1 python bench/cost.py MODEL [--rounds 3] [--lucidrains runs/lucidrains]

MODEL is a trained generator: its folder, or the name of one that ships. What is beside it is untrained, since time does not depend on the
weights, and of its stamps and bands:

- the paper's recipe: `lizarraga2024` at scale "paper", with attention (as described) and without (as released), 1,000 steps;
- diffusers' `UNet2DModel`, as many parameters as ours, our number of steps of its `DPMSolverMultistepScheduler`: once with the blocks that
  it has by default, once with those of diffusers' own training example (attention at one small feature map only, much faster);
- lucidrains' `denoising_diffusion_pytorch.Unet`, as many parameters as ours, our number of steps. It wants torchvision, which its network
  does not use and which has no build here (decision 0004): a stand-in lets it be imported.

Ours is timed as `generate` runs it: batches of 64, the precision that it chooses. The others are tried in float32 and, where the machine
has it, bfloat16, in both memory formats and in batches of 4 and 16, and run in the fastest. Ours and diffusers draw whole galaxies, from
seeds or noise to the end; the others are one evaluation times the steps, which leaves out what their samplers cost, and neither library's
network is told a redshift: all in their favour.

A training step is a forward and a backward pass, gradients clipped, fused AdamW and the average of the weights, as in `hubbleflow train`,
for all of them alike, in batches of --batch; reading and turning the images is left out. The others learn to predict noise.

Times are CPU seconds of one thread, in interleaved rounds of which the fastest counts; galaxies a second on two cores are wall-clock, so
that nothing else should run meanwhile. It takes some 10 minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ema_pytorch import EMA
from in_words import in_words
from papers import around_section, write_section
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from hubbleflow.generator import BATCH, Generator
from hubbleflow.models.edm import Edm
from hubbleflow.models.lizarraga2024 import Lizarraga2024
from hubbleflow.precision import autocast, resolve_precision
from hubbleflow.pretrained import find_model

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
CPU = torch.device("cpu")
PAPER_STEPS, FEW_STEPS = 1000, 6
BATCHES = (4, 16)  # in which the others are tried
TRAINED = 4  # training steps a round
UNIT = 8  # channels of diffusers' networks are multiples of it, as its groups and heads want
LAYOUTS = {
    "its default blocks": ("DAAA", (1, 2, 3, 4)),
    "blocks of its training example": ("DDDDAD", (1, 1, 2, 2, 4, 4)),
}
HOW = "pip install --no-deps --target {} denoising-diffusion-pytorch einops"


@dataclass(frozen=True)
class Setting:
    """How a network is run."""

    precision: str
    channels_last: bool
    batch: int

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def __str__(self) -> str:
        return f"{self.precision}{', channels last' if self.channels_last else ''}, batches of {self.batch}"


@dataclass
class Contestant:
    """A network, what it is asked, and the seconds that it took: of one thread, a galaxy.

    `evaluate` takes the network, noisy images and a step or noise level of each; `draw` gives a batch of galaxies with so many steps, None
    where only evaluations are timed; `loss` of a batch, None where it is not trained.
    """

    name: str
    network: nn.Module
    steps: int
    evaluate: Callable[[nn.Module, Tensor, Tensor], Tensor]
    draw: Callable[[nn.Module, int, int], object] | None = None
    loss: Callable[[nn.Module, Tensor], Tensor] | None = None
    setting: Setting | None = None
    training: Setting | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters())

    def took(self, what: str, seconds: float) -> None:
        self.seconds[what] = min(seconds, self.seconds.get(what, np.inf))

    def to_draw(self) -> float:
        """Seconds a galaxy: of drawing it where that is timed, of its evaluations otherwise."""
        return self.seconds.get("draw", self.steps * self.seconds["evaluate"])


def cpu_seconds(run: Callable[[], object]) -> float:
    begin = time.process_time()
    run()
    return time.process_time() - begin


# -- who takes part -------------------------------------------------------------------------------------------------------------
def ours(generator: Generator, batch: int) -> Contestant:
    """The generator as `generate` runs it."""
    model, conditions = generator.model, generator.conditions
    c = conditions.encode(generator.draw_conditions(BATCH), True)
    precision = resolve_precision("auto", CPU)
    return Contestant(
        "this package's",
        model,
        model.default_steps(),
        lambda network, x, t: network.denoiser(x, t, c[: len(x)]),
        lambda _, n, steps: list(generator.draw(generator.draw_conditions(n), steps=steps, extrapolate=True)),
        lambda network, x: network.loss(x, c[:1].expand(len(x), -1), torch.Generator().manual_seed(0)),
        Setting(precision, False, BATCH),
        Setting(precision, False, batch),
    )


def papers(bands: int, size: int, attention: bool) -> Contestant:
    """The network of Lizarraga et al. (2024), as large as theirs."""
    model = Lizarraga2024(bands, size, [0], [0, 0.0, 1.0], **{**Lizarraga2024.at_scale("paper"), "attention": attention})
    name = f"`lizarraga2024`, {'with' if attention else 'without'} attention"
    return Contestant(name, model, PAPER_STEPS, lambda network, x, t: network.predict_noise(x, t, torch.zeros(len(x), 1)))


def noise_loss(evaluate: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> Callable[[nn.Module, Tensor], Tensor]:
    """Ho et al.'s simple loss."""
    kept = torch.linspace(1e-4, 0.02, PAPER_STEPS).neg().log1p().cumsum(0).exp()

    def loss(network: nn.Module, x: Tensor) -> Tensor:
        t, noise = torch.randint(PAPER_STEPS, (len(x),)), torch.randn_like(x)
        part = kept[t][:, None, None, None]
        return F.mse_loss(evaluate(network, part.sqrt() * x + (1 - part).sqrt() * noise, t).float(), noise)

    return loss


def closest(build: Callable[..., nn.Module], choices: Iterable[tuple[Any, ...]], parameters: int) -> nn.Module:
    """The network whose number of parameters is nearest."""

    def misses(choice: tuple[Any, ...]) -> int:
        with torch.device("meta"):
            return abs(sum(parameter.numel() for parameter in build(*choice).parameters()) - parameters)

    return build(*min(choices, key=misses))


def diffusers_unet(layout: str, bands: int, size: int, parameters: int, steps: int) -> Contestant:
    """UNet2DModel of that many parameters, and the scheduler's whole loop."""
    from diffusers import DPMSolverMultistepScheduler, UNet2DModel

    letters, multipliers = LAYOUTS[layout]

    def build(*channels: int) -> nn.Module:
        down = tuple({"D": "DownBlock2D", "A": "AttnDownBlock2D"}[letter] for letter in letters)
        up = tuple(name.replace("Down", "Up") for name in reversed(down))
        return UNet2DModel(
            size, bands, bands, block_out_channels=channels, norm_num_groups=UNIT, down_block_types=down, up_block_types=up
        ).eval()

    def evaluate(network: nn.Module, x: Tensor, t: Tensor) -> Tensor:
        return network(x, t, return_dict=False)[0]

    def draw(network: nn.Module, n: int, steps: int) -> Tensor:
        scheduler = DPMSolverMultistepScheduler()
        scheduler.set_timesteps(steps)
        x = torch.randn(n, bands, size, size)
        for t in scheduler.timesteps:
            x = scheduler.step(evaluate(network, x, t).float(), t, x).prev_sample
        return x

    widest = UNIT + int((parameters / 1000) ** 0.5)  # of the first level: more than any layout needs
    widths = np.arange(UNIT, widest, 0.25)
    choices = dict.fromkeys(tuple(max(UNIT, UNIT * round(width * m / UNIT)) for m in multipliers) for width in widths)
    network = closest(build, choices, parameters)
    return Contestant(f"diffusers' `UNet2DModel`, {layout}", network, steps, evaluate, draw, noise_loss(evaluate))


def lucidrains_unet(bands: int, parameters: int, steps: int, folder: Path) -> Contestant | None:
    """denoising_diffusion_pytorch.Unet of that many parameters; None where it is not installed."""
    stand_ins = {name: ModuleType(name) for name in ("torchvision", "torchvision.transforms", "torchvision.utils")}
    package, transforms, others = stand_ins.values()
    package.transforms, package.utils = transforms, others  # type: ignore[attr-defined]
    missing = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.path.append(str(folder))
    sys.modules.update(missing)
    try:
        from denoising_diffusion_pytorch.denoising_diffusion_pytorch import Unet
    except ImportError as error:
        print(f"lucidrains' network is left out ({error}): {HOW.format(folder)}", file=sys.stderr)
        return None
    finally:
        sys.path.remove(str(folder))
        for name in missing:
            del sys.modules[name]

    widest = 8 + int((parameters / 5000) ** 0.5)
    dims = [(dim, first) for dim in range(8, widest, 2) for first in (dim - 2, dim, dim + 2)]
    network = closest(lambda dim, first: Unet(dim, init_dim=first, channels=bands).eval(), dims, parameters)

    def evaluate(network: nn.Module, x: Tensor, t: Tensor) -> Tensor:
        return network(x, t)

    return Contestant("lucidrains' `Unet`", network, steps, evaluate, None, noise_loss(evaluate))


# -- what is timed --------------------------------------------------------------------------------------------------------------
def evaluation(one: Contestant, setting: Setting, shape: tuple[int, ...]) -> float:
    """Seconds a galaxy of one evaluation."""
    network = one.network.to(memory_format=setting.memory_format)
    x, t = torch.randn(setting.batch, *shape).to(memory_format=setting.memory_format), torch.ones(setting.batch)
    with torch.inference_mode(), autocast(setting.precision, CPU):
        return cpu_seconds(lambda: one.evaluate(network, x, t)) / setting.batch


def drawing(one: Contestant, steps: int) -> float:
    """Seconds a galaxy of drawing one batch."""
    assert one.draw is not None and one.setting is not None
    draw, setting = one.draw, one.setting
    network = one.network.to(memory_format=setting.memory_format)
    with torch.inference_mode(), autocast(setting.precision, CPU):
        return cpu_seconds(lambda: draw(network, setting.batch, steps)) / setting.batch


class Trainer:
    """A copy of a network that learns from noise."""

    def __init__(self, one: Contestant, setting: Setting, shape: tuple[int, ...]) -> None:
        self.one, self.setting = one, setting
        self.network = deepcopy(one.network).to(memory_format=setting.memory_format).train()
        self.x = torch.randn(setting.batch, *shape).to(memory_format=setting.memory_format)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 1e-4, fused=True)
        self.average = EMA(self.network, update_after_step=0, update_every=1, include_online_model=False, use_foreach=True)

    def step(self) -> None:
        assert self.one.loss is not None
        with autocast(self.setting.precision, CPU):
            loss = self.one.loss(self.network, self.x)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.average.update()

    def seconds(self, steps: int) -> float:
        """A galaxy."""
        return cpu_seconds(lambda: [self.step() for _ in range(steps)]) / (steps * self.setting.batch)


def settle(one: Contestant, shape: tuple[int, ...], batch: int) -> None:
    """Find the settings in which a network is fastest; ours has its own."""
    formats = list(product(dict.fromkeys(("float32", resolve_precision("auto", CPU))), (False, True)))
    if one.setting is None:
        tried = [Setting(*how, size) for how in formats for size in BATCHES]
        one.setting = min(tried, key=lambda setting: min(evaluation(one, setting, shape) for _ in range(2)))
        print(f"{one.name}: {one.parameters:,} parameters, fastest in {one.setting}", file=sys.stderr, flush=True)
    if one.training is None and one.loss is not None:

        def seconds(setting: Setting) -> float:
            trainer = Trainer(one, setting, shape)
            return min(trainer.seconds(1) for _ in range(2))

        one.training = min((Setting(*how, batch) for how in formats), key=seconds)
        print(f"{one.name}: trains fastest in {one.training}", file=sys.stderr, flush=True)


def compete(all_of_them: list[Contestant], shape: tuple[int, ...], rounds: int, cores: int) -> float:
    """Time everybody in turns; returns galaxies a second of the first one on all cores."""
    mine, fastest = all_of_them[0], 0.0
    trainers = {one.name: Trainer(one, one.training, shape) for one in all_of_them if one.training is not None}
    for one in all_of_them:  # kernels and buffers
        assert one.setting is not None
        evaluation(one, one.setting, shape)
        if one.name in trainers:
            trainers[one.name].step()
    for number in range(rounds):
        for one in all_of_them:
            assert one.setting is not None
            one.took("evaluate", min(evaluation(one, one.setting, shape) for _ in range(3)))
            if one.draw is not None:
                one.took("draw", drawing(one, one.steps))
            if one.name in trainers:
                one.took("train", trainers[one.name].seconds(TRAINED))
        mine.took("few", drawing(mine, FEW_STEPS))
        torch.set_num_threads(cores)
        begin = time.perf_counter()
        drawing(mine, mine.steps)
        fastest = max(fastest, BATCH / (time.perf_counter() - begin))
        torch.set_num_threads(1)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return fastest


def operations(one: Contestant, shape: tuple[int, ...]) -> float:
    """Millions of multiplications and additions of one evaluation of one galaxy."""
    counter = FlopCounterMode(display=False)
    # Attention's own kernel is not counted, the matrix products that it stands for are.
    with torch.inference_mode(), counter, sdpa_kernel(SDPBackend.MATH):
        one.evaluate(one.network, torch.randn(1, *shape), torch.ones(1))
    return counter.get_total_flops() / 2e6


# -- what is written ------------------------------------------------------------------------------------------------------------
def table(all_of_them: list[Contestant], few: Contestant, shape: tuple[int, ...], rate: float, given: argparse.Namespace) -> str:
    """Costs, ratios and what was asked for."""
    mine, cores = all_of_them[0], given.cores
    text = [
        f"{shape[0]} bands of {shape[1]} x {shape[2]} px, one core; CPU time, the fastest of {given.rounds} rounds. Ratios are to the"
        " first row: how many times as long a galaxy takes to draw, and to learn from.",
        "",
        "| network | parameters | MMAC an evaluation | ms an evaluation | steps | ms a galaxy | ratio | images/s in training | ratio |",
        "|---" * 9 + "|",
    ]
    for one in [mine, few, *all_of_them[1:]]:
        cells = [one.name, f"{one.parameters:,}", f"{operations(one, shape):,.0f}", f"{1e3 * one.seconds['evaluate']:.2f}"]
        cells += [f"{one.steps:,}", f"{1e3 * one.to_draw():,.0f}", f"{one.to_draw() / mine.to_draw():,.3g}"]
        trained = one.seconds.get("train")
        cells += ["", ""] if trained is None else [f"{1 / trained:.1f}", f"{trained / mine.seconds['train']:.2f}"]
        text.append("| " + " | ".join(cells) + " |")
    if not any(one.name.startswith("lucidrains") for one in all_of_them):
        text.append("| lucidrains' `Unet` | not installed, and left out |" + " |" * 7)
    text += ["", f"On {cores} cores the first draws {rate:.1f} galaxies a second, wall-clock."]
    text += ["", f"Run in: {'; '.join(f'{one.name}: {one.setting}' for one in all_of_them)}."]
    trained_in = [f"{one.name}: {one.training}" for one in all_of_them if one.training is not None]
    text += ["", f"Trained in: {'; '.join(trained_in)}."]
    text += ["", "| times as fast to draw as | ratio | asked for | |", "|---|---|---|---|"]
    for one in all_of_them[1:]:
        least = 500 if one.steps == PAPER_STEPS else 3 if one.draw is not None else None
        if least is not None:
            for which in (mine, few) if one.steps == PAPER_STEPS else (mine,):
                ratio = one.to_draw() / which.to_draw()
                met = "met" if ratio >= least else "NOT MET"
                text.append(f"| {one.name}, {one.steps:,} steps over {which.steps} of ours | {ratio:,.3g} | {least} | {met} |")
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="a generator's folder, or the name of one that ships")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16, help="of training")
    parser.add_argument("--cores", type=int, default=2, help="on which galaxies a second are counted")
    parser.add_argument("--lucidrains", type=Path, default=Path("runs/lucidrains"), help="the folder where that package is installed")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    given = parser.parse_args()
    around_section(given.document, "cost")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    generator = Generator.load(find_model(given.model))
    if not isinstance(generator.model, Edm):
        parser.error(f"{given.model} is {generator.title}: expected an edm, whose network is what the others are beside")
    bands, size = len(generator.survey.bands), generator.image_size
    shape = (bands, size, size)
    mine = ours(generator, given.batch)
    rivals = [papers(bands, size, attention) for attention in (False, True)]
    rivals += [diffusers_unet(layout, bands, size, mine.parameters, mine.steps) for layout in LAYOUTS]
    lucidrains = lucidrains_unet(bands, mine.parameters, mine.steps, given.lucidrains)
    all_of_them = [mine, *rivals, *([lucidrains] if lucidrains else [])]
    for one in all_of_them:
        settle(one, shape, given.batch)
    rate = compete(all_of_them, shape, given.rounds, given.cores)
    few = replace(mine, name=f"{mine.name}, fewer steps", steps=FEW_STEPS, seconds={**mine.seconds, "draw": mine.seconds["few"]})
    few.seconds.pop("train")
    write_section(given.document, "cost", table(all_of_them, few, shape, rate, given))
    print(given.document)


if __name__ == "__main__":
    in_words(main)
