"""Li 2024's variational autoencoder: its divergence against an oracle, its mirrored halves, and what it learns of eight galaxies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hubbleflow.conditions import Condition, Conditions
from hubbleflow.diffusion import seeded_noise
from hubbleflow.errors import InputError
from hubbleflow.galaxies import GalaxySet
from hubbleflow.generator import Generator
from hubbleflow.models import TrainingSet, get_model
from hubbleflow.models.li2024_cvae import Li2024Cvae, gaussian_kl
from hubbleflow.networks.embedding import ConditionNumbers
from hubbleflow.networks.hd_cnn import level_shapes
from hubbleflow.survey import Survey
from hubbleflow.training import Recipe, Training

TINY = {"widths": [8, 16], "features": 64, "dense": [32], "latent": 8}
REDSHIFT = Condition.fit("redshift", np.linspace(0.05, 3, 20))
KIND = Condition.fit("category", np.array(["elliptical", "irregular", "spiral"] * 3))


def model(**arguments: object) -> Li2024Cvae:
    torch.manual_seed(0)
    return Li2024Cvae(3, 16, [0], 0.5, **(TINY | arguments))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_divergence_is_that_of_torch_distributions() -> None:
    generator = seeded()
    mean = 3 * torch.randn(50, 64, generator=generator, dtype=torch.float64)
    log_variance = 2 * torch.randn(50, 64, generator=generator, dtype=torch.float64)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    theirs = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    assert float((gaussian_kl(mean, log_variance) / theirs - 1).abs().max()) < 1e-6
    assert torch.equal(gaussian_kl(torch.zeros(2, 64), torch.zeros(2, 64)), torch.zeros(2))


def test_the_loss_is_the_mean_square_and_a_thousandth_of_the_divergence() -> None:
    cvae, x, c = model(), torch.randn(6, 3, 16, 16, generator=seeded()), torch.randn(6, 1, generator=seeded(1))
    mean, log_variance = cvae.posterior(x, c)
    v = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=seeded(7))
    by_hand = ((cvae.decode(v, c) - x) ** 2).mean() + 1e-3 * gaussian_kl(mean, log_variance).mean()
    assert torch.allclose(cvae.loss(x, c, seeded(7)), by_hand, rtol=1e-6)
    heavier = model(kl_weight=1.0).loss(x, c, seeded(7))
    assert torch.allclose(heavier - cvae.loss(x, c, seeded(7)), 0.999 * gaussian_kl(mean, log_variance).mean(), rtol=1e-4)


def test_the_papers_size() -> None:
    """64 latent numbers; a decoder that mirrors the encoder and has slightly fewer parameters; five bands of 64 px."""
    with torch.device("meta"):
        cvae = Li2024Cvae(5, 64, [0], 0.5)
    encoder, decoder = (sum(parameter.numel() for parameter in half.parameters()) for half in (cvae.encoder, cvae.decoder))
    assert encoder + decoder == 22_924_825
    assert 0.98 * encoder < decoder < encoder
    kernels = [convolution.weight.shape for convolution in cvae.encoder.convolutions]
    assert kernels == [convolution.weight.shape for convolution in cvae.decoder.convolutions], "transposed convolutions store (in, out)"
    flat = cvae.encoder.dense[0].in_features
    assert flat == 4 * 4096 + 1 and cvae.decoder.dense[0].in_features == 64 + 1 and cvae.decoder.dense[-1].out_features == 4 * 4096
    mean, log_variance = cvae.posterior(torch.zeros(2, 5, 64, 64, device="meta"), torch.zeros(2, 1, device="meta"))
    assert mean.shape == log_variance.shape == (2, 64)
    small = get_model("li2024-cvae").at_scale("small")
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in Li2024Cvae(5, 64, [0], 0.5, **small).parameters()) < 8e6


def test_its_training_is_the_papers() -> None:
    recipe = Recipe(model="li2024-cvae").with_defaults()
    assert (recipe.batch_size, recipe.stretch, recipe.conditions, recipe.dropout, recipe.jitter) == (512, "none", ("redshift",), 0.0, 0.0)
    assert recipe.steps == round(250 * 204_513 / 512)


def test_every_level_reaches_the_flat_layer_by_itself_and_comes_back() -> None:
    """With one skip alone left open the latent vector still sees the image, and the image the latent vector."""
    cvae, x, c = model().eval(), torch.randn(4, 3, 16, 16, generator=seeded()), torch.zeros(4, 1)
    sizes = [channels * side**2 for channels, side in level_shapes(16, 2, 64)]
    first = 0
    for size in sizes:
        weight = cvae.encoder.dense[0].weight.detach()[:, first : first + size].clone()
        with torch.no_grad():
            cvae.encoder.dense[0].weight[:, first : first + size] = 0
            without = cvae.posterior(x, c)[0]
            cvae.encoder.dense[0].weight[:, first : first + size] = weight
        assert not torch.allclose(without, cvae.posterior(x, c)[0], atol=1e-5)
        first += size
    for skip in cvae.decoder.skips:
        before = cvae.decode(torch.ones(1, 8), c[:1])
        with torch.no_grad():
            skip.weight += 0.5
        assert not torch.allclose(before, cvae.decode(torch.ones(1, 8), c[:1]), atol=1e-4)


def test_conditions_of_every_kind_enter_as_numbers() -> None:
    conditions = Conditions((REDSHIFT, KIND))
    numbers = ConditionNumbers(conditions.layout)(
        conditions.encode({"redshift": np.array([0.5, 2.0]), "category": ["spiral", "elliptical"]})
    )
    assert numbers[:, 1:].tolist() == [[0, 0, 1], [1, 0, 0]]
    unasked = ConditionNumbers(conditions.layout)(conditions.encode({"redshift": np.array([0.5])}))
    assert unasked[0, 0] == numbers[0, 0] and unasked[0, 1:].tolist() == [0, 0, 0]
    cvae = Li2024Cvae(3, 16, conditions.layout, 0.5, **TINY)
    assert cvae.sample(torch.tensor([[0.3, 2.0]]), [0]).shape == (1, 3, 16, 16)


def test_constructor_arguments_survive_json() -> None:
    kind = get_model("li2024-cvae")
    given = kind.arguments(TrainingSet(3, 16, Conditions((REDSHIFT,)), 0.5)) | TINY
    assert json.loads(json.dumps(given)) == given
    torch.manual_seed(0)
    again = kind(**json.loads(json.dumps(given)))
    again.load_state_dict(model().state_dict())
    assert torch.equal(again.sample(torch.zeros(2, 1), [3, 4]), model().sample(torch.zeros(2, 1), [3, 4]))


def test_a_galaxy_is_its_seed_and_condition_in_one_pass() -> None:
    cvae, c = model().eval(), torch.linspace(-1, 1, 6)[:, None]
    with torch.no_grad():
        together = cvae.sample(c, range(6))
        assert torch.allclose(cvae.sample(c[4:5], [4]), together[4:5], atol=1e-5)
        assert torch.equal(cvae.sample(c, range(6), steps=50), together), "there are no steps"
        assert torch.equal(cvae.decode(seeded_noise(range(6), (8,)), c), together)
        assert not torch.allclose(cvae.sample(c[4:5], [5]), together[4:5], atol=1e-3)


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match="has no guidance, got 2"):
        model().sample(torch.zeros(1, 1), [0], guidance=2.0)
    with pytest.raises(InputError, match="no samplers, got 'heun'"):
        model().sample(torch.zeros(1, 1), [0], sampler="heun")
    with pytest.raises(InputError, match="a multiple of 16 pixels on a side, got 40"):
        get_model("li2024-cvae").arguments(TrainingSet(3, 40, Conditions((REDSHIFT,)), 0.5))


def test_pixels_of_raw_flux_do_not_overflow() -> None:
    """The paper's images are not normalised: a bright galaxy's pixels are thousands of times the training set's scatter."""
    x = torch.zeros(4, 3, 16, 16)
    x[:, :, 6:10, 6:10] = torch.tensor([1.0, 1e2, 1e4, 1e6])[:, None, None, None]
    cvae = model()
    loss = cvae(x, torch.zeros(4, 1), seeded())
    loss.backward()
    assert torch.isfinite(loss) and all(torch.isfinite(parameter.grad).all() for parameter in cvae.parameters())


