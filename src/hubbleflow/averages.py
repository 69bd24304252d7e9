"""Averages of a network's weights over its training, of a length chosen after it (Karras et al. 2024, arXiv 2312.02696, section 3).

    average_g(t) = beta average_g(t - 1) + (1 - beta) theta(t),   beta = (1 - 1/t)^(g + 1)                                (1)

weights the weights of step tau by

    p_g,t(tau) = (g + 1) tau^g / t^(g + 1),   0 < tau < t                                                        (2)

and so looks back over the same share of a training however long that is. Its length is the spread of p over t,

    length = (g + 1)^1/2 (g + 2)^-1 (g + 3)^-1/2                                                                 (3)

Two averages, kept now and then on the way, are enough to make others of: whichever is wanted, the sum of the kept ones whose profile is
nearest to its own, x = A^-1 b with A_ij = <p_i, p_j> and b_i = <p_i, p>, is nearly it. How long an average should be depends on everything
else; a training that keeps them can be asked afterwards. Averages, exponents and products of profiles are ema-pytorch's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ema_pytorch.post_hoc_ema import KarrasEMA, p_dot_p, sigma_rel_to_gamma
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from hubbleflow.errors import InputError
from hubbleflow.files import atomic_path
from hubbleflow.model_folder import halved
from hubbleflow.trained import TrainedModel

if TYPE_CHECKING:
    from jaxtyping import Float64
    from torch import Tensor

FOLDER = "averages"  # in a model's folder
KEPT = (0.05, 0.10)  # lengths
SHORTEST, LONGEST = 0.005, 0.25
WORST = 0.1  # misfit of a profile, as a share of it, rms


def shares(kept: Sequence[tuple[float, float]], wanted: tuple[float, float]) -> tuple[Float64[np.ndarray, " i"], float]:
    """How much of each kept average, given as (step, length), goes into the wanted one, summing to one; and the misfit of that sum's
    profile, rms, as a share of it.
    """
    profiles = [(step, sigma_rel_to_gamma(length)) for step, length in [*kept, wanted]]
    t, g = torch.tensor(profiles, dtype=torch.float64).T
    products = p_dot_p(t[:, None], g[:, None], t, g).numpy()
    inner, towards, own = products[:-1, :-1], products[:-1, -1], products[-1, -1]
    x = np.linalg.lstsq(inner, towards, rcond=1e-12)[0]
    x /= x.sum()  # whatever did not change in training is its own average
    return x, float(np.sqrt(max(0.0, x @ inner @ x - 2 * x @ towards + own) / own))


class Averages(nn.ModuleList):
    """Eq. (1) for two lengths, beside a training.

    Args:
        model: what is trained.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__([KarrasEMA(model, sigma_rel=length, update_every=1) for length in KEPT])

    def __iter__(self) -> Iterator[Any]:  # for the type checker, to which a module's attributes may be tensors
        return super().__iter__()

    def update(self) -> None:
        """Take in the weights as they are after a step."""
        for average in self:
            average.update()

    def keep(self, folder: str | os.PathLike[str], step: int) -> None:
        """Write both averages, in float16, into a model's folder."""
        pairs = [(length, average.ema_model.state_dict()) for length, average in zip(KEPT, self, strict=True)]
        found = {f"{length:g}.{name}": tensor for length, state in pairs for name, tensor in state.items()}
        with atomic_path(_file(folder, step)) as temporary:
            try:
                save_file({name: tensor.cpu().contiguous() for name, tensor in halved(found).items()}, temporary)
            except SafetensorError as error:  # how it reports a full disk
                raise OSError(str(error)) from error

    def forget_after(self, folder: str | os.PathLike[str], step: int) -> None:
        """Remove what was kept after a step: a training that resumes there has not been further."""
        for later in kept_steps(folder):
            if later > step:
                _file(folder, later).unlink()


def kept_steps(folder: str | os.PathLike[str]) -> list[int]:
    """The steps after which averages were kept in a model's folder."""
    return sorted(int(path.stem) for path in (Path(folder) / FOLDER).glob("*.safetensors") if path.stem.isdigit())


def _file(folder: str | os.PathLike[str], step: int) -> Path:
    return Path(folder) / FOLDER / f"{step:08d}.safetensors"


def averaged(folder: str | os.PathLike[str], length: float, step: int | None = None) -> TrainedModel:
    """The model of a folder with its weights averaged over `length` of its training.

    Args:
        folder: a model's, trained with snapshots.
        length: of the average, eq. (3), as a share of the training.
        step: up to which; the last that was kept where not given.

    Raises:
        InputError: not such a folder, a length that cannot be, too few snapshots for it.
    """
    if not SHORTEST <= length <= LONGEST:
        raise InputError(f"the length of an average is a share of the training between {SHORTEST:g} and {LONGEST:g}, got {length:g}")
    trained, steps = TrainedModel.load(folder), kept_steps(folder)
    if not steps:
        raise InputError(f"{folder} has kept no averages of its weights: train with --snapshots 20, say")
    last = steps[-1] if step is None else step
    steps = [one for one in steps if one <= last]
    if not steps or steps[-1] != last:
        raise InputError(f"{folder} has kept no averages at step {last}: it has some at {', '.join(map(str, kept_steps(folder)))}")
    kept = [(one, each) for one in steps for each in KEPT]
    share, misfit = shares(kept, (last, length))
    if misfit > WORST:
        raise InputError(
            f"{len(steps)} snapshots are too few for an average of length {length:g}: it would be {100 * misfit:.0f} % off; "
            f"ask for one between {KEPT[0]:g} and {KEPT[-1]:g}, or train with more --snapshots"
        )
    # What was found when the training was over is not in its snapshots, and stays: it is what the network cannot say (decision 0019).
    state = {name: tensor for name, tensor in trained.model.state_dict().items() if not name.startswith(trained.model.fitted)}
    sums: dict[str, Tensor] = {}
    for (t, each), part in zip(kept, share, strict=True):
        path = _file(folder, t)
        try:
            with safe_open(path, framework="pt") as file:
                for name, tensor in state.items():
                    if tensor.is_floating_point():
                        sums[name] = sums.get(name, 0.0) + part * file.get_tensor(f"{each:g}.{name}").double()
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is truncated or damaged: {str(error).splitlines()[0]}") from error
    trained.model.load_state_dict(trained.model.state_dict() | {name: values.to(state[name].dtype) for name, values in sums.items()})
    record = {"length": length, "step": last, "snapshots": len(steps), "misfit": round(misfit, 6)}
    return replace(trained, training=trained.training | {"average": record}, progress=trained.progress | {"steps": str(last)})
