"""Models by name: float16 folders, the shelf inside the package, and the Hugging Face hub, played by a server on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.model_folder import CONFIG, WEIGHTS
from hubbleflow.models.edm import Edm
from hubbleflow.predictor import Predictor
from hubbleflow.pretrained import download, find_model, shipped, upload
from hubbleflow.survey import Survey
from hubbleflow.trained import PRIOR, TrainedModel
from hubbleflow.training import Recipe, Training

MODELS = {"edm": {"width": 16, "multipliers": [1, 2]}, "redshift-density": {"widths": [8, 8], "dense": 16}}
LARGEST_BYTES = 12 * 2**20  # of what the package carries, each


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained folders and, in `shelf`, the same as models are shipped: `tiny` draws, `tiny-redshift` reads."""
    folder = tmp_path_factory.mktemp("pretrained")
    rng = np.random.default_rng(0)
    images = rng.normal(0, 0.1, (40, 1, 16, 16)).astype("f4")
    galaxies = GalaxySet(images, Survey.get("hsc-i"), {"redshift": rng.uniform(0.1, 2, 40)})
    for name, arguments in MODELS.items():
        training = Training(galaxies, folder / name, Recipe(model=name, steps=4, batch_size=8, arguments=arguments))
        list(training.run())
    Generator.load(folder / "edm").save_pretrained(folder / "shelf" / "tiny")
    Predictor.load(folder / "redshift-density").save_pretrained(folder / "shelf" / "tiny-redshift")
    (folder / "shelf" / "__pycache__").mkdir()
    return folder


# -- float16 -----------------------------------------------------------------------------------------------------------------------------
def test_half_a_folder_gives_float32_weights_and_the_same_galaxies(road: Path, tmp_path: Path) -> None:
    whole, half = Generator.load(road / "edm"), Generator.load(road / "shelf" / "tiny")
    with safe_open(road / "shelf" / "tiny" / WEIGHTS, framework="pt") as file:
        kinds = {(name.startswith(PRIOR), file.get_tensor(name).dtype) for name in file.keys()}  # noqa: SIM118 - not a dict
    assert kinds == {(False, torch.float16), (True, torch.float64)}
    assert {tensor.dtype for tensor in half.model.state_dict().values()} == {torch.float32}
    prior = sum(tensor.nbytes for tensor in whole.prior.tensors().values())  # a few numbers, in full
    assert (road / "shelf" / "tiny" / WEIGHTS).stat().st_size - prior < 0.52 * ((road / "edm" / WEIGHTS).stat().st_size - prior)
    assert half.config() == whole.config() and half.progress == whole.progress
    drawn = [model.sample({"redshift": [0.3, 1.0]}, seed=1, steps=4, precision="float32").images for model in (whole, half)]
    assert np.abs(drawn[1] - drawn[0]).max() < 0.02 * drawn[0].std()
    again = Generator.load(half.save_pretrained(tmp_path / "again"))
    assert again.weights_hash() == half.weights_hash(), "saving once more loses nothing more"
    assert Generator.load(half.save(tmp_path / "long")).weights_hash() == half.weights_hash(), "nor does float32"


def test_the_seal_between_config_and_weights_holds_in_float16(road: Path, tmp_path: Path) -> None:
    folder = Generator.load(road / "shelf" / "tiny").save_pretrained(tmp_path / "changed")
    assert json.loads((folder / CONFIG).read_text()) == json.loads((road / "edm" / CONFIG).read_text())
    config = json.loads((folder / CONFIG).read_text())
    config["stretch"]["softening"] = [1.0]
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(InputError, match="has been changed since"):
        Generator.load(folder)


def test_weights_beyond_float16_are_refused_and_nothing_is_written(road: Path, tmp_path: Path) -> None:
    generator = Generator.load(road / "edm")
    with torch.no_grad():
        next(generator.model.parameters()).view(-1)[0] = 1e5
    with pytest.raises(InputError, match="reach 1e\\+05, more than float16 can hold"):
        generator.save(tmp_path / "large", half=True)
    assert not (tmp_path / "large").exists()
    generator.save(tmp_path / "large")


def test_six_million_parameters_fit_the_package(road: Path, tmp_path: Path) -> None:
    generator = Generator.load(road / "edm")
    generator.arguments = {
        "bands": 5,
        "image_size": 64,
        "conditions": [0],
        "sigma_data": 0.5,
        "width": 53,
        "multipliers": [1, 2, 3],
        "of_bands": {},
    }
    generator.model = Edm(**generator.arguments)
    assert 5.8e6 < generator.n_parameters < 6.2e6
    assert sum(path.stat().st_size for path in generator.save_pretrained(tmp_path / "six").iterdir()) < LARGEST_BYTES


# -- the shelf -------------------------------------------------------------------------------------------------------------------------
def test_a_shipped_model_is_opened_by_its_name(road: Path) -> None:
    shelf = road / "shelf"
    assert shipped(shelf) == ("tiny", "tiny-redshift") and shipped(road / "nowhere") == ()
    galaxies = Generator.from_pretrained("tiny", shelf=shelf).sample({"redshift": 0.5}, n=2, steps=2)
    assert np.isfinite(galaxies.images).all() and np.allclose(galaxies.redshift, 0.5)
    assert len(Predictor.from_pretrained("tiny-redshift", shelf=shelf).columns(galaxies)["z_q50"]) == 2
    with pytest.raises(InputError, match="reads galaxies and cannot draw them"):
        Generator.from_pretrained("tiny-redshift", shelf=shelf)


