"""Which galaxies there are: margins, dependence and conditionals of drawn tables against those they were learned from."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from hubbleflow.diffusion import galaxy_seeds
from hubbleflow.errors import InputError
from hubbleflow.prior import Prior

N = 6000


@pytest.fixture(scope="module")
def table() -> dict[str, np.ndarray]:
    """Brightness falls with redshift, and so does size at a bend; discs are bluer, and rarer far away; a third have no bulge at all."""
    rng = np.random.default_rng(1)
    z = rng.gamma(3, 0.3, N)
    disc = rng.random(N) < 0.8 - 0.3 * np.minimum(z / 2, 1)
    mag = 20 + 2.5 * np.log1p(z) + rng.normal(0, 0.5, N)
    size = np.exp(rng.normal(0, 0.2, N) + np.abs(z - 1) * 0.8)
    bulge = np.where(rng.random(N) < 1 / 3, 0.0, rng.random(N))
    kind = np.where(disc, "disc", "elliptical")
    return {
        "redshift": z,
        "category": kind,
        "mag": mag,
        "size": size,
        "colour": np.where(disc, 0.4, 1.0) + rng.normal(0, 0.1, N),
        "bulge": bulge,
    }


@pytest.fixture(scope="module")
def prior(table: dict[str, np.ndarray]) -> Prior:
    return Prior.fit(table)


def seeds(n: int) -> list[int]:
    return galaxy_seeds(3, 0, n)


def test_two_gaussians_give_the_conditional_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, 20_000)
    y = 0.8 * x + 0.6 * rng.normal(0, 1, 20_000)
    for number, asked in enumerate((-1.0, 0.0, 1.5)):
        drawn = Prior.fit({"x": x, "y": y}).draw({"x": np.full(4000, asked)}, galaxy_seeds(number, 0, 4000))
        assert np.all(drawn["x"] == asked)
        assert drawn["y"].mean() == pytest.approx(0.8 * asked, abs=0.06) and drawn["y"].std() == pytest.approx(0.6, rel=0.06)


def test_margins_are_those_of_the_table(table: dict[str, np.ndarray], prior: Prior) -> None:
    drawn = prior.draw({}, seeds(N))
    for name in ("redshift", "mag", "size", "colour"):
        assert stats.ks_2samp(drawn[name], table[name]).statistic < 0.03, name
        assert table[name].min() <= drawn[name].min() and drawn[name].max() <= table[name].max()
    assert (drawn["category"] == "disc").mean() == pytest.approx((table["category"] == "disc").mean(), abs=0.03)
    assert (drawn["bulge"] == 0).mean() == pytest.approx(1 / 3, abs=0.03), "a value that many have stays one"


def test_columns_keep_their_dependence(table: dict[str, np.ndarray], prior: Prior) -> None:
    drawn = prior.draw({}, seeds(N))
    for lowest, highest in ((0, 0.5), (0.5, 1), (1, 1.5), (1.5, 3)):
        ours, theirs = ((found["redshift"] > lowest) & (found["redshift"] < highest) for found in (drawn, table))
        for name, step in (("mag", 0.1), ("size", 0.08)):
            assert np.median(drawn[name][ours]) == pytest.approx(np.median(table[name][theirs]), abs=step)
        assert (drawn["category"][ours] == "disc").mean() == pytest.approx((table["category"][theirs] == "disc").mean(), abs=0.06)
    for kind, colour in (("disc", 0.4), ("elliptical", 1.0)):
        assert drawn["colour"][drawn["category"] == kind].mean() == pytest.approx(colour, abs=0.03)


@pytest.mark.parametrize("name", ["redshift", "mag", "category", "size"])
def test_any_column_may_be_asked_for(table: dict[str, np.ndarray], prior: Prior, name: str) -> None:
    """Asked for the table's own values of one column, the others come out as the table has them beside it."""
    drawn = prior.draw({name: table[name]}, seeds(N))
    assert np.array_equal(drawn[name], table[name])
    for other in ("redshift", "mag", "size", "colour"):
        assert stats.ks_2samp(drawn[other], table[other]).statistic < 0.04
    if name in ("redshift", "mag"):
        theirs, ours = (stats.spearmanr(found["redshift"], found["mag"]).statistic for found in (table, drawn))
        assert ours == pytest.approx(theirs, abs=0.03)


def test_a_galaxy_is_its_seed_whoever_else_is_drawn(prior: Prior) -> None:
    asked = {"redshift": np.linspace(0.1, 2, 10)}
    ten, one = prior.draw(asked, seeds(10)), prior.draw({"redshift": asked["redshift"][7:8]}, seeds(10)[7:8])
    assert all(values[7] == one[name][0] for name, values in ten.items())
    assert not np.array_equal(ten["mag"], prior.draw(asked, galaxy_seeds(4, 0, 10))["mag"])


