"""Your own model in one file: it trains, draws, is judged and stands in `hubbleflow models` beside the published ones.

New here: a subclass of GenerativeModel with a `name`. The model is the oldest of all, eigen-galaxies: probabilistic principal components
(Tipping & Bishop 1999) of stretched images x, whose coefficients have a mean mu and a scatter s that follow the condition c (redshift):

    x = m + W (mu(c) + s(c) h) + sigma_band e,   h, e ~ N(0, 1),   mu(c) = sum_j c^j u_j,   ln s(c) = sum_j c^j a_j,   j = 0, 1, 2

Trained on its exact likelihood, it learns in seconds how bright, how large and how noisy galaxies are at each redshift, and no spiral arms.

    hubbleflow simulate sky.h5 --n 2000
    hubbleflow train sky.h5 eigen --model examples/07_own_model.py --steps 600
    export HUBBLEFLOW_MODELS=examples/07_own_model.py
    hubbleflow generate eigen made.h5 --like sky.h5 && hubbleflow evaluate sky.h5 made.h5 report
"""

import torch
from torch import nn

from hubbleflow.diffusion import seeded_noise
from hubbleflow.models import GenerativeModel, TrainingDefaults


class EigenGalaxies(GenerativeModel):
    name = "eigen-galaxies"
    paper = "Tipping & Bishop 1999, given redshift"
    defaults = TrainingDefaults(batch_size=32, learning_rate=2e-2, condition_dropout=0.0, decay_to=0.01, ema=0.99, steps=600)

    def __init__(self, bands, image_size, columns, components=24):
        super().__init__()
        self.shape, pixels = (bands, image_size, image_size), bands * image_size**2
        self.mean = nn.Parameter(torch.zeros(pixels))
        self.eigen = nn.Parameter(0.05 * torch.randn(pixels, components))
        self.coefficient = nn.Parameter(torch.zeros(1 + 2 * columns, components))
        self.scatter = nn.Parameter(torch.zeros(1 + 2 * columns, components))
        self.log_noise = nn.Parameter(torch.full((bands, 1, 1), -1.0))

    @classmethod
    def arguments(cls, training_set):  # of the constructor; they are stored with the weights
        return {"bands": training_set.bands, "image_size": training_set.image_size, "columns": len(training_set.conditions.columns)}

    def given(self, c):  # the conditions (n, columns) come standardised; NaN is "not asked"
        c = c.nan_to_num(0.0).clamp(-3, 3)
        powers = torch.cat([torch.ones_like(c[:, :1]), c, c**2], dim=1)
        noise = self.log_noise.exp().expand(self.shape).reshape(-1)
        return self.mean + (powers @ self.coefficient) @ self.eigen.T, (powers @ self.scatter).exp(), noise

    def loss(self, x, c, generator):  # -ln N(x; m, W s^2 W' + sigma^2), a pixel, by Woodbury's identity
        with torch.autocast(x.device.type, enabled=False):
            m, s, noise = self.given(c)
            r, w = (x.flatten(1) - m) / noise, self.eigen / noise[:, None]
            inner = torch.eye(s.shape[1], device=x.device) + s[:, :, None] * (w.T @ w) * s[:, None, :]
            u = torch.linalg.solve(inner, s * (r @ w))
            return ((r * r).sum(1) - (s * (r @ w) * u).sum(1) + inner.logdet()).mean() / (2 * r.shape[1]) + noise.log().mean()

    def sample(self, c, seeds, steps=None, guidance=1.0, sampler=None):  # galaxy i depends on seeds[i] and c[i] alone
        m, s, noise = self.given(c)
        h, e = seeded_noise(seeds, (s.shape[1] + m.shape[1],)).to(c).split([s.shape[1], m.shape[1]], dim=1)
        return (m + (s * h) @ self.eigen.T + noise * e).unflatten(1, self.shape)
