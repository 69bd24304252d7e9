"""Training: exact resumption, folders that cannot hurt, and generators that come back as they were saved."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from ema_pytorch import EMA

from hubbleflow.errors import InputError, Interrupted
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.predictor import Predictor
from hubbleflow.prior import Prior
from hubbleflow.survey import Survey
from hubbleflow.trained import TrainedModel
from hubbleflow.training import Recipe, Training, flipped_and_turned, weights_hash
from hubbleflow.watch import train

SMALL = {"width": 16, "multipliers": [1, 2]}


def small_sky(path: Path, n: int = 64, size: int = 32) -> GalaxySet:
    rng = np.random.default_rng(0)
    redshift = rng.uniform(0.1, 2, n)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    blob = np.exp(-(x**2 + y**2) / (2 * (4 - redshift[:, None, None]) ** 2))
    images = rng.normal(0, 0.05, (n, 5, size, size)) + 3 * blob[:, None]
    columns = {"redshift": redshift, "category": np.where(redshift > 1, "spiral", "elliptical")}
    return GalaxySet(images.astype("f4"), Survey.get("hsc-wide"), columns).write(path)


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> GalaxySet:
    return small_sky(tmp_path_factory.mktemp("sky") / "sky.h5")


@pytest.fixture(scope="module")
def folder(sky: GalaxySet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    training = Training(sky, folder, Recipe(steps=12, conditions=("redshift", "category"), arguments=SMALL))
    assert [step.number for step in training.run()] == list(range(1, 13))
    return folder


def copy(folder: Path, to: Path) -> Path:
    to.mkdir(parents=True)
    for path in folder.iterdir():
        if path.is_file():
            (to / path.name).write_bytes(path.read_bytes())
    return to


def test_sigkill_and_resume_give_the_same_bits(sky: GalaxySet, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "hubbleflow", "train", str(sky.path)),
        *("--steps", "60", "--save-every", "7", "--seed", "5", "-a", "width=16", "-a", "multipliers=[1,2]", "--no-sheets"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command[:5], str(tmp_path / "whole"), *command[5:]], check=True, env=environment, capture_output=True)
    killed = [*command[:5], str(tmp_path / "killed"), *command[5:]]
    process = subprocess.Popen(killed, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log, wanted = tmp_path / "killed" / "log.jsonl", int(np.random.default_rng().integers(20, 50))
    deadline = time.monotonic() + 120
    while (
        time.monotonic() < deadline
        and process.poll() is None
        and not (log.exists() and json.loads(log.read_text().splitlines()[-1])["step"] >= wanted // 20 * 20)
    ):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    state = torch.load(tmp_path / "killed" / "train_state.pt", weights_only=True)
    assert 0 < state["step"] < 60, "the kill must come in the middle for this test to mean anything"
    finished = subprocess.run([*killed, "--resume"], check=True, env=environment, capture_output=True, text=True)
    assert f"resuming {tmp_path / 'killed'} at step {state['step']}" in finished.stderr
    assert weights_hash(tmp_path / "killed") == weights_hash(tmp_path / "whole")
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == [20, 40, 60], "the log holds each step once"


def test_ctrl_c_leaves_a_checkpoint_and_says_so(sky: GalaxySet, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "hubbleflow",
        "train",
        str(sky.path),
        str(tmp_path / "model"),
        "--steps",
        "100000",
        "-a",
        "width=16",
        "--no-sheets",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (tmp_path / "model" / "log.jsonl").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume" in said and "Traceback" not in said
    assert torch.load(tmp_path / "model" / "train_state.pt", weights_only=True)["step"] >= 20


def test_ctrl_c_in_the_middle_of_a_step_resumes_to_the_same_bits(sky: GalaxySet, tmp_path: Path, folder: Path, monkeypatch) -> None:
    """The signal comes while the average is being updated; the checkpoint must still be that of a whole step."""
    recipe = Recipe(steps=12, conditions=("redshift", "category"), arguments=SMALL)
    update = EMA.update
    calls = []

    def interrupted(average: EMA) -> None:
        calls.append(1)
        if len(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        update(average)

    monkeypatch.setattr(EMA, "update", interrupted)
    with pytest.raises(Interrupted, match="stopped at step 5; a checkpoint is in .* --resume"):
        train(sky, tmp_path / "model", recipe, sheets=False, tensorboard=False)
    train(sky, tmp_path / "model", recipe, resume=True, sheets=False, tensorboard=False)
    assert weights_hash(tmp_path / "model") == weights_hash(folder)


def test_two_trainings_with_one_seed_agree(sky: GalaxySet, tmp_path: Path, folder: Path) -> None:
    for name, seed in (("same", 0), ("other", 1)):
        training = Training(sky, tmp_path / name, Recipe(steps=12, conditions=("redshift", "category"), arguments=SMALL, seed=seed))
        list(training.run())
    assert weights_hash(tmp_path / "same") == weights_hash(folder)
    assert weights_hash(tmp_path / "other") != weights_hash(folder)


def test_a_saved_generator_draws_the_same_galaxies(folder: Path, tmp_path: Path) -> None:
    generator = Generator.load(folder)
    asked = {"redshift": np.linspace(0.2, 1.5, 5), "category": "spiral"}
    drawn = generator.sample(asked, seed=3, steps=4)
    generator.save(tmp_path / "again")
    again = Generator.load(tmp_path / "again").sample(asked, seed=3, steps=4)
    assert np.array_equal(drawn.images, again.images)
    assert drawn.category.tolist() == ["spiral"] * 5 and drawn.survey == generator.survey
    assert np.isfinite(drawn.images).all()


def test_galaxies_do_not_depend_on_how_many_are_drawn(folder: Path, tmp_path: Path) -> None:
    generator = Generator.load(folder)
    values = generator.asked({"redshift": 0.7}, 6, seed=2)
    streamed = generator.generate(tmp_path / "six.h5", values, seed=2, steps=3, batch_size=4)
    two = generator.sample({"redshift": 0.7}, 2, seed=2, steps=3)
    assert np.allclose(streamed.images[:2], two.images, atol=2e-2 * np.abs(two.images).max())
    assert np.isnan(streamed.redshift).sum() == 0 and streamed.provenance["seed"] == 2


def test_what_is_not_asked_may_be_left_out(folder: Path) -> None:
    generator = Generator.load(folder)
    redshift = np.random.default_rng(1).uniform(0.1, 2, 2000)  # enough of this sky's galaxies to know that those beyond z = 1 are spirals
    generator.prior = Prior.fit({"redshift": redshift, "category": np.where(redshift > 1, "spiral", "elliptical")})
    spirals = generator.sample({"category": ["spiral"] * 8}, steps=1)
    assert (spirals.category == "spiral").all() and spirals.redshift.min() > 0.9
    assert generator.sample({"category": ["spiral"]}, steps=1).redshift == spirals.redshift[:1]
    free = generator.sample(n=4, seed=1, steps=2)
    assert set(free.category) <= {"spiral", "elliptical"} and np.isfinite(free.redshift).all()


@pytest.mark.parametrize(
    ("asked", "n", "sentence"),
    [
        ({"redshift": 9.0}, None, "outside the trained range"),
        ({"mass": 9.0}, None, "not conditioned on 'mass'"),
        ({"redshift": [0.5, 0.6]}, 3, "2 values for 3 galaxies"),
        ({"category": "bar"}, None, "unknown category"),
        (None, 0, "at least 1"),
    ],
)
def test_bad_requests(folder: Path, asked: dict, n: int | None, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Generator.load(folder).sample(asked, n)


def test_autoguidance_leads_away_from_a_weaker_generator(sky: GalaxySet, folder: Path, tmp_path: Path) -> None:
    few = Training(sky, tmp_path / "weaker", Recipe(steps=2, conditions=("redshift", "category"), arguments=SMALL))
    list(few.run())
    weaker, asked = Generator.load(tmp_path / "weaker"), {"redshift": [0.3, 1.5], "category": ["spiral", "elliptical"]}
    generator = Generator.load(folder)
    guided = generator.guided_by(weaker)
    plain = generator.sample(asked, steps=2).images
    assert np.array_equal(guided.sample(asked, steps=2).images, plain)  # at guidance 1 the weaker one is not asked
    assert np.array_equal(guided.sample(asked, steps=2, guidance=0.0).images, weaker.sample(asked, steps=2).images)
    more = guided.sample(asked, steps=2, guidance=2.0)
    assert not np.array_equal(more.images, plain) and more.provenance["guide"] == weaker.weights_hash()


def test_a_guide_must_draw_the_same_galaxies(sky: GalaxySet, folder: Path, tmp_path: Path) -> None:
    other = Training(sky, tmp_path / "other", Recipe(steps=1, conditions=("redshift",), arguments=SMALL))
    list(other.run())
    with pytest.raises(InputError, match="the guide differs in its conditions"):
        Generator.load(folder).guided_by(Generator.load(tmp_path / "other"))


@pytest.mark.parametrize("guidance", [float("nan"), float("inf")])
def test_guidance_must_be_finite(folder: Path, guidance: float) -> None:
    with pytest.raises(InputError, match="guidance must be a finite number"):
        Generator.load(folder).sample({"redshift": 0.5}, guidance=guidance, steps=2)


# -- folders ------------------------------------------------------------------------------------------------------------------------


class Bomb:
    """Runs a command when unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pkl", "other.pt", "model.ckpt"])
