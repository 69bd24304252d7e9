"""Galaxies in other people's tools: GalSim's own images, PyTorch's loaders and Hugging Face's readers are the oracles."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hubbleflow.adaptors import huggingface_datasets, torch_dataset
from hubbleflow.adaptors.galsim import GalSimCatalogue, galsim_object, sky_noise
from hubbleflow.adaptors.huggingface_datasets import to_hugging_face, write_shards
from hubbleflow.adaptors.torch_dataset import GalaxyDataset, GeneratedDataset
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet, write_measured
from hubbleflow.generator import Generator
from hubbleflow.stretch import Asinh
from hubbleflow.survey import Survey
from hubbleflow.training import Recipe, Training

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SCALE = 0.168
HSC_I = Survey.get("hsc-i")


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `set.h5` (100 galaxies with kinds, measured values and masks, one row of NaN pixels) and a hardly trained `model`."""
    folder = tmp_path_factory.mktemp("adaptors")
    rng = np.random.default_rng(0)
    images = rng.normal(0, 0.1, (100, 5, 16, 16)).astype("f4")
    images[:, :, 6:10, 6:10] += rng.uniform(1, 5, (100, 1, 1, 1)).astype("f4")
    columns = {"redshift": rng.uniform(0.1, 2, 100), "category": np.array(["spiral", "elliptical"] * 50), "object_id": np.arange(100) + 7}
    galaxies = GalaxySet(images, Survey.get("hsc-wide"), columns)
    recipe = Recipe(steps=3, batch_size=8, conditions=("redshift", "category"), arguments={"width": 16, "multipliers": [1, 2]})
    list(Training(galaxies, folder / "model", recipe).run())
    images[4, 0, 0, :] = np.nan
    columns["category"] = np.array(["spiral", "elliptical", "", "merger"] * 25)
    more = {"i_mag": rng.normal(22, 1, 100), "flag": rng.random(100) < 0.5, "field": np.array(["COSMOS", "é"] * 50)}
    GalaxySet(images, galaxies.survey, columns | more, mask=np.isnan(images).astype("u1")).write(folder / "set.h5")
    measured = {"i_mag": rng.normal(22, 1, 100), "i_half_light_radius": rng.uniform(2, 5, 100)}
    write_measured(folder / "set.h5", measured, {"i_half_light_radius": "pix"}, {"i_half_light_radius": "holds half the light"}, {})
    return folder


# -- GalSim ----------------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def gs() -> Any:
    return pytest.importorskip("galsim", reason="GalSim is not installed: pip install 'hubbleflow[galsim]'")


@pytest.fixture(scope="module")
def drawn(gs: Any) -> SimpleNamespace:
    """Galaxies that GalSim drew through a PSF: what they are, and the set of their stamps."""
    psf = gs.Moffat(beta=3, fwhm=0.7)
    truth = [
        gs.Exponential(half_light_radius=0.6, flux=300).shear(g1=0.2, g2=-0.1),
        gs.Sersic(n=2.5, half_light_radius=0.5, flux=900, trunc=3.5).shear(g1=-0.1, g2=0.3),
        gs.Gaussian(fwhm=0.9, flux=50).shift(0.11, -0.07),
    ]
    stamps = np.stack([gs.Convolve(galaxy, psf).drawImage(nx=64, ny=64, scale=SCALE).array for galaxy in truth])
    effective = psf.drawImage(nx=63, ny=63, scale=SCALE, method="auto").array
    galaxies = GalaxySet(stamps[:, None].astype("f4"), HSC_I, psf=effective[None].astype("f4"))
    return SimpleNamespace(truth=truth, galaxies=galaxies, gs=gs)


def test_at_the_same_pixels_it_is_the_stamp_again(drawn: SimpleNamespace) -> None:
    for i in range(3):
        galaxy, stamp = galsim_object(drawn.galaxies, i), drawn.galaxies.images[i][0]
        again = galaxy.drawImage(nx=64, ny=64, scale=SCALE, method="no_pixel").array
        assert np.abs(again - stamp).max() < 1e-6 * stamp.max()
        assert galaxy.flux == pytest.approx(stamp.sum(), rel=1e-6)
        assert isinstance(galaxy, drawn.gs.InterpolatedImage) and galaxy.image.scale == SCALE


