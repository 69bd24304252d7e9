"""`hubbleflow models`, a user's own model in one file, and what calls itself small."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hubbleflow.describe import describe
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.metrics import evaluate
from hubbleflow.model_list import count_parameters, model_rows
from hubbleflow.models import GenerativeModel, Model, TrainingDefaults, get_model, model_names, model_of
from hubbleflow.models.from_file import VARIABLE, load_file
from hubbleflow.survey import Survey
from hubbleflow.training import Recipe, Training
from test_cli import hubbleflow

OWN = """
import torch
from hubbleflow.models import GenerativeModel, TrainingDefaults

class Mine(GenerativeModel):
    name = "mine"
    paper = "nobody 2026"
    defaults = TrainingDefaults(batch_size=4, learning_rate=0.1, condition_dropout=0.0, steps=5)

    def __init__(self, bands, size):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(bands, size, size))

    @classmethod
    def arguments(cls, training_set):
        return {"bands": training_set.bands, "size": training_set.image_size}

    def loss(self, x, c, generator):
        return ((x - self.mean) ** 2).mean()

    def sample(self, c, seeds, steps=None, guidance=1.0, sampler=None):
        return self.mean.expand(len(c), -1, -1, -1)
"""


@pytest.fixture
def own_file(tmp_path: Path, forget_models: Callable[[], None]) -> Path:
    path = tmp_path / "code" / "my_model.py"
    path.parent.mkdir()
    path.write_text(OWN)
    return path


def test_an_edited_file_is_another_model(own_file: Path, tmp_path: Path, forget_models: Callable[[], None]) -> None:
    def trained(steps: int) -> Training:
        training = Training(blobs(), tmp_path / "model", Recipe(model=model_of(str(own_file)).name, steps=steps), resume=steps > 5)
        list(training.run())
        return training

    assert trained(5).step == 5
    forget_models()
    assert trained(7).step == 7
    forget_models()
    own_file.write_text(OWN.replace("** 2).mean()", "** 2).sum()"))
    with pytest.raises(InputError, match=r"was trained differently \(code changed\)"):
        trained(9)


def test_what_was_never_left_out_must_be_asked(own_file: Path, tmp_path: Path) -> None:
    for dropout, told in ((0.0, True), (0.1, False)):
        training = Training(blobs(), tmp_path / f"{dropout}", Recipe(model=model_of(str(own_file)).name, steps=1, dropout=dropout))
        list(training.run())
        generator = Generator.load(tmp_path / f"{dropout}")
        assert len(generator.sample({"redshift": [0.5]}, steps=1)) == 1
        if told:
            with pytest.raises(InputError, match="trained without dropping conditions.*--dropout 0.1"):
                generator.sample({"redshift": [0.5]}, steps=1, guidance=2.0)
        else:
            assert len(generator.sample({"redshift": [0.5]}, steps=1, guidance=2.0)) == 1


def blobs(n: int = 24, size: int = 32) -> GalaxySet:
    """Galaxies that are fainter and smaller at high redshift."""
    rng = np.random.default_rng(0)
    redshift = rng.uniform(0.1, 2, n)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    images = 5 * np.exp(-(x**2 + y**2) / (2 * (5 - 2 * redshift[:, None, None]) ** 2))[:, None] + rng.normal(0, 0.1, (n, 5, size, size))
    return GalaxySet(images.astype("f4"), Survey.get("hsc-wide"), {"redshift": redshift})


# -- the list --------------------------------------------------------------------------------------------------------------------
def test_every_model_is_listed_with_its_size() -> None:
    rows = {row.name: row for row in model_rows()}
    assert set(rows) == set(model_names())
    assert rows["li2024-redshift-cnn"].parameters == 4_851_521 and not rows["li2024-redshift-cnn"].draws
    assert rows["edm"].draws and rows["edm"].stretch is None and rows["edm"].batch_size == 16
    for name, row in rows.items():
        assert row.parameters, name
        assert (row.small_parameters is None) == (not get_model(name).small)
        assert row.small_parameters is None or row.small_parameters < row.parameters


def test_the_command_lists_them_for_people_and_for_programs() -> None:
    table = hubbleflow("models").stdout
    listed = json.loads(hubbleflow("models", "--json").stdout)
    assert {row["name"] for row in listed} == set(model_names())
    for row in listed:
        assert row["name"] in table and f"{row['parameters']:,}" in table
        wanted = {
            "name",
            "paper",
            "draws",
            "conditions",
            "stretch",
            "batch_size",
            "learning_rate",
            "parameters",
            "small_parameters",
            "file",
        }
        assert set(row) == wanted
    assert "small scale" in table


class Nameless(GenerativeModel):
    """Without a name it is not registered."""

    defaults = TrainingDefaults(batch_size=1, learning_rate=1.0)

    @classmethod
    def arguments(cls, training_set):
        return {}

    def loss(self, x, c, generator):
        raise NotImplementedError

    def sample(self, c, seeds, steps=None, guidance=1.0, sampler=None):
        raise NotImplementedError


class Huge(Nameless):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1_000_000, 1_000_000, bias=False)


class Looking(Nameless):
    def __init__(self) -> None:
        super().__init__()
        levels = torch.linspace(0, 1, 5)
        self.layer = nn.Linear(int(float(levels.sum()) * 2), 3, bias=False)


class Picky(Nameless):
    @classmethod
    def arguments(cls, training_set):
        raise InputError("only stamps of 7 px")


def test_counting_needs_no_memory_and_any_model_can_be_counted() -> None:
    assert count_parameters(Huge, "paper") == 10**12
    assert count_parameters(Looking, "paper") == 15
    assert count_parameters(Picky, "paper") is None


# -- a user's own ----------------------------------------------------------------------------------------------------------------
def test_a_model_from_a_file_trains_and_is_found_again(
    own_file: Path, forget_models: Callable[[], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kind = model_of(str(own_file))
    assert kind.name == "mine" and load_file(own_file) is kind, "run once"
    list(Training(blobs(), tmp_path / "model", Recipe(model=kind.name)).run())
    assert Generator.load(tmp_path / "model").sample({"redshift": [0.5]}).images.shape == (1, 5, 32, 32)
    config = (tmp_path / "model" / "config.json").read_text()
    assert str(own_file) not in config and "my_model" not in config
    for named in (own_file, own_file.parent, f"{os.pathsep}{own_file}{os.pathsep}"):
        forget_models()
        monkeypatch.setenv(VARIABLE, str(named))
        assert "mine (nobody 2026)" in describe(tmp_path / "model")
        assert next(row for row in model_rows() if row.name == "mine").file == str(own_file)
    forget_models()
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(InputError, match=f"trained with the model 'mine', .* name the .py file .*{VARIABLE}=FILE.py"):
        describe(tmp_path / "model")


def test_train_takes_a_file(own_file: Path, tmp_path: Path) -> None:
    blobs().write(tmp_path / "set.h5")
    run = hubbleflow("train", tmp_path / "set.h5", tmp_path / "model", "--model", own_file, "--no-sheets")
    assert run.returncode == 0, run.stderr
    assert "mine after 5 steps" in run.stdout and f"export {VARIABLE}={own_file}" in run.stdout


def test_nothing_in_the_folder_of_a_model_is_run(own_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "downloaded"
    list(Training(blobs(), folder, Recipe(steps=1, arguments={"width": 16})).run())
    (folder / "code").mkdir()
    for path in (folder / "evil.py", folder / "code" / "evil.py"):
        path.write_text(f"open({str(tmp_path / 'was_here')!r}, 'w')\n" + OWN)
    Generator.load(folder)
    describe(folder)
    for named in (folder, folder / "evil.py", folder / "code"):
        monkeypatch.setenv(VARIABLE, str(named))
        with pytest.raises(InputError, match="folder of a trained model, in which nothing is ever run"):
            model_names()
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(InputError, match="in which nothing is ever run"):
        model_of(str(folder / "evil.py"))
    assert not (tmp_path / "was_here").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\n", "defines 0 models, expected one"),
        (OWN + OWN.replace("Mine", "Other").replace("mine", "other"), "defines 2 models, expected one"),
        (OWN.replace('"mine"', '"edm"'), "calls its model 'edm', as another model is called"),
        (OWN.replace("def sample", "def simple"), "'mine' of .* is not whole: it must define sample"),
        (OWN.replace("defaults =", "default ="), "it must define defaults"),
        ("import nothing_of_that_name\n", "cannot be run: ModuleNotFoundError: No module named"),
        ("class\n", "cannot be run: SyntaxError"),
        ("assert False\n", "cannot be run: AssertionError"),
    ],
)
def test_files_that_are_no_model(tmp_path: Path, forget_models: Callable[[], None], text: str, sentence: str) -> None:
    before = dict(Model.registered)
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(InputError, match=sentence):
        model_of(str(tmp_path / "bad.py"))
    assert Model.registered == before
    (tmp_path / "bad.py").write_text(OWN)
    assert model_of(str(tmp_path / "bad.py")).name == "mine", "a repaired file is read again"


def test_files_that_are_not_there(tmp_path: Path, forget_models: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"none.py does not exist: expected a \.py file"):
        model_of(str(tmp_path / "none.py"))
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(InputError, match="is not a Python file"):
        model_of(str(tmp_path / "folder.py"))
    with pytest.raises(InputError, match="unknown model 'gan'"):
        model_of("gan")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(InputError, match=f"{VARIABLE} names .*gone, which does not exist"):
        model_names()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "_helper.py").write_text("raise RuntimeError")
    (tmp_path / "folder" / "notes.txt").write_text("no Python")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "folder"))
    assert "edm" in model_names()


# -- small -----------------------------------------------------------------------------------------------------------------------
def test_a_small_network_calls_itself_small(own_file: Path, tmp_path: Path) -> None:
    kind = model_of(str(own_file))
    kind.small = {"size": 32}
    assert kind.titled("paper") == "mine" and kind.titled("small") == "mine (small)" and get_model("edm").titled("small") == "edm"
    training = Training(blobs(), tmp_path / "model", Recipe(model="mine", scale="small", steps=2))
    list(training.run())
    generator = Generator.load(tmp_path / "model")
    assert generator.title == "mine (small)" and generator.config()["model"] == "mine"
    assert "mine (small) (nobody 2026)" in describe(tmp_path / "model")
    assert "# mine (small): hsc-wide galaxies" in (tmp_path / "model" / "README.md").read_text()
    made = generator.sample(n=24)
    assert made.provenance["model"] == "mine (small)"
    report = evaluate(blobs(), made, progress=False, splits=2)
    assert report.notes[0] == "the generated galaxies were drawn by mine (small)"


def test_a_set_may_be_drawn_in_parts(own_file: Path, tmp_path: Path) -> None:
    list(Training(blobs(), tmp_path / "model", Recipe(steps=2, arguments={"width": 16})).run())
    generator = Generator.load(tmp_path / "model")
    values = {"redshift": np.linspace(0.2, 1.5, 5)}
    whole = generator.generate(tmp_path / "whole.h5", values, seed=3, steps=2)
    part = generator.generate(tmp_path / "part.h5", {"redshift": values["redshift"][3:]}, seed=3, steps=2, offset=3)
    assert np.allclose(part.images[:], whole.images[3:5], atol=1e-3) and part.columns["object_id"].tolist() == [3, 4]
