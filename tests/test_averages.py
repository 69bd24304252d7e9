"""Averages of weights: profiles against quadrature, sums of averages against one that was kept, and trainings that keep them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ema_pytorch.post_hoc_ema import KarrasEMA, p_dot_p, sigma_rel_to_gamma, solve_weights
from scipy.integrate import quad
from torch import nn

from hubbleflow.averages import FOLDER, KEPT, Averages, averaged, kept_steps, shares
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.survey import Survey
from hubbleflow.trained import TrainedModel
from hubbleflow.training import Recipe, Training, weights_hash

STEPS = 24


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> GalaxySet:
    rng = np.random.default_rng(0)
    images = rng.normal(0, 1, (32, 5, 16, 16)).astype("f4")
    columns = {"redshift": rng.uniform(0.1, 2, 32)}
    return GalaxySet(images, Survey.get("hsc-wide"), columns).write(tmp_path_factory.mktemp("sky") / "sky.h5")


def recipe(**more: int) -> Recipe:
    return Recipe(steps=STEPS, arguments={"width": 8, "multipliers": [1, 2]}, **more)


@pytest.fixture(scope="module")
def folder(sky: GalaxySet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    training = Training(sky, folder, recipe(snapshots=6))
    for _ in training.run():
        pass
    return folder


def test_profiles_are_those_of_the_paper() -> None:
    def profile(t: float, g: float, tau: float) -> float:
        return (g + 1) * tau**g / t ** (g + 1) if tau < t else 0.0

    def moment(power: int, g: float) -> float:
        return quad(lambda tau: tau**power * profile(1.0, g, tau), 0, 1)[0]

    for (t, g), (u, h) in (((3.0, 17.0), (5.0, 7.0)), ((5.0, 7.0), (3.0, 17.0)), ((4.0, 2.5), (4.0, 2.5))):
        wanted = quad(lambda tau, t=t, g=g, u=u, h=h: profile(t, g, tau) * profile(u, h, tau), 0, min(t, u))[0]
        assert p_dot_p(*(torch.tensor(value) for value in (t, g, u, h))).item() == pytest.approx(wanted, rel=1e-6)
    for length in (0.02, *KEPT, 0.2):
        g = sigma_rel_to_gamma(length)
        mean, square = moment(1, g), moment(2, g)
        assert np.sqrt(square - mean**2) == pytest.approx(length, rel=1e-6)


def test_an_average_of_any_length_is_that_which_would_have_been_kept() -> None:
    """A random walk averaged on the way over three lengths: the third is made of the other two, as ema-pytorch would have it."""
    walk = nn.Linear(40, 1, bias=False)
    rng, step, wanted = np.random.default_rng(0), 0, 0.07
    third = KarrasEMA(walk, sigma_rel=wanted, update_every=1)
    averages, kept = Averages(walk), []
    for step in range(1, 1001):
        with torch.no_grad():
            walk.weight += torch.from_numpy(rng.normal(0, 1, (1, 40))).float()
        averages.update()
        third.update()
        if step % 50 == 0:
            kept += [(step, length, average.ema_model.weight.clone()) for length, average in zip(KEPT, averages, strict=True)]
    share, misfit = shares([(t, length) for t, length, _ in kept], (step, wanted))
    made = sum(part * value for part, (_, _, value) in zip(share, kept, strict=True))
    assert share.sum() == pytest.approx(1) and misfit < 0.01
    assert (made - third.ema_model.weight).abs().max() < 0.02 * walk.weight.std()
    assert (averages[0].ema_model.weight - third.ema_model.weight).abs().max() > 0.2, "a test that only sees one average"
    gammas = [sigma_rel_to_gamma(length) for _, length, _ in kept]
    given = ([t for t, _, _ in kept], gammas, [step], [sigma_rel_to_gamma(wanted)])
    theirs = solve_weights(*(torch.tensor(values) for values in given))
    np.testing.assert_allclose(share, theirs[:, 0], atol=0.02)


def test_a_kept_average_is_itself(folder: Path) -> None:
    assert kept_steps(folder) == [4, 8, 12, 16, 20, 24]
    from safetensors.torch import load_file

    last = load_file(folder / FOLDER / "00000024.safetensors")
    made = averaged(folder, 0.1)
    for name, tensor in made.model.state_dict().items():
        torch.testing.assert_close(tensor, last[f"0.1.{name}"].float(), atol=1e-5, rtol=1e-4)
    assert made.training["average"] == {"length": 0.1, "step": 24, "snapshots": 6, "misfit": pytest.approx(0, abs=1e-5)}
    earlier = averaged(folder, 0.1, step=12)
    assert earlier.training["average"]["snapshots"] == 3 and earlier.progress["steps"] == "12"


def test_snapshots_change_nothing_else_and_resume_to_the_same_bits(sky: GalaxySet, folder: Path, tmp_path: Path) -> None:
    plain = Training(sky, tmp_path / "plain", recipe())
    list(plain.run())
    assert weights_hash(tmp_path / "plain") == weights_hash(folder) and not (tmp_path / "plain" / FOLDER).exists()
    training = Training(sky, tmp_path / "stopped", recipe(snapshots=6))
    for step in training.run():
        if step.number == 10:
            training.save()
        if step.number == 17:
            break
    assert kept_steps(tmp_path / "stopped") == [4, 8, 12, 16]
    again = Training(sky, tmp_path / "stopped", recipe(snapshots=6), resume=True)
    assert again.step == 10 and kept_steps(tmp_path / "stopped") == [4, 8], "what was kept after the checkpoint is not of this training"
    list(again.run())
    for step in kept_steps(folder):
        assert weights_of(tmp_path / "stopped", step) == weights_of(folder, step)


def weights_of(folder: Path, step: int) -> dict[str, bytes]:
    from safetensors.numpy import load_file

    return {name: values.tobytes() for name, values in load_file(folder / FOLDER / f"{step:08d}.safetensors").items()}


def command(*words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-m", "hubbleflow", *map(str, words)], env=environment, capture_output=True, text=True)


def test_the_command_writes_a_folder_that_opens(folder: Path, tmp_path: Path) -> None:
    done = command("average", folder, tmp_path / "averaged", "--length", "0.07")
    assert done.returncode == 0 and "averaged over 0.07 of 24 steps, of 6 snapshots" in done.stdout, done.stderr
    assert TrainedModel.load(tmp_path / "averaged").training["average"]["length"] == 0.07
    refused = command("average", folder, tmp_path / "averaged")
    assert refused.returncode == 2 and "is not empty" in refused.stderr


def test_bad_requests_get_one_sentence(sky: GalaxySet, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="between 0.005 and 0.25, got 0.5"):
        averaged(folder, 0.5)
    with pytest.raises(InputError, match="too few for an average of length 0.01"):
        averaged(folder, 0.01)
    with pytest.raises(InputError, match="no averages at step 5: it has some at 4, 8"):
        averaged(folder, 0.1, step=5)
    Training(sky, tmp_path / "plain", recipe())
    with pytest.raises(InputError, match="train with --snapshots"):
        averaged(tmp_path / "plain", 0.1)
    with pytest.raises(InputError, match="must not be negative"):
        Recipe(snapshots=-1)
    path = folder / FOLDER / "00000024.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(InputError, match="truncated or damaged"):
        averaged(folder, 0.1)
    path.write_bytes(whole)