def test_flux_is_kept_through_shear_psf_and_other_pixels(drawn: SimpleNamespace) -> None:
    noisy = drawn.galaxies[:]
    noisy.images = noisy.images + np.random.default_rng(1).normal(0, 0.064, noisy.images.shape).astype("f4")
    for galaxies in (drawn.galaxies, noisy):
        for i in range(3):
            flux = float(galaxies.images[i].sum(dtype=float))
            for deconvolve in (False, True):
                galaxy = galsim_object(galaxies, i, "i", deconvolve=deconvolve)
                seen = drawn.gs.Convolve(galaxy.shear(g1=0.1, g2=0.05), drawn.gs.Moffat(beta=3, fwhm=1.0))
                assert seen.drawImage(nx=110, ny=110, scale=0.2).array.sum() == pytest.approx(flux, rel=1e-3)
    brighter = galsim_object(drawn.galaxies, 0, zero_point=31.4)
    assert brighter.flux == pytest.approx(drawn.galaxies.images[0].sum() * HSC_I.count_nanojansky, rel=1e-5), "27.0 to nJy"
    assert brighter.noise.getVariance() == pytest.approx((0.064 * HSC_I.count_nanojansky) ** 2)


@pytest.mark.parametrize(("g1", "g2"), [(0.05, 0.0), (0.0, -0.1), (0.2, 0.15)])
def test_shear_makes_the_ellipticity_that_it_should(gs: Any, g1: float, g2: float) -> None:
    """A round Gaussian sheared by g has adaptive moments of shear g; its PSF first taken away, so has what is seen through a round one."""
    y, x = np.mgrid[:64, :64] - 31.5
    blob = 100 * np.exp(-(x**2 + y**2) / (2 * 3.0**2))
    galaxies = GalaxySet(blob[None, None].astype("f4"), HSC_I, psf=np.exp(-(x**2 + y**2) / (2 * 2.0**2))[None].astype("f4"))
    sheared = galsim_object(galaxies, 0).shear(g1=g1, g2=g2).drawImage(nx=100, ny=100, scale=0.15, method="no_pixel")
    shape = gs.hsm.FindAdaptiveMom(sheared)
    assert shape.observed_shape.g1 == pytest.approx(g1, abs=1e-3) and shape.observed_shape.g2 == pytest.approx(g2, abs=1e-3)
    before = galsim_object(galaxies, 0, deconvolve=True).shear(g1=g1, g2=g2)  # of variance 9 - 4 px^2
    seen = gs.Convolve(before, gs.Gaussian(sigma=2.5 * SCALE)).drawImage(nx=100, ny=100, scale=0.15, method="no_pixel")
    direct = gs.Convolve(gs.Gaussian(sigma=5**0.5 * SCALE).shear(g1=g1, g2=g2), gs.Gaussian(sigma=2.5 * SCALE))
    wanted = gs.hsm.FindAdaptiveMom(direct.drawImage(nx=100, ny=100, scale=0.15, method="no_pixel"))
    found = gs.hsm.FindAdaptiveMom(seen)
    assert found.observed_shape.g1 == pytest.approx(wanted.observed_shape.g1, abs=2e-3)
    assert found.observed_shape.g2 == pytest.approx(wanted.observed_shape.g2, abs=2e-3)
    assert found.moments_sigma == pytest.approx(wanted.moments_sigma, rel=5e-3)


def test_through_another_psf_it_is_what_galsim_draws_of_the_truth(drawn: SimpleNamespace) -> None:
    wider = drawn.gs.Moffat(beta=3, fwhm=1.1)
    for i, truth in enumerate(drawn.truth):
        galaxy = galsim_object(drawn.galaxies, i, deconvolve=True)
        seen = drawn.gs.Convolve(galaxy.shear(g1=0.1), wider).drawImage(nx=48, ny=48, scale=0.25).array
        wanted = drawn.gs.Convolve(truth.shear(g1=0.1), wider).drawImage(nx=48, ny=48, scale=0.25).array
        assert np.abs(seen - wanted).max() < 0.005 * wanted.max()


