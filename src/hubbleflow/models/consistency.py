"""consistency: a student of `edm` that draws a galaxy in one evaluation of the network, by consistency tuning (Geng et al. 2024).

The probability flow of x_t = x + t n leads every noisy image to one galaxy. A consistency function (Song et al. 2023, arXiv 2303.01469,
section 3) knows which one at once:

    f(x_t, t) = f(x_r, r)  for any two points of one path,   f(x, 0) = x                                                      (1)
    f(x_t, t) = c_skip x_t + c_out F(c_in x_t, ln(t) / 4)                                                                     (2)

(2) is EDM's denoiser (diffusion eq. 2) with other weights, so that the student has the network, the arguments and, at its start, the
weights of an `edm`: `train --model consistency --from EDM`. EDM's c_skip and c_out serve as they are, where Song et al. shift them by
sigma_min: f(x, 0) = x whatever F is, and f(x, sigma_min) is within c_out = 0.01, a fortieth of s, of x for an F of order one. Below
sigma_min an image counts as a galaxy.

    loss = E [ <u^2> / (1 - r/t) ],   u = (f(x + t n, t) - f^(x + r n, r)) / c_out(t),   1 / c_out^2 = 1 / t^2 + 1 / s^2      (3)
    1 - r/t = min(1, g (1 + k sigmoid(-t / 2s))),   f^(x + r n, r) = x  where r < sigma_min                                   (4)

(Geng et al. 2024, "Consistency Models Made Easy", arXiv 2406.14548): the same noise n and conditions on both sides, no gradient through
f^ and no average of weights in it (Song & Dhariwal 2023, arXiv 2310.14189), < > the mean over pixels. At r = 0 this is edm's own loss
(diffusion eq. 3), whose solution the start is; `anneal` closes the gap g as the training goes on.

Theirs: k = 8, g = 1/2 at first, the weight 1 / c_out^2 (of their ImageNet). Ours: g falls steadily, to 1/128 (theirs is halved or
quartered at intervals); t / 2s for their t, s being 1/2 there; ln t and sigma_max as `edm` has them and for
its reasons (theirs N(-1.1, 2^2) and 80); 1 / (1 - r/t), which keeps the gradient as large while the gap closes (the papers' 1 / (t - r),
times t); and the square <u^2>, where they have a norm (<u^2> + c^2)^1/2 with c = 0.00054: taught by the norm, the eight galaxies of
tests/test_model_contract.py came out three times as far off. Batch and average are edm's, the learning rate a third of its.

Tuning, and not distillation, which takes the step from t to r along a teacher's flow: a teacher is another set of weights, which a resumed
training would have to find again, and a folder to hold.

Drawing: f at t = sigma_max. Each further step adds fresh noise of a lower level and takes it away (Song et al. 2023, algorithm 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from hubbleflow.diffusion import NoiseStreams, column, guided
from hubbleflow.errors import InputError
from hubbleflow.models.edm import Edm
from hubbleflow.models.model import TrainingDefaults

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Consistency(Edm):
    """Where the probability flow leads a noisy galaxy, given conditions.

    Args:
        bands, image_size, conditions, sigma_data: see :class:`TrainingSet` (conditions as the embedding's layout).
        gap_first, gap_last: g of eq. (4) at the beginning and at the end of the training.
        closer: k of eq. (4).
        last: noise level of the last of several steps.
        edm: whatever else :class:`Edm` takes; `modes_weight`, `galaxy_weight` and `mean_alone` are of its own loss alone.

    Raises:
        InputError: gaps or a noise level out of order.
    """

    name: ClassVar[str] = "consistency"
    paper: ClassVar[str] = "Geng et al. 2024, on this package's edm"
    steps: ClassVar[int] = 1
    defaults: ClassVar[TrainingDefaults] = TrainingDefaults(
        batch_size=16, learning_rate=3e-4, weight_decay=1e-2, betas=(0.9, 0.99), ema=0.9995, decay_to=0.05, steps=20_000
    )

    def __init__(
        self,
        bands: int,
        image_size: int,
        conditions: Sequence[int],
        sigma_data: float,
        gap_first: float = 1 / 2,
        gap_last: float = 1 / 128,
        closer: float = 8.0,
        last: float = 1.0,
        **edm: Any,
    ) -> None:
        super().__init__(bands, image_size, conditions, sigma_data, **edm)
        if not 0 < gap_last <= gap_first <= 1:
            raise InputError(f"gap_first and gap_last must fall within 1 to 0, the first being the larger, got {gap_first} and {gap_last}")
        if not self.sigma_min <= last <= self.sigma_max:
            raise InputError(f"the noise level of the last step must lie within {self.sigma_min} and {self.sigma_max}, got {last}")
        if self.mean_alone:
            raise InputError("a consistency model starts from an edm whose mean is learned: mean_alone is of edm's training")
        self.denoiser.correction = self.denoiser.sums_correction = None  # of what is expected of x; f is x itself, sky and all
        self.pixel_errors.requires_grad_(False)
        self.mode_errors.requires_grad_(False)
        self.gap_first, self.gap_last, self.closer, self.last = gap_first, gap_last, closer, last
        self.anneal(0.0)

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Its own arguments, and those of the `edm` that it is."""
        return super().options() | Edm.options()

    def anneal(self, progress: float) -> None:
        """Set g of eq. (4)."""
        self.gap = self.gap_first ** (1 - progress) * self.gap_last**progress

    def earlier(self, t: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """r of eq. (4), 0 where it is below sigma_min."""
        r = t * (1 - self.gap * (1 + self.closer * torch.sigmoid(-t / (2 * self.denoiser.sigma_data)))).clamp(min=0)
        return torch.where(r < self.sigma_min, 0.0, r)

    def loss(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n k"], generator: torch.Generator) -> Float[Tensor, ""]:
        """How far f disagrees with itself along the way (eq. 3)."""
        t = (self.p_mean + self.p_std * torch.randn(len(x), generator=generator, device=x.device)).exp()
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        r = self.earlier(t)
        with torch.no_grad():
            target = self.denoiser(x + column(r) * noise, r.clamp(min=self.sigma_min), c)
            target = torch.where(column(r) > 0, target, x)
        weight = (t**-2 + self.denoiser.sigma_data**-2) / (1 - r / t)
        return (column(weight) * (self.denoiser(x + column(t) * noise, t, c) - target) ** 2).mean() + self.denoiser.mean_loss(x, c)

    def sample(
        self,
        c: Float[Tensor, "n k"],
        seeds: Sequence[int],
        steps: int | None = None,
        guidance: float = 1.0,
        sampler: str | None = None,
        weaker: Edm | None = None,
    ) -> Float[Tensor, "n band y x"]:
        """Galaxies from each one's own noise.

        Args:
            c: conditions, one row a galaxy. seeds: one a galaxy. steps: evaluations of the network, 1 where not given; the noise levels of
            several are evenly spaced in ln t from sigma_max to `last`. guidance, weaker: as of `edm`, applied to f.

        Raises:
            InputError: fewer than one step; a sampler, of which there is only this one.
        """
        steps = self.default_steps() if steps is None else steps
        if sampler is not None:
            raise InputError(f"model {self.name!r} has no sampler {sampler!r}, it draws in its own way: leave it out")
        if steps < 1:
            raise InputError(f"model {self.name!r} takes at least one step, got {steps}")
        f, streams = guided(self.denoiser, c, guidance, weaker.denoiser if weaker else None), NoiseStreams(seeds, self.shape)
        x = self.middle(c, guidance, weaker)
        for t in torch.linspace(math.log(self.sigma_max), math.log(self.last), steps).exp().to(c.device):
            x = f(x + t * streams().to(c.device), t)
        return x