def test_a_folder_of_ones_own_goes_first(road: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model("tiny", road / "shelf") == road / "shelf" / "tiny"
    (tmp_path / "tiny").write_text("a file is no model, and is not in the way")
    assert find_model("tiny", road / "shelf") == road / "shelf" / "tiny"
    (tmp_path / "tiny").unlink()
    (tmp_path / "tiny").symlink_to(road / "edm")
    assert find_model("tiny", road / "shelf") == Path("tiny")
    assert TrainedModel.from_pretrained(road / "edm").n_parameters == Generator.from_pretrained("tiny", shelf=road / "shelf").n_parameters


def test_an_unknown_name_says_what_there_is(road: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"hcs does not exist: expected the folder of .* ships with hubbleflow \(tiny, tiny-redshift\), or hf://"
    ):
        find_model("hcs", road / "shelf")
    with pytest.raises(InputError, match="there is none in this version"):
        find_model("hcs", tmp_path)
    (tmp_path / "sky.h5").write_text("")
    with pytest.raises(InputError, match="is a file"):
        find_model(tmp_path / "sky.h5", road / "shelf")
    with pytest.raises(InputError, match="runs/model does not exist"):  # without asking the network: this is a folder mistyped
        find_model("runs/model", road / "shelf")


def test_what_the_package_ships_opens_and_is_small() -> None:
    for name in shipped():
        trained = TrainedModel.from_pretrained(name)
        assert trained.training["data_hash"] and trained.model.training is False
        assert (find_model(name) / WEIGHTS).stat().st_size <= LARGEST_BYTES


# -- the hub ----------------------------------------------------------------------------------------------------------------------------
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(road: Path, tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A hub with one repository, some/model, which holds `tiny` and a pickle; `environment` sends huggingface_hub there."""
    files = {path.name: path.read_bytes() for path in (road / "shelf" / "tiny").iterdir()} | {"evil.pkl": b"cos\nsystem\n"}
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            name = self.path.rpartition("/")[2]
            if self.path == "/api/models/some/model/revision/main":
                self.reply(json.dumps({"id": "some/model", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}).encode())
            elif self.path.startswith(f"/api/models/some/model/tree/{COMMIT}"):
                self.reply(json.dumps([{"type": "file", "path": n, "size": len(b), "oid": f"{n}1"} for n, b in files.items()]).encode())
            elif self.path.startswith("/some/model/resolve/") and name in files:
                self.reply(files[name], {"ETag": f'"{name}1"', "X-Repo-Commit": COMMIT})
            else:
                self.reply(b"", {"X-Error-Code": "RepoNotFound"}, 404)

        do_HEAD = do_GET

        def reply(self, body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "hf")}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
    yield SimpleNamespace(environment=environment, asked=asked)
    server.shutdown()
    server.server_close()


def found_there(names: list[str], environment: dict[str, str]) -> list[str]:
    """What each name leads to, in an interpreter of its own: huggingface_hub reads its environment when it is imported."""
    script = (
        "import sys; from hubbleflow.errors import InputError; from hubbleflow.pretrained import find_model\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(find_model(name, hub=True))\n"
        "    except InputError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script, *names], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_repository_of_the_hub(road: Path, hub: SimpleNamespace) -> None:
    pytest.importorskip("huggingface_hub")
    wanted = Generator.load(road / "shelf" / "tiny").weights_hash()
    folder, missing = found_there(["some/model", "other/model"], hub.environment)
    assert Generator.load(folder).weights_hash() == wanted
    assert any(WEIGHTS in path for path in hub.asked) and not any("evil" in path for path in hub.asked), "a pickle is not even fetched"
    assert missing.startswith("cannot fetch hf://other/model (404 ") and missing.endswith("): check its name and the network")
    offline = found_there(["some/model", str(Path("hf://some/model")), "other/model"], hub.environment | {"HF_HUB_OFFLINE": "1"})
    assert offline[:2] == [folder, folder], "what was fetched once needs no network; a Path takes one slash from hf://"
    assert offline[2].startswith("cannot fetch hf://other/model (") and len(offline) == 3


def test_uploading(road: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    seen: dict[str, Any] = {}

    class Api:
        def __init__(self, token: str | None = None) -> None:
            seen["token"] = token

        def create_repo(self, repository: str, **how: Any) -> str:
            seen["made"] = (repository, how)
            return f"https://hub/{repository}"

        def upload_folder(self, *, repo_id: str, folder_path: str, ignore_patterns: list[str], **how: Any) -> None:
            seen["files"] = {path.name for path in Path(folder_path).iterdir()}
            seen["hash"] = Generator.load(folder_path).weights_hash()
            seen["ignored"] = ignore_patterns

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    generator = Generator.load(road / "shelf" / "tiny")
    assert generator.push_to_hub("some/model", private=True, token="hf_x") == "https://hub/some/model"
    assert seen["files"] == {"config.json", "model.safetensors", "README.md"} and seen["hash"] == generator.weights_hash()
    assert seen["token"] == "hf_x" and seen["made"] == ("some/model", {"repo_type": "model", "private": True, "exist_ok": True})
    assert "train_state.pt" in seen["ignored"], "whoever uploads a folder of a training leaves its state at home"
    monkeypatch.setattr(Api, "create_repo", lambda self, *words, **how: (_ for _ in ()).throw(OSError("401 Client Error\n\nNot logged in")))
    with pytest.raises(InputError, match=r"cannot write hf://some/model \(401 Client Error Not logged in\)"):
        upload(tmp_path, "some/model")


def test_without_huggingface_hub_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"huggingface_hub is not installed; pip install 'hubbleflow\[huggingface\]'"):
        download("some/model")