def test_the_sky_and_how_its_pixels_hang_together(gs: Any) -> None:
    """Noise smoothed by (1, 2, 1) / 4 along x has correlations 2/3 and 1/6 there and none along y; galaxies, neighbours do not count."""
    rng = np.random.default_rng(2)
    white = rng.normal(0, 0.1, (40, 1, 64, 66))
    images = (white[..., :-2] + 2 * white[..., 1:-1] + white[..., 2:]) / 4
    images[:, 0, 20:44, 20:44] += 5
    images[:8, 0, :12, :12] += 50
    noise = sky_noise(GalaxySet(images.astype("f4"), HSC_I))
    found = noise.drawImage(gs.Image(11, 11, scale=SCALE)).array
    assert noise.getVariance() == pytest.approx(0.1**2 * 6 / 16, rel=0.015)
    assert found[5, 6:9] / found[5, 5] == pytest.approx([2 / 3, 1 / 6, 0], abs=0.02)
    assert np.abs(found[np.arange(11) != 5] / found[5, 5]).max() < 0.02
    assert sky_noise(GalaxySet(np.zeros((2, 1, 32, 32), np.float32), HSC_I)) is None


def test_noise_is_kept_account_of(gs: Any) -> None:
    """Sheared and seen through a PSF, a stamp's noise is what GalSim says; whitened, it is white, of the variance that GalSim returns."""
    images = np.random.default_rng(3).normal(0, 0.064, (30, 1, 64, 64)).astype("f4") + np.float32(1e-4)
    scale = 0.2
    catalogue = GalSimCatalogue(GalaxySet(images, HSC_I), pixel_scale=scale)
    raw, white, said = [], [], []
    for i in range(30):
        seen = gs.Convolve(catalogue.makeGalaxy(i).shear(g1=0.1), gs.Gaussian(fwhm=0.4), gs.Pixel(scale))
        image = seen.drawImage(nx=40, ny=40, scale=scale, method="no_pixel")
        raw.append(image.array.copy())
        said.append((seen.noise.getVariance(), image.whitenNoise(seen.noise)))
        white.append(image.array)
    before, after = np.mean(said, axis=0)
    found = np.array(white, float)
    assert np.var(raw) == pytest.approx(before, rel=0.07), "GalSim interpolates covariances linearly: a few per cent"
    assert found.var() == pytest.approx(after, rel=0.03)
    neighbours = (found[:, 1:] * found[:, :-1]).mean(), (found[..., 1:] * found[..., :-1]).mean()
    assert np.abs(neighbours).max() < 0.02 * found.var()