def test_a_folder_with_a_pickle_is_refused_and_nothing_runs(folder: Path, tmp_path: Path, name: str) -> None:
    bad = copy(folder, tmp_path / "bad")
    (bad / name).write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(InputError, match=f"holds a pickle \\({name}\\)"):
        Generator.load(bad)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_in_place_of_weights_or_state_does_not_run(folder: Path, tmp_path: Path, sky: GalaxySet) -> None:
    bad = copy(folder, tmp_path / "bad")
    for name in ("model.safetensors", "train_state.pt"):
        (bad / name).write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(InputError, match="truncated or damaged"):
        Generator.load(bad)
    with pytest.raises(InputError, match="cannot be resumed from"):
        Training(sky, bad, Recipe(steps=20, conditions=("redshift", "category"), arguments=SMALL), resume=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: _truncate(folder / "model.safetensors"), "truncated or damaged"),
        (lambda folder: _change(folder, "seed", 7), "has been changed since"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not the JSON"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors"),
    ],
)
def test_spoilt_folders_get_one_sentence(folder: Path, tmp_path: Path, spoil, sentence: str) -> None:
    bad = copy(folder, tmp_path / "bad")
    spoil(bad)
    with pytest.raises(InputError, match=sentence) as caught:
        TrainedModel.load(bad)
    assert "\n" not in str(caught.value)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _change(folder: Path, key: str, value: int) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["training"][key] = value
    (folder / "config.json").write_text(json.dumps(config))


