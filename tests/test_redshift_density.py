"""Densities of redshift: their algebra against exact answers, and a network that learns one it can be checked against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from hubbleflow.conditions import Condition, Conditions
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.models import TrainingSet, get_model
from hubbleflow.models.redshift_density import RedshiftDensityCnn, log_density
from hubbleflow.photoz import RedshiftDensity
from hubbleflow.predictor import Predictor
from hubbleflow.survey import Survey
from hubbleflow.training import Recipe, Training, flipped_and_turned

SCATTER = 0.06  # of ln(1 + z) at a given image


def mixtures(n: int, lowest: float = 0.0, seed: int = 0) -> RedshiftDensity:
    """Random densities of three components; some of those near z = 0 are cut by half."""
    rng = np.random.default_rng(seed)
    return RedshiftDensity(rng.dirichlet(np.ones(3), n), rng.uniform(lowest, 1.4, (n, 3)), rng.uniform(0.01, 0.3, (n, 3)))


def test_the_density_of_redshift_integrates_to_one_and_is_the_slope_of_its_distribution() -> None:
    density, z = mixtures(10), np.linspace(0, 30, 60_001)
    pdf, cdf = density.pdf(z), density.cdf(z)
    assert np.trapezoid(pdf, z, axis=1) == pytest.approx(np.ones(10), abs=1e-5)
    slope = np.diff(cdf, axis=1) / np.diff(z)
    assert np.abs(slope - (pdf[:, 1:] + pdf[:, :-1]) / 2).max() < 1e-3 * pdf.max()
    assert (cdf[:, 0] == 0).all() and (density.pdf([-0.2]) == 0).all() and (density.cdf([-0.2]) == 0).all()


def test_one_gaussian_has_the_quantiles_of_its_textbook() -> None:
    density = RedshiftDensity(np.ones((1, 1)), np.full((1, 1), 0.7), np.full((1, 1), 0.05))
    levels = np.array([0.025, 0.16, 0.5, 0.84, 0.975])
    assert density.quantile(levels)[0] == pytest.approx(np.expm1(0.7 + 0.05 * stats.norm.ppf(levels)), rel=1e-9)
    assert density.interval(0.68)[0] == pytest.approx(density.quantile([0.16, 0.84])[0])
    half = RedshiftDensity(np.ones((1, 1)), np.zeros((1, 1)), np.full((1, 1), 0.1))  # cut in the middle: |N(0, 0.1)|
    assert half.quantile(0.5) == pytest.approx(np.expm1(0.1 * stats.norm.ppf(0.75)), rel=1e-9)


def test_quantile_and_distribution_undo_each_other() -> None:
    density = mixtures(60)
    levels = np.array([1e-6, 0.01, 0.3, 0.5, 0.9, 1 - 1e-6])
    for number, level in enumerate(levels):
        z = density.quantile(level)
        assert z.shape == (60,) and np.array_equal(z, density.quantile(levels)[:, number])
        assert density.pit(z) == pytest.approx(np.full(60, level), abs=1e-9)


def test_pit_is_uniform_on_draws_from_the_densities_themselves_and_not_on_others() -> None:
    density = mixtures(5000)
    z = density.sample(seed=3)
    assert stats.kstest(density.pit(z), "uniform").pvalue > 0.01
    inside = (density.interval(0.68)[:, 0] < z) & (z < density.interval(0.68)[:, 1])
    assert inside.mean() == pytest.approx(0.68, abs=0.02)
    narrower = RedshiftDensity(density.weights, density.means, density.sigmas / 2)
    assert stats.kstest(narrower.pit(z), "uniform").pvalue < 1e-6
    z[7] = np.nan
    assert np.flatnonzero(np.isnan(density.pit(z))).tolist() == [7]


def test_densities_can_be_chosen_from_and_joined() -> None:
    density = mixtures(9)
    joined = RedshiftDensity.concatenate([density[:4], density[np.arange(4, 9)]])
    assert len(joined) == 9 and np.array_equal(joined.quantile(0.3), density.quantile(0.3))


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (([[1.0]], [[0.5]], [[0.1, 0.2]]), "of one shape"),
        (([[1.0]], [[-0.1]], [[0.1]]), "at least 0"),
        (([[1.0]], [[0.5]], [[0.0]]), "sigmas above 0"),
        (([[np.nan]], [[0.5]], [[0.1]]), "finite"),
        (([[0.5, 0.2]], [[0.5, 0.6]], [[0.1, 0.1]]), "add up to one"),
    ],
)
def test_what_is_no_density_is_refused(parts: tuple[list, list, list], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        RedshiftDensity(*map(np.array, parts))


def test_questions_that_have_no_answer() -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        mixtures(2).quantile(1.0)
    with pytest.raises(InputError, match="2 densities need 2 true redshifts"):
        mixtures(2).pit(np.zeros(3))


def test_the_loss_is_the_logarithm_of_the_density() -> None:
    """Against RedshiftDensity (whose p(z) has the Jacobian), and, far from z = 0, against torch.distributions."""
    density = mixtures(30)
    log_weights, means, sigmas = (torch.from_numpy(part) for part in (np.log(density.weights), density.means, density.sigmas))
    z = density.sample(seed=0)
    ours = log_density((log_weights, means, sigmas), torch.from_numpy(np.log1p(z))).numpy()
    assert ours == pytest.approx(np.log(np.diag(density.pdf(z)) * (1 + z)), abs=1e-9)
    far = means + 5
    theirs = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=log_weights), torch.distributions.Normal(far, sigmas)
    )
    y = torch.linspace(5, 6.4, 30, dtype=torch.float64)
    assert torch.allclose(log_density((log_weights, far, sigmas), y), theirs.log_prob(y), atol=1e-10)


def images_of(y: np.ndarray, seed: int) -> np.ndarray:
    """Blobs whose flux says y = ln(1 + z): the fainter the farther, as in an expanding universe."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:16, :16] - 7.5
    flux = 30 * np.exp(-2.5 * y)
    blob = np.exp(-(row**2 + column**2) / (2 * 2.5**2))
    return (flux[:, None, None, None] * blob + rng.normal(0, 0.05, (len(y), 2, 16, 16))).astype("f4")