def test_a_catalogue_of_a_generator_is_its_set(gs: Any, road: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Generator.load(road / "model")
    calls: list[int] = []
    draw = Generator.draw
    monkeypatch.setattr(Generator, "draw", lambda self, *words, **how: (calls.append(how.get("offset", 0)), draw(self, *words, **how))[1])
    asked = {"redshift": 0.5, "category": "spiral"}
    catalogue = GalSimCatalogue(generator, asked, n=40, seed=3, steps=2)
    assert catalogue.nobjects == len(catalogue) == 40 and not calls, "nothing is drawn before it is asked for"
    galaxy = catalogue.makeGalaxy(37, "r")
    assert calls == [0, 32], "the block that the noise is measured on, and the galaxy's"
    wanted = generator.sample(asked, n=40, seed=3, steps=2).images[37][1]
    again = galaxy.drawImage(nx=16, ny=16, scale=SCALE, method="no_pixel").array
    assert np.abs(again - wanted).max() < 1e-3 * np.abs(wanted).max()
    assert (catalogue.columns["redshift"] == 0.5).all() and galaxy.noise is not None
    indices = [GalSimCatalogue(generator, asked, n=40).selectRandomIndex(gs.BaseDeviate(seed)) for seed in (5, 5, *range(6, 40))]
    assert indices[0] == indices[1] and set(indices) < set(range(40)) and len(set(indices)) > 15
    assert catalogue.makeGalaxy(band="r", rng=gs.BaseDeviate(5)).flux == catalogue.makeGalaxy(indices[0], "r").flux
    assert GalSimCatalogue(generator, asked).nobjects == 1000 and GalSimCatalogue(generator, {"redshift": [0.3, 0.4]}).nobjects == 2


def test_what_galsim_cannot_draw_is_refused(drawn: SimpleNamespace, road: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = np.ones((2, 3, 8, 8), np.float32)
    cases = {
        "no galaxy 3: the set has 3": lambda: galsim_object(drawn.galaxies, 3),
        "has no band 'g'": lambda: galsim_object(drawn.galaxies, 0, "g"),
        "sum of zero": lambda: galsim_object(GalaxySet(0 * stamps[:, :1], HSC_I), 0),
        "which are no flux": lambda: galsim_object(GalaxySet(stamps, Survey.get("sdss-rgb")), 0),
        "pixel scale of survey 'odd' is not known": lambda: sky_noise(GalaxySet(stamps, Survey.custom("odd", ("a", "b", "c")))),
        "no zero point to convert from": lambda: GalSimCatalogue(
            GalaxySet(stamps, Survey.custom("odd", ("a", "b", "c"), 0.2)), zero_point=27
        ),
        "has no PSF to deconvolve by": lambda: galsim_object(GalaxySet(stamps[:, :1], HSC_I), 0, deconvolve=True),
        "conditions and n are for a generator": lambda: GalSimCatalogue(drawn.galaxies, n=3),
        "needs an index, or an rng": lambda: GalSimCatalogue(drawn.galaxies).makeGalaxy(),
        "not conditioned on 'size'": lambda: GalSimCatalogue(Generator.load(road / "model"), {"size": 3}),
    }
    for sentence, attempt in cases.items():
        with pytest.raises(InputError, match=sentence):
            attempt()
    monkeypatch.setitem(sys.modules, "galsim", None)
    with pytest.raises(InputError, match=r"pip install 'hubbleflow\[galsim\]'"):
        galsim_object(drawn.galaxies, 0)


# -- PyTorch ---------------------------------------------------------------------------------------------------------------------------
ALL = ["redshift", "category", "object_id", "i_half_light_radius", "flag", "field", "mask"]


def test_items_are_the_sets_galaxies(road: Path) -> None:
    galaxies = GalaxySet.open(road / "set.h5")
    dataset = GalaxyDataset(road / "set.h5", ALL)
    assert len(dataset) == 100 and dataset.classes == ("elliptical", "merger", "spiral")
    item = dataset[3]
    assert torch.equal(item["image"], torch.from_numpy(galaxies.images[3])) and item["image"].dtype == torch.float32
    assert item["redshift"].item() == np.float32(galaxies.redshift[3]) and item["object_id"].item() == 10
    assert [dataset[row]["category"].item() for row in range(4)] == [2, 0, -1, 1] and item["field"] == "é"
    assert item["i_half_light_radius"].dtype == torch.float32 and item["flag"].dtype == torch.bool
    assert dataset[4]["mask"][0, 0].all() and not dataset[4]["image"][0, 0].any(), "what is not finite is the sky"
    assert set(GalaxyDataset(galaxies)[0]) == {"image", "redshift", "category"}
    stretch = Asinh(softening=(0.1,) * 5)
    seen = GalaxyDataset(galaxies[10:20], [], stretch, transform=lambda image: image.mean(dim=0))[2]["image"]
    assert torch.allclose(seen, stretch(torch.from_numpy(galaxies.images[12:13]))[0].mean(dim=0))
    assert GalaxyDataset(galaxies[:2], classes=["spiral", "elliptical"])[0]["category"].item() == 0
    for sentence, how in {
        "no column 'size'": {"columns": ["size"]},
        "has no ivar": {"columns": ["ivar"]},
        "category 'merger' is none of the classes spiral": {"classes": ["spiral", "elliptical"]},
    }.items():
        with pytest.raises(InputError, match=sentence):
            GalaxyDataset(galaxies, **how)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize(("workers", "context"), [(2, "fork"), (1, "spawn")])
def test_workers_read_the_same_batches(road: Path, workers: int, context: str) -> None:
    dataset = GalaxyDataset(road / "set.h5", ALL)
    dataset[0]  # the parent has read before its workers are made
    loader = lambda **how: DataLoader(dataset, batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(1), **how)  # noqa: E731
    alone, together = list(loader()), list(loader(num_workers=workers, multiprocessing_context=context))
    assert len(alone) == len(together) == 4
    for one, other in zip(alone, together, strict=True):
        assert set(one) == set(other) == {"image", *ALL}
        assert all(one[name] == other[name] if name == "field" else torch.equal(one[name], other[name]) for name in one)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_the_union_of_what_workers_draw_is_one_set(road: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_dataset, "DRAWN_AT_ONCE", 8)
    generator = Generator.load(road / "model")
    how: dict[str, Any] = {"n": 45, "seed": 3, "steps": 2}
    alone = list(GeneratedDataset(generator, **how))
    assert [item["object_id"].item() for item in alone] == list(range(45))
    for workers in (1, 2, 3, 7):  # more workers than blocks, too
        parts = []
        for number in range(workers):
            worker = SimpleNamespace(id=number, num_workers=workers)
            monkeypatch.setattr(torch_dataset, "get_worker_info", lambda worker=worker: worker)
            parts += list(GeneratedDataset(generator, **how))
        parts.sort(key=lambda item: item["object_id"].item())
        assert len(parts) == 45
        assert all(torch.equal(one[name], other[name]) for one, other in zip(alone, parts, strict=True) for name in one)
    monkeypatch.undo()
    monkeypatch.setattr(torch_dataset, "DRAWN_AT_ONCE", 8)
    loaded = list(DataLoader(GeneratedDataset(road / "model", **how), batch_size=None, num_workers=2, multiprocessing_context="fork"))
    assert sorted(item["object_id"].item() for item in loaded) == list(range(45))
    for item in loaded:
        assert torch.allclose(item["image"], alone[item["object_id"]]["image"], atol=1e-4)
    endless = list(islice(GeneratedDataset(generator, seed=3, steps=2), 60))
    assert all(torch.equal(one["image"], other["image"]) for one, other in zip(endless[:40], alone[:40], strict=True)), "n changes nothing"
    assert len({item["redshift"].item() for item in endless}) > 50 and {item["category"].item() for item in endless} == {0, 1}


def test_galaxies_that_were_asked_for_are_the_generators(road: Path) -> None:
    generator = Generator.load(road / "model")
    asked = {"redshift": [0.5, 1.0], "category": "spiral"}
    items = list(GeneratedDataset(generator, asked, n=6, seed=1, steps=2, stretch=generator.stretch))
    sampled = generator.sample({"redshift": [0.5, 1.0] * 3, "category": ["spiral"] * 6}, seed=1, steps=2)
    wanted = generator.stretch(torch.from_numpy(sampled.images[:]))
    assert torch.allclose(torch.stack([item["image"] for item in items]), wanted, atol=1e-4)
    assert [item["redshift"].item() for item in items] == [0.5, 1.0] * 3 and items[0]["category"].item() == 1
    with pytest.raises(InputError, match="outside the trained range"):
        GeneratedDataset(generator, {"redshift": 9.0})


# -- Hugging Face ----------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def hf() -> Any:
    return pytest.importorskip("datasets", reason="datasets is not installed: pip install 'hubbleflow[huggingface]'")


def test_datasets_reads_back_what_was_written(hf: Any, road: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    galaxies, folder, seen = GalaxySet.open(road / "set.h5"), tmp_path / "out", []
    dataset = to_hugging_face(galaxies, folder, cache_dir=tmp_path / "cache", on_progress=seen.append)
    assert isinstance(dataset, hf.Dataset) and len(dataset) == 100 == sum(seen)
    images, rows = dataset.with_format("numpy")["image"][:], dataset[:]
    assert np.array_equal(images, galaxies.images[:], equal_nan=True) and images.dtype == np.float32
    assert dataset.features["image"] == hf.Array3D(shape=(5, 16, 16), dtype="float32")
    for title, values in (
        ("redshift", galaxies.redshift),
        ("i_mag", galaxies.columns["i_mag"]),
        ("measured_i_mag", galaxies.measured["i_mag"]),
    ):
        assert np.array_equal(rows[title], values)
    assert rows["object_id"] == galaxies.columns["object_id"].tolist() and rows["flag"] == galaxies.columns["flag"].tolist()
    label = dataset.features["category"]
    assert label == hf.ClassLabel(names=["elliptical", "merger", "spiral"])
    assert [None if number is None else label.int2str(number) for number in dataset["category"][:4]] == [
        "spiral",
        "elliptical",
        None,
        "merger",
    ]
    assert dataset["field"][:2] == ["COSMOS", "é"]
    card = (folder / "README.md").read_text()
    assert "| `i_half_light_radius` | pix | holds half the light |" in card and "5 x 16 x 16 (g, r, i, z, y), linear flux in count" in card
    metadata = pyarrow.parquet.read_schema(folder / "data" / "train-00000-of-00001.parquet").metadata
    assert Survey.from_dict(json.loads(metadata[b"hubbleflow"])["survey"]) == galaxies.survey


def test_the_folder_opens_by_its_name_and_streams(hf: Any, road: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_datasets, "ROWS", 8)
    galaxies = GalaxySet.open(road / "set.h5")
    shards = write_shards(galaxies, tmp_path / "out", ["redshift", "category"], split="test", shard_bytes=30 * 5 * 16 * 16 * 4)
    assert [shard.name for shard in shards] == [f"test-{number:05}-of-00004.parquet" for number in range(4)]
    streamed = hf.load_dataset(str(tmp_path / "out"), split="test", streaming=True)
    items = list(streamed.with_format("numpy"))  # to its end: a stream that is left half-way hangs at exit (apache/arrow issue 45214)
    assert np.array_equal(np.stack([item["image"] for item in items]), galaxies.images[:], equal_nan=True)
    assert set(items[0]) == {"image", "redshift", "category"}
    whole = hf.load_dataset(str(tmp_path / "out"), split="test", cache_dir=str(tmp_path / "cache"))
    assert whole.features == streamed.features and whole["redshift"][:] == galaxies.redshift.tolist()


def test_a_set_is_never_in_memory_as_a_whole(hf: Any, tmp_path: Path) -> None:
    largest = 0

    class Watched:
        shape = (1000, 1, 8, 8)

        def __len__(self) -> int:
            return 1000

        def __getitem__(self, rows: slice) -> np.ndarray:
            nonlocal largest
            chosen = np.arange(1000)[rows]
            largest = max(largest, len(chosen))
            return np.ones((len(chosen), 1, 8, 8), np.float32) * chosen[:, None, None, None]

    shards = write_shards(GalaxySet(Watched(), HSC_I, {"category": np.full(1000, "")}), tmp_path / "out", shard_bytes=64 * 4 * 300)
    assert largest <= 64 and len(shards) == 4
    read = hf.load_dataset("parquet", data_files=[str(path) for path in shards], split="train", cache_dir=str(tmp_path / "cache"))
    assert read.with_format("numpy")["image"][:][:, 0, 0, 0].tolist() == list(range(1000))


def test_exports_are_whole_or_not_there(hf: Any, road: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    galaxies = GalaxySet.open(road / "set.h5")

    def stop(n: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(galaxies, tmp_path / "out", on_progress=stop)
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out exists already"):
        write_shards(galaxies, tmp_path / "out")
    with pytest.raises(InputError, match="no column 'size' in this set: it has"):
        write_shards(galaxies, tmp_path / "other", ["size"])
    sent: list[Any] = []
    monkeypatch.setattr(huggingface_datasets, "upload", lambda *words, **how: sent.append((*words, how)))
    to_hugging_face(galaxies, tmp_path / "sent", ["redshift"], push_to="some/sky", private=True, cache_dir=tmp_path / "cache")
    assert sent == [(tmp_path / "sent", "some/sky", {"kind": "dataset", "private": True, "token": None})]
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'hubbleflow\[huggingface\]'"):
        to_hugging_face(galaxies, tmp_path / "missing")


# -- the examples ----------------------------------------------------------------------------------------------------------------------
@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run an example in a folder of its own; returns what it says."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *words: object) -> str:
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_the_galsim_example(gs: Any, example: Callable[..., str], tmp_path: Path) -> None:
    assert "16 galaxies, sheared by 0.05" in example("09_galsim.py", "--n", 60)
    image = gs.fits.read(str(tmp_path / "runs" / "09_galsim" / "image.fits")).array
    between = np.concatenate([image[80:120].ravel(), image[210:270].ravel()])
    assert between.std() == pytest.approx(0.3, rel=0.05) and image.max() > 3
    asked = example("09_galsim.py", tmp_path / "runs" / "09_galsim" / "sky.h5", "--redshift", 0.6, "--out", tmp_path / "again")
    assert "galaxies at z = 0.6 to choose from" in asked


def test_the_torch_example(example: Callable[..., str], road: Path) -> None:
    said = example("10_torch_dataset.py", road / "set.h5", "--model", road / "model", "--batches", 3, "--workers", 0)
    assert "learnt from real galaxies" in said and "learnt from drawn galaxies" in said


def test_the_hugging_face_example(
    hf: Any, example: Callable[..., str], road: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hf.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for _ in range(2):  # it may be run again
        said = example("11_huggingface.py", road / "set.h5")
        assert "kinds: elliptical, merger, spiral" in said and "image (8, 5, 16, 16) torch.float32" in said
    assert (tmp_path / "cache").is_dir()