def test_a_folder_of_another_format_or_nothing(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Generator.load(tmp_path / "nothing")
    with pytest.raises(InputError, match="reads galaxies and cannot draw them|draws galaxies and cannot read them"):
        Predictor.load(folder)


# -- training sets that cannot be trained on ----------------------------------------------------------------------------------------


def test_a_training_starts_from_a_trained_models_weights_and_shape(sky: GalaxySet, folder: Path, tmp_path: Path) -> None:
    recipe = Recipe(steps=3, conditions=("redshift", "category"), start=str(folder), seed=5)
    training = Training(sky, tmp_path / "model", recipe)
    first = Generator.load(folder)
    assert training.trained.arguments["width"] == SMALL["width"]
    assert all(torch.equal(value, first.model.state_dict()[name]) for name, value in training.online.state_dict().items())
    next(training.run())
    training.save()
    again = Training(sky, tmp_path / "model", recipe, resume=True)
    assert again.step == 1 and again.trained.training["start"] == first.weights_hash()
    assert not torch.equal(
        again.online.state_dict()["denoiser.network.stem.weight"], first.model.state_dict()["denoiser.network.stem.weight"]
    )


def test_a_model_of_other_conditions_is_no_start(sky: GalaxySet, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="edm cannot start from .* other names or shapes: that is edm, 5 bands, conditioned on redshift, cat"
    ):
        Training(sky, tmp_path / "model", Recipe(steps=3, conditions=("redshift",), start=str(folder)))
    renamed = sky.with_columns({"mass": sky.redshift, "position_angle": np.linspace(-80, 80, len(sky))})
    for conditions in [("mass", "category"), ("mass", "category", "position_angle")]:
        with pytest.raises(InputError, match="other names or shapes"):
            Training(renamed, tmp_path / "model", Recipe(steps=3, conditions=conditions, start=str(folder)))
    with pytest.raises(InputError, match="other names or shapes"):
        Training(sky, tmp_path / "model", Recipe(steps=3, conditions=("redshift", "category"), start=str(folder), arguments={"width": 24}))
    assert not (tmp_path / "model").exists()


def test_training_again_in_a_taken_folder_needs_resume(sky: GalaxySet, folder: Path) -> None:
    before = weights_hash(folder)
    with pytest.raises(InputError, match="already holds a model: pass --resume"):
        Training(sky, folder, Recipe(steps=3))
    with pytest.raises(InputError, match="trained differently .*seed"):
        Training(sky, folder, Recipe(steps=20, conditions=("redshift", "category"), arguments=SMALL, seed=3), resume=True)
    assert weights_hash(folder) == before


def test_bad_rows_are_refused_or_left_out(sky: GalaxySet, tmp_path: Path) -> None:
    redshift = sky.redshift.copy()
    redshift[:3] = [np.nan, -1, np.inf]
    columns = {**sky.columns, "redshift": redshift}
    spoilt = GalaxySet(sky.images[:], sky.survey, columns)
    with pytest.raises(InputError, match="3 of 64 values are not .*--skip-bad-rows"):
        Training(spoilt, tmp_path / "a", Recipe(steps=1, arguments=SMALL))
    assert not (tmp_path / "a").exists()
    training = Training(spoilt, tmp_path / "b", Recipe(steps=1, arguments=SMALL, skip_bad_rows=True))
    assert training.trained.training["n"] == 61


def test_non_finite_pixels_are_the_sky_and_are_counted(sky: GalaxySet, tmp_path: Path) -> None:
    images = sky.images[:]
    images[0, 0, :2], images[5, 1, 3, 3] = np.nan, np.inf
    training = Training(GalaxySet(images, sky.survey, sky.columns), tmp_path / "m", Recipe(steps=2, arguments=SMALL, batch_size=64))
    assert training.trained.training["bad_pixels"] == 65 and training.trained.training["bad_images"] == 2
    x, _, _ = training.batch(0)
    assert torch.isfinite(x).all()
    assert all(np.isfinite(step.loss) for step in training.run())


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ({"steps": 0}, "steps must be positive"),
        ({"minutes": -1.0}, "minutes must be positive"),
        ({"steps": 5, "minutes": 5.0}, "not both"),
        ({"dropout": 1.5}, "dropout must be"),
        ({"seed": -1}, "the seed must lie between"),
        ({"seed": 2**40}, "the seed must lie between"),
    ],
)
def test_bad_recipes(recipe: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Recipe(**recipe)


def test_missing_condition_and_constant_images(sky: GalaxySet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column 'i_mag'.*hubbleflow measure"):
        Training(sky, tmp_path / "a", Recipe(steps=1, conditions=("i_mag",)))
    flat = GalaxySet(np.ones((8, 5, 32, 32), "f4"), sky.survey, {"redshift": np.linspace(0, 1, 8)})
    with pytest.raises(InputError, match="nothing to learn"):
        Training(flat, tmp_path / "b", Recipe(steps=1))


@pytest.mark.parametrize("arguments", [{"patch": 3}, {"width": -8}, {"width": "abc"}, {"multipliers": 1}])
def test_arguments_that_do_not_fit_are_found_before_the_folder_is_taken(sky: GalaxySet, tmp_path: Path, arguments: dict) -> None:
    with pytest.raises(InputError, match="cannot be built with"):
        Training(sky, tmp_path / "m", Recipe(steps=1, arguments=arguments))
    assert not (tmp_path / "m").exists()


def test_a_folder_of_other_things_is_not_written_into(sky: GalaxySet, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "README.md").write_text("mine")
    with pytest.raises(InputError, match="is not empty and holds no model"):
        Training(sky, tmp_path / "project", Recipe(steps=1, arguments=SMALL))
    assert (tmp_path / "project" / "README.md").read_text() == "mine"


def test_columns_that_turn_with_the_image_need_no_augmentation(sky: GalaxySet, tmp_path: Path) -> None:
    columns = {**sky.columns, "i_centroid_x": np.linspace(-1, 1, len(sky)), "i_pos_angle": np.linspace(-90, 90, len(sky))}
    turned = GalaxySet(sky.images[:], sky.survey, columns)
    with pytest.raises(InputError, match="i_centroid_x changes when an image is flipped .* --no-augment"):
        Training(turned, tmp_path / "a", Recipe(steps=1, conditions=("i_centroid_x",), arguments=SMALL))
    Training(turned, tmp_path / "b", Recipe(steps=1, conditions=("i_centroid_x",), arguments=SMALL, augment=False))


def test_a_position_angle_turns_with_the_image(sky: GalaxySet, tmp_path: Path) -> None:
    """Galaxies along an angle of their own: in each batch the major axis measured on the image is the one that is the condition."""
    angle = np.linspace(-85, 90, len(sky))
    axis = np.arange(sky.image_size) - (sky.image_size - 1) / 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    cos, sin = (part[:, None, None] for part in (np.cos(np.radians(angle)), np.sin(np.radians(angle))))
    ellipse = np.exp(-((x * cos + y * sin) ** 2) / 50 - (y * cos - x * sin) ** 2 / 10)
    images = np.repeat(ellipse[:, None], len(sky.bands), axis=1).astype(np.float32)
    galaxies = GalaxySet(images, sky.survey, {"position_angle": angle})
    training = Training(
        galaxies, tmp_path / "model", Recipe(steps=1, batch_size=40, dropout=0.0, conditions=("position_angle",), arguments=SMALL)
    )
    stretched, c, _ = training.batch(0)
    light = training.trained.stretch.inverse(stretched).numpy()[:, 0]
    twice = np.arctan2(2 * (light * x * y).sum((1, 2)), (light * (x**2 - y**2)).sum((1, 2)))
    np.testing.assert_allclose(np.exp(1j * c[:, 0].numpy()), np.exp(1j * twice), atol=5e-3)
    assert len(np.unique(np.round(np.degrees(twice) / 2))) > 30


def test_a_training_goes_on_with_a_further_condition(sky: GalaxySet, folder: Path, tmp_path: Path) -> None:
    """Where the new one is not asked, it draws what it drew before, to begin with."""
    turned = sky.with_columns({"position_angle": np.linspace(-80, 80, len(sky))})
    conditions = ("redshift", "category", "position_angle")
    training = Training(turned, tmp_path / "model", Recipe(steps=3, conditions=conditions, start=str(folder)))
    first, mine = Generator.load(folder).model.eval(), training.online.eval()
    c = torch.tensor([[0.3, 1.0], [-1.0, torch.nan]])
    x, sigma = torch.randn(2, *first.shape, generator=torch.Generator().manual_seed(0)), torch.tensor([0.5, 5.0])
    with torch.no_grad():
        before = first.denoiser(x, sigma, c)
        torch.testing.assert_close(mine.denoiser(x, sigma, torch.cat([c, torch.full((2, 1), torch.nan)], dim=1)), before)
        torch.testing.assert_close(mine.denoiser(x, sigma, torch.cat([c, torch.ones(2, 1)], dim=1)), before)
    seen = sky.with_columns({f"{band}_seeing": 0.6 + 0.1 * np.random.default_rng(0).random(len(sky)) for band in sky.bands})
    seeing = tuple(f"{band}_seeing" for band in sky.bands)
    told = Training(seen, tmp_path / "seen", Recipe(steps=3, conditions=("redshift", "category", *seeing), start=str(folder)))
    before, now = first.state_dict(), told.online.state_dict()
    kept = {name for name, value in now.items() if name in before and torch.equal(value, before[name])}
    assert len(told.online.denoiser.mean.embed.layout) == 4, "band, its own seeing, redshift, kind"
    assert "denoiser.network.stem.weight" in kept and not any(name.startswith("denoiser.mean.embed.columns") for name in kept)
    told.save()
    other = seen.with_columns({name: 1.1 * seen.column(name) + 0.01 * np.random.default_rng(1).random(len(sky)) for name in seeing})
    same = Training(
        other, tmp_path / "other_sky", Recipe(steps=3, conditions=("redshift", "category", *seeing), start=str(tmp_path / "seen"))
    )
    mean = {name: value for name, value in same.online.state_dict().items() if name.startswith("denoiser.mean.")}
    assert told.trained.training["renewed"] == ["denoiser.mean."] and "renewed" not in same.trained.training
    assert all(torch.equal(value, told.average.ema_model.state_dict()[name]) for name, value in mean.items()), (
        "of other galaxies, not renewed"
    )
    with pytest.raises(InputError, match="or conditioned on more"):
        Training(turned, tmp_path / "other", Recipe(steps=3, conditions=("position_angle", "redshift", "category"), start=str(folder)))


def test_a_log_cut_short_by_a_kill_does_not_stop_a_resume(sky: GalaxySet, folder: Path, tmp_path: Path) -> None:
    again = copy(folder, tmp_path / "again")
    with open(again / "log.jsonl", "a") as log:
        log.write('{"step": 40, "lo')
    training = Training(sky, again, Recipe(steps=14, conditions=("redshift", "category"), arguments=SMALL), resume=True)
    assert [step.number for step in training.run()] == [13, 14]


@pytest.mark.parametrize("state", [[], {}, {"identity": "x"}])
def test_a_state_of_another_kind_is_refused(sky: GalaxySet, folder: Path, tmp_path: Path, state: object) -> None:
    again = copy(folder, tmp_path / "again")
    torch.save(state, again / "train_state.pt")
    with pytest.raises(InputError, match="cannot be resumed from"):
        Training(sky, again, Recipe(steps=14, conditions=("redshift", "category"), arguments=SMALL), resume=True)


def test_weights_can_be_read_by_whom_the_config_can(folder: Path) -> None:
    assert (folder / "model.safetensors").stat().st_mode == (folder / "config.json").stat().st_mode


def test_a_set_of_another_survey_is_refused(folder: Path) -> None:
    generator = Generator.load(folder)
    other = GalaxySet(np.zeros((2, 1, 32, 32), "f4"), Survey.get("hsc-i"), {"redshift": np.ones(2)})
    with pytest.raises(InputError, match="cannot be used for --like: its survey is hsc-i but the model was trained on hsc-wide"):
        generator.conditions_like(other)


def test_like_a_set_that_lacks_a_condition_the_rest_is_drawn(sky: GalaxySet, folder: Path) -> None:
    generator = Generator.load(folder)
    redshifts = GalaxySet(sky.images[:], sky.survey, {"redshift": sky.redshift})
    asked = generator.conditions_like(redshifts, skip_bad_rows=True)
    assert list(asked) == ["redshift"] and len(asked["redshift"]) == len(sky)
    with pytest.raises(InputError, match="redshift"):
        generator.conditions_like(GalaxySet(sky.images[:], sky.survey, {"mass": sky.redshift}))


def test_augmentation_reaches_all_eight_symmetries_and_nothing_else() -> None:
    image = np.arange(9.0, dtype=np.float32).reshape(1, 1, 3, 3)
    out = flipped_and_turned(np.repeat(image, 200, axis=0), np.random.default_rng(0).integers(8, size=200))
    assert len({row.tobytes() for row in out}) == 8
    assert (np.sort(out.reshape(200, 9), axis=1) == np.arange(9)).all()
    assert (out[:, 0, 1, 1] == 4).all()