def flux_of(images: np.ndarray) -> np.ndarray:
    """The flux that :func:`images_of` gave the blobs, read back by least squares."""
    row, column = np.mgrid[:16, :16] - 7.5
    blob = np.exp(-(row**2 + column**2) / (2 * 2.5**2))
    return (images * blob).sum(axis=(1, 2, 3)) / (2 * (blob**2).sum())


def sky(n: int, seed: int, scatter: float = SCATTER) -> GalaxySet:
    """Galaxies whose flux tells ln(1 + z) up to a known scatter."""
    rng = np.random.default_rng(seed)
    y = rng.uniform(0.3, 1.2, n)
    redshift = np.expm1(y + scatter * rng.normal(size=n))
    survey = Survey("two-bands", ("g", "r"), 0.2, 27.0, "count", None, (0.05, 0.05), "r", ("r", "g", "g"))
    return GalaxySet(images_of(y, seed + 1), survey, {"redshift": redshift})


TINY = {"widths": [8, 16], "dense": 32, "components": 5}


def covered(density: RedshiftDensity, z: np.ndarray, level: float = 0.68) -> float:
    low, high = density.interval(level).T
    return float(((low < z) & (z < high)).mean())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model: 350 steps of a tiny network."""
    folder = tmp_path_factory.mktemp("photoz") / "model"
    list(Training(sky(1200, seed=0), folder, Recipe(model="redshift-density", steps=350, batch_size=48, arguments=TINY)).run())
    return folder


def test_a_short_training_learns_the_relation_and_knows_how_well(folder: Path) -> None:
    predictor, unseen = Predictor.load(folder), sky(800, seed=10)
    density = predictor.density(unseen)
    assert covered(density, unseen.redshift) == pytest.approx(0.68, abs=0.12)
    assert covered(density, unseen.redshift, 0.95) == pytest.approx(0.95, abs=0.05)
    error = np.log1p(predictor.predict(unseen)) - np.log1p(unseen.redshift)
    assert error.std() < 1.3 * SCATTER and abs(np.median(error)) < SCATTER / 2
    low, high = np.log1p(density.interval(0.68)).T
    assert np.median(high - low) / 2 == pytest.approx(SCATTER, rel=0.35), "it has learnt how far to trust itself"


def test_prediction_is_the_median_and_streaming_changes_nothing(folder: Path) -> None:
    predictor, few = Predictor.load(folder), sky(300, seed=20)  # more than one block
    density = predictor.density(few)
    assert len(density) == 300
    assert predictor.predict(few) == pytest.approx(density.quantile(0.5), rel=1e-5)
    assert predictor.density(few[280:]).quantile(0.5) == pytest.approx(density[280:].quantile(0.5), rel=2e-2)  # bfloat16, other batch
    columns = predictor.columns(few)
    assert list(columns) == ["predicted_redshift", "z_q16", "z_q50", "z_q84"]
    assert (columns["z_q16"] < columns["z_q50"]).all() and (columns["z_q50"] < columns["z_q84"]).all()
    assert np.array_equal(columns["predicted_redshift"], columns["z_q50"])


def test_a_model_without_densities_says_so(tmp_path: Path) -> None:
    recipe = Recipe(model="category-cnn", steps=1, arguments={"widths": [8, 8]})
    galaxies = sky(20, seed=0)
    galaxies.columns["category"] = np.array(["near", "far"] * 10)
    list(Training(galaxies, tmp_path / "model", recipe).run())
    with pytest.raises(InputError, match="no densities: train a redshift-density"):
        Predictor.load(tmp_path / "model").density(galaxies)


def model(**arguments: object) -> RedshiftDensityCnn:
    torch.manual_seed(0)
    return RedshiftDensityCnn(2, 16, 0.7, 0.3, **(TINY | arguments))


def test_galaxies_are_held_out_whatever_their_order_and_however_they_are_turned() -> None:
    images = sky(2000, seed=4).images
    held = model(held_out=0.1).calibrates(torch.from_numpy(images))
    assert 0.07 < held.float().mean() < 0.13
    turned = flipped_and_turned(images[::-1], np.random.default_rng(0).integers(8, size=len(images))).copy()
    again = model(held_out=0.1).calibrates(torch.from_numpy(turned)).flip(0)
    assert (again == held).float().mean() > 0.998  # rounding of a sum may fall on an edge
    assert not model(held_out=0.1).calibrates(torch.zeros(3, 2, 16, 16)).any()
    assert torch.equal(model(held_out=0.1).calibrates(torch.from_numpy(images) * 1024), held), "whatever the unit of flux"


def test_held_out_galaxies_train_two_numbers_and_the_others_the_rest() -> None:
    network = model(held_out=0.3)
    galaxies = sky(200, seed=4)
    x = torch.from_numpy(galaxies.images)
    c = torch.from_numpy((np.log1p(galaxies.redshift) - 0.7) / 0.3).float()[:, None]
    held = network.calibrates(x)
    for rows, trained in ((held, False), (~held, True)):
        network.zero_grad()
        network(x[rows], c[rows], torch.Generator().manual_seed(0)).backward()
        assert bool(network.head.weight.grad.abs().sum() > 0) is trained
        assert bool(network.calibration.grad.abs().sum() > 0) is not trained


def test_calibration_repairs_a_network_that_is_too_sure_of_itself() -> None:
    """A network of which every width has been divided by three: the two numbers, trained alone, bring the coverage back."""
    network = model(held_out=0.5)
    galaxies = sky(1500, seed=6)
    c = torch.from_numpy((np.log1p(galaxies.redshift) - 0.7) / 0.3).float()[:, None]
    x = torch.from_numpy(np.log(flux_of(galaxies.images))).float()[:, None]

    def overconfident(h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        y = (np.log(30) - h[:, :1]) / 2.5
        return torch.zeros(len(h), 1), y, torch.full((len(h), 1), SCATTER / 3)

    network._features, network._mixture = (lambda x: x), overconfident
    network.calibrates = lambda x: torch.ones(len(x), dtype=torch.bool)
    before = covered(network.density(x), galaxies.redshift)
    optimizer = torch.optim.Adam([network.calibration], 2e-2)
    for step in range(200):
        optimizer.zero_grad()
        network(x, c, torch.Generator().manual_seed(step)).backward()
        optimizer.step()
    assert before < 0.35 and covered(network.density(x), galaxies.redshift) == pytest.approx(0.68, abs=0.04)
    assert float(network.calibration.detach()[0].exp()) == pytest.approx(3, rel=0.1)


def test_sets_that_it_cannot_learn() -> None:
    kind = get_model("redshift-density")
    category = Conditions((Condition.fit("category", np.array(["a", "b"])),))
    redshift = Conditions((Condition.fit("redshift", np.linspace(0.1, 1, 9)),))
    with pytest.raises(InputError, match="learns redshift alone"):
        kind.arguments(TrainingSet(3, 64, category, 0.5))
    with pytest.raises(InputError, match="at least 16 px, got 8"):
        kind.arguments(TrainingSet(3, 8, redshift, 0.5))
    with pytest.raises(InputError, match="between 0 and half"):
        model(held_out=0.8)
