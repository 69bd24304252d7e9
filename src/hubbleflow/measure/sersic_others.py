r"""Other objects in the stamps of a Sersic fit: their models are taken away, and what is not known of them is left free.

Let o be the weighted image sqrt(w) m of the other objects' models, and T the changes of it by one standard deviation of what is believed of
each of their parameters. With amplitudes t of these changes, of unit variance, the chi^2 of a residual r = sqrt(w) d - o - ... is

    min_t |r - T t|^2 + |t|^2 = r^T (1 + T T^T)^{-1} r = |P r|^2,    P = (1 + T T^T)^{-1/2} = 1 - U U^T,

    U = T V sqrt((1 - (1 + lambda)^{-1/2}) / lambda),    T^T T = V lambda V^T:

the fit of all objects at once, linear in the others, is a fit of one object in which data and templates have gone through P. What the
others could explain as well no longer counts, so that the errors are those of the joint fit. Beliefs are wide where pixels say more; they
keep a faint neighbour from taking what is not its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from hubbleflow.measure.sersic_model import SersicModel
    from hubbleflow.measure.sersic_stamps import Stamps

BELIEF = (0.5, 0.5, 0.3, 0.3, 0.3, 0.3, 0.3)  # standard deviations of x, y (px), ln a, h1, h2, ln n, ln flux about the model
_UNKNOWN = 1e4  # length of a template of which nothing is believed, in standard deviations of the data


class Freedom(Enum):
    """What of the others may change while something else is fitted."""

    NONE = "none"
    FLUX = "flux"  # nothing is known of it; the structure holds
    ALL = "all"  # flux and structure, within `BELIEF`


@dataclass(frozen=True)
class Others:
    """The same number of other objects in each stamp.

    Attributes:
        theta: their structures, as in `measure.sersic_model`.
        flux: in the image's unit; not used where it is free.
        freedom: what may change.
    """

    theta: Float[np.ndarray, "n k 6"]
    flux: Float[np.ndarray, "n k"]
    freedom: Freedom = Freedom.ALL

    def taken_from(self, stamps: Stamps, rows: np.ndarray, model: SersicModel) -> Stamps:
        """The stamps of some rows without them."""
        if not len(rows):
            free = {Freedom.NONE: 0, Freedom.FLUX: 1, Freedom.ALL: len(BELIEF)}[self.freedom] * self.flux.shape[1]
            return replace(stamps, others=stamps.others.new_empty(0, free, stamps.data.shape[1]))
        data, templates = stamps.data, [stamps.others]
        for k in range(self.flux.shape[1]):
            theta = torch.as_tensor(self.theta[rows, k], dtype=model.dtype, device=model.device)
            flux = (torch.as_tensor(self.flux[rows, k], device=model.device) * stamps.unit).to(model.dtype)[:, None]
            if self.freedom is Freedom.ALL:
                light = model(theta, stamps.transfer).flatten(2) * stamps.root[:, None]
                data = data - flux * light[:, -1]
                templates.append(light * (flux[:, None] * data.new_tensor(BELIEF)[:, None]))
                continue
            image = model.image(theta, stamps.transfer).flatten(1) * stamps.root
            if self.freedom is Freedom.FLUX:
                templates.append((image * (_UNKNOWN / image.norm(dim=1, keepdim=True).clamp_min(1e-30)))[:, None])
            else:
                data = data - flux * image
        apart = replace(stamps, data=data, others=_explained(torch.cat(templates, dim=1)))
        return replace(apart, data=apart.freed(data[:, None])[:, 0])


def _explained(templates: Float[Tensor, "b m pixel"]) -> Float[Tensor, "b m pixel"]:
    """U^T."""
    if not templates.shape[1]:
        return templates
    precise = templates.double()
    values, vectors = torch.linalg.eigh(precise @ precise.transpose(1, 2))
    values = values.clamp_min(1e-9)
    weight = ((1 - (1 + values).rsqrt()) / values).sqrt()
    return (vectors * weight[:, None]).transpose(1, 2).to(templates.dtype) @ templates