def test_many_are_drawn_some_at_once(prior: Prior, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million take no more memory than a few hundred do, but for what is drawn."""
    asked, at_once = {"redshift": np.linspace(0.1, 2, 600)}, []
    drawn_ = Prior._drawn
    monkeypatch.setattr(Prior, "_drawn", lambda self, asked, seeds: at_once.append(len(seeds)) or drawn_(self, asked, seeds))
    many = prior.draw(asked, seeds(600))
    assert at_once == [256, 256, 88]
    alone = prior.draw({"redshift": asked["redshift"][300:301]}, seeds(600)[300:301])
    for name, values in alone.items():
        assert many[name][300] == values[0] if name == "category" else many[name][300] == pytest.approx(values[0], rel=1e-9)


def test_held_quantiles_change_smoothly_with_redshift(prior: Prior) -> None:
    z = np.linspace(0.3, 1.8, 400)
    track = prior.draw({"redshift": z, "category": np.full(400, "disc")}, seeds(1) * 400)
    assert np.abs(np.diff(track["mag"])).max() < 0.05 and track["mag"][-1] > track["mag"][0] + 0.8
    discs = np.full(6, "disc")
    near, far = (prior.draw({"redshift": np.full(6, at), "category": discs}, seeds(6))["mag"] for at in (0.4, 1.6))
    assert np.array_equal(np.argsort(near), np.argsort(far)), "who is bright for its time stays so"


def test_what_is_read_back_draws_the_same(prior: Prior) -> None:
    again = Prior.from_dict(prior.to_dict(), prior.tensors())
    one, other = (found.draw({"mag": np.array([21.0, 22.0])}, [1, 2]) for found in (prior, again))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_columns_that_stand_apart_depend_on_no_others(table: dict[str, np.ndarray]) -> None:
    n, rng = len(table["redshift"]), np.random.default_rng(5)
    angle, g_seeing = rng.uniform(-90, 90, n), rng.uniform(0.5, 1.0, n)
    columns = {**table, "position_angle": angle, "g_seeing": g_seeing, "i_seeing": 0.8 * g_seeing}
    prior = Prior.fit(columns, apart=[["position_angle"], ["g_seeing", "i_seeing"]])
    seeds = galaxy_seeds(3, 0, 2000)
    near, far = (prior.draw({"redshift": np.full(2000, z)}, seeds) for z in (0.3, 1.5))
    assert (near["position_angle"] == far["position_angle"]).all(), "a galaxy does not turn as it evolves"
    assert np.quantile(near["position_angle"], [0.05, 0.5, 0.95]) == pytest.approx([-81, 0, 81], abs=6)
    assert near["i_seeing"] == pytest.approx(0.8 * near["g_seeing"]) and len(np.unique(near["g_seeing"])) > 500
    assert abs(np.corrcoef(near["position_angle"], near["g_seeing"])[0, 1]) < 0.1
    assert (prior.draw({"position_angle": np.full(5, 12.0)}, seeds[:5])["position_angle"] == 12).all()
    pointing = g_seeing.round(2)
    few = Prior.fit({**table, "g_seeing": pointing, "i_seeing": 0.8 * pointing}, apart=[["g_seeing", "i_seeing"]])
    assert len(np.unique(few.draw({"i_seeing": np.full(2000, 0.6)}, seeds)["g_seeing"])) == 16, "as many pointings, of many galaxies each"
    sharp = prior.draw({"i_seeing": np.full(2000, 0.5)}, seeds)
    assert (sharp["i_seeing"] == 0.5).all() and sharp["g_seeing"] == pytest.approx(0.625, abs=0.01), "other bands' as where it is so"
    assert len(np.unique(sharp["g_seeing"])) > 10 and (sharp["redshift"] == prior.draw({}, seeds)["redshift"]).all()
    again = Prior.from_dict(json.loads(json.dumps(prior.to_dict())), prior.tensors()).draw({}, seeds)
    assert (again["position_angle"] == near["position_angle"]).all()
    only = Prior.fit({"position_angle": angle}, apart=[["position_angle"]]).draw({}, seeds)
    assert list(only) == ["position_angle"] and abs(np.median(only["position_angle"])) < 6


def test_fitting_twice_gives_the_same(table: dict[str, np.ndarray], prior: Prior) -> None:
    again = Prior.fit(table)
    assert all(bool((tensor == again.tensors()[name]).all()) for name, tensor in prior.tensors().items())


def test_log_density_is_that_of_the_mixture(table: dict[str, np.ndarray], prior: Prior) -> None:
    """Against scipy's Gaussians at the columns' own quantiles, component by component."""
    rows = {name: values[:50] for name, values in table.items() if name != "bulge"}
    fitted = Prior.fit({name: values for name, values in table.items() if name != "bulge"}, components=3)
    assert len(fitted.weight) == 3
    n = len(table["mag"])
    u = np.stack([stats.norm.ppf((stats.rankdata(table[name]) - 0.5) / n)[:50] for name in fitted.continuous], axis=1)
    middling = (np.abs(u) < 2).all(axis=1)  # further out there are fewer levels than galaxies
    member = np.searchsorted(fitted.classes[0], rows["category"])
    terms = [
        fitted.weight[k].item()
        * stats.multivariate_normal(fitted.mean[k], fitted.covariance[k]).pdf(u)
        * fitted.shares[0][k].numpy()[member]
        for k in range(3)
    ]
    np.testing.assert_allclose(fitted.log_density(rows)[middling], np.log(np.sum(terms, axis=0))[middling], atol=0.1)
    assert fitted.log_density(rows | {"category": np.full(50, "bar")}).eq(-np.inf).all()
    assert prior.log_density(table).mean() > Prior.fit(table, components=1).log_density(table).mean() + 0.5


def test_few_galaxies_one_column_and_unknown_classes(prior: Prior) -> None:
    few = Prior.fit({"redshift": np.array([0.1, 0.5, 2.0])})
    drawn = few.draw({}, seeds(50))["redshift"]
    assert drawn.min() >= 0.1 and drawn.max() <= 2.0 and drawn.std() > 0.3
    kinds = Prior.fit({"category": np.array(["a", "b", "b", "b"] * 50)})
    assert (kinds.draw({}, seeds(400))["category"] == "b").mean() == pytest.approx(0.75, abs=0.06)
    with pytest.raises(InputError, match="unknown category 'bar': this generator knows disc, elliptical"):
        prior.draw({"category": np.array(["bar"])}, [1])
