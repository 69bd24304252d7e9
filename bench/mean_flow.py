"""mean-flow: a student of `edm` that draws a galaxy in one evaluation of the network, by its average velocity (Geng et al. 2025).

    hubbleflow train SKY.h5 STUDENT --model bench/mean_flow.py --from EDM        # a model of one's own, in one file

It is what `consistency` was chosen before (bench/student.py, docs/decisions/0022-student.md), and no part of the package.

The probability flow of x_t = x + t n moves an image with velocity dx/dt = (x_t - D(x_t, t)) / t. Its average on the way from t down to r
(Geng et al. 2025, "Mean Flows for One-step Generative Modeling", arXiv 2505.13447, eqs 3 and 6) is learned instead, and written here as a
denoiser's, too, with one number more, g = 1 - r / t, the share of the noise that goes:

    u(x_t, r, t) = (x_t - x_r) / (t - r) = (x_t - D(x_t, t, g)) / t                                                       (1)
    u = v - (t - r) du/dt,   v = n in the mean      =>   (1 - g) (D - x) + g t dD/dt = 0 in the mean                      (2)
    loss = E [ <w^2> / (<w^2> + p) ],   w = (D - D^) / c_out(t),   D^ = D - (1 - g) (D - x) - g t dD/dt, of no gradient     (3)

dD/dt is along the path, x_t and t and with it g changing at r held: a derivative in one direction, which forward differentiation gives
(their section 4.1). g = 0 is `edm`'s own denoiser, with whose weights it starts, and of its loss; g = 1 says that D is the same all along
the path, which is what consistency models say (Song et al. 2023). A share of galaxies has g = 0, as theirs (table 1a: three of four); of
the others ln r is even from sigma_min to t, or r is 0. The network is told g as it is told the noise level, beside it.

Drawing: x_0 = D at t = sigma_max and g = 1; several steps stop on the way, x_r = x_t - g (x_t - D), and add no noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from hubbleflow.diffusion import NoiseStreams, column, guided
from hubbleflow.errors import InputError
from hubbleflow.models.edm import Edm
from hubbleflow.models.model import TrainingDefaults
from hubbleflow.networks.embedding import FourierFeatures
from hubbleflow.networks.mean_galaxy import MeanImage
from hubbleflow.networks.zeroed import zeroed

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class MeanFlow(Edm):
    """Where the probability flow leads a noisy galaxy on the average, on part of its way or all of it.

    Args:
        bands, image_size, conditions, sigma_data: see :class:`TrainingSet` (conditions as the embedding's layout).
        denoised: share of galaxies with g = 0.
        whole: share of the others with r = 0.
        last: noise level at which the last of several steps begins.
        width: of the network.
        edm: whatever else :class:`Edm` takes; `modes_weight`, `galaxy_weight` and `mean_alone` are of its own loss alone.

    Raises:
        InputError: a share that is none, or a noise level out of order.
    """

    name: ClassVar[str] = "mean-flow"
    paper: ClassVar[str] = "Geng et al. 2025, on this package's edm"
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
        denoised: float = 0.5,
        whole: float = 0.5,
        last: float = 1.0,
        width: int = 48,
        **edm: Any,
    ) -> None:
        super().__init__(bands, image_size, conditions, sigma_data, width=width, **edm)
        if not (0 <= denoised < 1 and 0 <= whole <= 1):
            raise InputError(f"denoised and whole are shares, the first below 1, got {denoised} and {whole}")
        if not self.sigma_min <= last <= self.sigma_max:
            raise InputError(f"the noise level of the last step must lie within {self.sigma_min} and {self.sigma_max}, got {last}")
        if self.mean_alone:
            raise InputError("a mean flow starts from an edm whose mean is learned: mean_alone is of edm's training")
        self.denoiser.correction = self.denoiser.sums_correction = None  # of what is expected of x; its answer is x itself, sky and all
        self.pixel_errors.requires_grad_(False)
        self.mode_errors.requires_grad_(False)
        self.denoised, self.whole, self.last = denoised, whole, last
        self.gap_features, self.embed_gap = FourierFeatures(2 * width), zeroed(nn.Linear(2 * width, 4 * width))
        self.gap: Tensor | None = None  # of the evaluation that is under way
        self.denoiser.network.embed_noise.register_forward_hook(self._with_gap)
        self.denoiser.network.stem.register_forward_pre_hook(self._derivable)

    def _with_gap(self, layer: nn.Module, given: tuple[Tensor, ...], code: Tensor) -> Tensor:
        return code if self.gap is None else code + self.embed_gap(self.gap_features(self.gap))

    def _derivable(self, layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """All that follows keeps its memory format; torch's group norm of channels-last maps has no forward derivative."""
        return tuple(h.contiguous() for h in given) if self.training else given

    def d(self, x_t: Tensor, t: Tensor, c: Tensor, m: MeanImage | None, gap: Tensor) -> Tensor:
        """D of eq. (1)."""
        self.gap = gap
        try:
            return self.denoiser(x_t, t, c, m)  # type: ignore[no-any-return]
        finally:
            self.gap = None

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Its own arguments, and those of the `edm` that it is."""
        return super().options() | Edm.options()

    @classmethod
    def renewed(cls, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, ...]:
        """What `edm` renews, and g's own weights where it starts from an `edm`, which has none."""
        return (*super().renewed(mine, theirs), *(() if "denoised" in theirs else ("embed_gap.",)))

    def shares(self, t: Float[Tensor, " n"], generator: torch.Generator) -> Float[Tensor, " n"]:
        """g of each noise level, drawn."""
        which, where = torch.rand(2, len(t), generator=generator, device=t.device)
        r = (self.sigma_min * (t / self.sigma_min).clamp(min=1) ** where).minimum(t)
        r = torch.where(which < self.denoised + (1 - self.denoised) * self.whole, 0.0, r)
        return torch.where(which < self.denoised, 0.0, 1 - r / t)

    def loss(self, x: Float[Tensor, "n band y x"], c: Float[Tensor, "n k"], generator: torch.Generator) -> Float[Tensor, ""]:
        """How far D is from what its own change along the path says (eq. 3)."""
        t = (self.p_mean + self.p_std * torch.randn(len(x), generator=generator, device=x.device)).exp()
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        gap, m = self.shares(t, generator), MeanImage(self.denoiser.middle(c))
        x_t, r = x + column(t) * noise, (1 - gap) * t

        def along(x_t: Tensor, t: Tensor) -> Tensor:
            return self.d(x_t, t, c, m, 1 - r / t)

        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):  # a derivative; and torch's does not know autocast
            d, change = torch.func.jvp(along, (x_t, t), (noise, torch.ones_like(t)))[:2]
            target = d - column(1 - gap) * (d - x) - column(gap * t) * change
        weight = column(t**-2 + self.denoiser.sigma_data**-2)
        squared = (weight * (self.d(x_t, t, c, m, gap) - target) ** 2).mean(dim=(1, 2, 3))
        return (squared / (squared.detach() + POWER)).mean() + self.denoiser.mean_loss(x, c)

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
            several are evenly spaced in ln t from sigma_max to `last`. guidance: as of `edm`, applied to D.

        Raises:
            InputError: fewer than one step; a sampler, of which there is only this one; a guide.
        """
        if weaker is not None:
            raise InputError(f"model {self.name!r} is not guided by another")
        steps = self.default_steps() if steps is None else steps
        if sampler is not None:
            raise InputError(f"model {self.name!r} has no sampler {sampler!r}, it draws in its own way: leave it out")
        if steps < 1:
            raise InputError(f"model {self.name!r} takes at least one step, got {steps}")
        x = self.middle(c, guidance, None) + self.sigma_max * NoiseStreams(seeds, self.shape)().to(c.device)
        levels = torch.linspace(math.log(self.sigma_max), math.log(self.last), steps).exp().to(c.device)
        for t, r in zip(levels, [*levels[1:], levels.new_zeros(())], strict=True):
            gap = 1 - r / t

            def along(x_t: Tensor, sigma: Tensor, c: Tensor, gap: Tensor = gap) -> Tensor:
                return self.d(x_t, sigma, c, None, gap.expand(len(x_t)))

            x = x - gap * (x - guided(along, c, guidance)(x, t))
        return x


POWER = 0.01  # p: errors in units of c_out are of order one where a denoiser cannot know, and 0.01 where noise is low