def blobs(n: int, seed: int = 0) -> GalaxySet:
    """Two groups: bright and large at low redshift, faint and small at high."""
    rng = np.random.default_rng(seed)
    redshift = np.where(np.arange(n) % 2, rng.uniform(1.8, 2.2, n), rng.uniform(0.1, 0.3, n))
    row, column = np.mgrid[:16, :16] - 7.5
    width, flux = np.where(redshift > 1, 1.2, 2.5), np.where(redshift > 1, 2.0, 20.0) * rng.uniform(0.8, 1.2, n)
    blob = np.exp(-(row**2 + column**2) / (2 * width[:, None, None] ** 2))
    images = flux[:, None, None, None] * blob[:, None] + rng.normal(0, 0.05, (n, 2, 16, 16))
    survey = Survey("two-bands", ("g", "r"), 0.2, 27.0, "count", None, (0.05, 0.05), "r", ("r", "g", "g"))
    return GalaxySet(images.astype("f4"), survey, {"redshift": redshift})


def test_a_short_training_follows_redshift_and_is_the_same_from_its_folder(tmp_path: Path) -> None:
    recipe = Recipe(
        model="li2024-cvae", steps=300, batch_size=32, learning_rate=2e-3, stretch="asinh", arguments=TINY | {"kl_weight": 1e-2}
    )
    training = Training(blobs(200), tmp_path / "model", recipe)
    losses = [step.loss for step in training.run()]
    assert np.mean(losses[-20:]) < 0.2 * np.mean(losses[:5])
    generator = Generator.load(tmp_path / "model")
    drawn = generator.sample({"redshift": np.repeat([0.2, 2.0], 40)}, seed=1)
    peak = drawn.images[:, :, 6:10, 6:10].mean(axis=(1, 2, 3))
    real = blobs(200).images[:, :, 6:10, 6:10].mean(axis=(1, 2, 3))
    assert np.median(peak[:40]) == pytest.approx(np.median(real[::2]), rel=0.3)
    assert np.median(peak[40:]) < 0.4 * np.median(peak[:40])
    again = training.averaged().sample({"redshift": np.repeat([0.2, 2.0], 40)}, seed=1)
    assert np.array_equal(again.images[:], drawn.images[:])


def test_it_learns_eight_galaxies_by_heart() -> None:
    galaxies = blobs(8, seed=3)
    x = torch.from_numpy(galaxies.images) / 10
    c = torch.from_numpy(REDSHIFT.encode(galaxies.redshift))[:, None]
    torch.manual_seed(0)
    cvae = Li2024Cvae(2, 16, [0], float(x.std()), **TINY, kl_weight=1e-2)
    optimizer = torch.optim.Adam(cvae.parameters(), 3e-3)
    losses = []
    for step in range(500):
        loss = cvae(x, c, seeded(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-20:]) < 0.1 * losses[0]
    with torch.no_grad():
        drawn, mean = cvae.sample(c, range(8)), cvae.posterior(x, c)[0]
        assert float((drawn - x).abs().mean()) < 0.1 and float((cvae.decode(mean, c) - x).abs().mean()) < 0.05
        flux = [images.sum(dim=(1, 2, 3)).numpy() for images in (x, drawn)]
    assert np.corrcoef(*flux)[0, 1] > 0.95
