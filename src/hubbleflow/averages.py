"""Averages of a network's weights over its training, of a length chosen after it (Karras et al. 2024, arXiv 2312.02696, section 3).

    average_g(t) = beta average_g(t - 1) + (1 - beta) theta(t),   beta = (1 - 1/t)^(g + 1)                                (1)

weights the weights of step tau by

    p_g,t(tau) = (g + 1) tau^g / t^(g + 1),   0 < tau < t                                                        (2)

and so looks back over the same share of a training however long that is. Its length is the spread of p over t,

    length = (g + 1)^1/2 (g + 2)^-1 (g + 3)^-1/2                                                                 (3)

Two averages, kept now and then on the way, are enough to make others of: whichever is wanted, the sum of the kept ones whose profile is
nearest to its own, x = A^-1 b with A_ij = <p_i, p_j> and b_i = <p_i, p>, is it to a percent. How long an average should be depends on
everything else; a training that keeps them can be asked afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hubbleflow.errors import InputError
from hubbleflow.files import atomic_path
from hubbleflow.model_folder import halved
from hubbleflow.trained import TrainedModel

if TYPE_CHECKING:
    from jaxtyping import Float64
    from torch import Tensor, nn

FOLDER = "averages"  # in a model's folder
KEPT = (0.05, 0.10)  # lengths
SHORTEST, LONGEST = 0.005, 0.25
WORST = 0.1  # misfit of a profile, as a share of it, rms


def exponent(length: float) -> float:
    """g of eq. (3), its largest root.

    Example:
        >>> [round(exponent(length), 2) for length in (0.05, 0.10)]
        [16.97, 6.94]
    """
    square = length**-2
    return float(np.roots([1, 7, 16 - square, 12 - square]).real.max())


def products(one: Sequence[tuple[float, float]], other: Sequence[tuple[float, float]]) -> Float64[np.ndarray, "i j"]:
    """<p_i, p_j> of profiles (2), each given as (t, g)."""
    t_i, g_i = np.array(one, float).T[:, :, None]
    t_j, g_j = np.array(other, float).T[:, None]
    power = np.where(t_i < t_j, g_j, -g_i)
    return (g_i + 1) * (g_j + 1) * (t_i / t_j) ** power / ((g_i + g_j + 1) * np.maximum(t_i, t_j))


def shares(kept: Sequence[tuple[float, float]], wanted: tuple[float, float]) -> tuple[Float64[np.ndarray, " i"], float]:
    """How much of each kept average (t, g) goes into the wanted one, summing to one; and the profile's misfit, rms, as a share of it."""
    inner, towards, own = products(kept, kept), products(kept, [wanted])[:, 0], products([wanted], [wanted])[0, 0]
    x = np.linalg.lstsq(inner, towards, rcond=1e-12)[0]
    x /= x.sum()  # whatever did not change in training is its own average
    return x, float(np.sqrt(max(0.0, x @ inner @ x - 2 * x @ towards + own) / own))


class Averages:
    """Eq. (1) for two lengths, beside a training.

    Args:
        model: what is trained; all its floating-point numbers are averaged.
    """

    def __init__(self, model: nn.Module) -> None:
        self.theta = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
        self.values = {length: {name: tensor.clone() for name, tensor in self.theta.items()} for length in KEPT}

    def update(self, step: int) -> None:
        """Take in the weights as they are after a step, the first being 1."""
        for length, values in self.values.items():
            torch._foreach_lerp_(list(values.values()), list(self.theta.values()), 1 - (1 - 1 / step) ** (exponent(length) + 1))

    def state_dict(self) -> dict[str, Tensor]:
        """For a checkpoint, and for :meth:`keep`."""
        return {f"{length:g}.{name}": tensor for length, values in self.values.items() for name, tensor in values.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of :meth:`state_dict`.

        Raises:
            KeyError, RuntimeError: another network's.
        """
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])

    def keep(self, folder: str | os.PathLike[str], step: int) -> None:
        """Write both averages, in float16, into a model's folder."""
        with atomic_path(_file(folder, step)) as temporary:
            try:
                save_file({name: tensor.cpu().contiguous() for name, tensor in halved(self.state_dict()).items()}, temporary)
            except SafetensorError as error:  # how it reports a full disk
                raise OSError(str(error)) from error


def kept_steps(folder: str | os.PathLike[str]) -> list[int]:
    """The steps after which averages were kept in a model's folder."""
    return sorted(int(path.stem) for path in (Path(folder) / FOLDER).glob("*.safetensors") if path.stem.isdigit())


def forget_after(folder: str | os.PathLike[str], step: int) -> None:
    """Remove what was kept after a step: a training that resumes there has not been further."""
    for later in kept_steps(folder):
        if later > step:
            _file(folder, later).unlink()


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
    kept = [(one, one_length) for one in steps for one_length in KEPT]
    share, misfit = shares([(t, exponent(each)) for t, each in kept], (last, exponent(length)))
    if misfit > WORST:
        raise InputError(
            f"{len(steps)} snapshots are too few for an average of length {length:g}: it would be {100 * misfit:.0f} % off; "
            f"ask for one between {KEPT[0]:g} and {KEPT[-1]:g}, or train with more --snapshots"
        )
    sums: dict[str, Tensor] = {}
    for (t, each), part in zip(kept, share, strict=True):
        path = _file(folder, t)
        try:
            with safe_open(path, framework="pt") as file:
                for name in trained.model.state_dict():
                    if f"{each:g}.{name}" in file.keys():  # noqa: SIM118 - not a dict
                        sums[name] = sums.get(name, 0.0) + part * file.get_tensor(f"{each:g}.{name}").double()
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is truncated or damaged: {str(error).splitlines()[0]}") from error
    state = trained.model.state_dict()
    trained.model.load_state_dict(state | {name: values.to(state[name].dtype) for name, values in sums.items()})
    record = {"length": length, "step": last, "snapshots": len(steps), "misfit": round(misfit, 6)}
    return replace(trained, training=trained.training | {"average": record}, progress=trained.progress | {"steps": str(last)})
