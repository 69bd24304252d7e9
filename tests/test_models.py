"""Contracts that every model keeps, whoever wrote it: each registered model is put through all of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hubbleflow.conditions import Condition, Conditions
from hubbleflow.errors import InputError
from hubbleflow.models import GenerativeModel, PredictiveModel, TrainingSet, get_model, model_names

SIZE = 32
SMALL = {
    "edm": {"width": 16, "multipliers": [1, 2]},
    "li2024-redshift-cnn": {"widths": [8, 8, 8, 16, 16, 16, 16], "dense": [32, 16]},
    "category-cnn": {"widths": [16, 16, 16]},
}


def conditions_of(name: str) -> Conditions:
    redshift = Condition.fit("redshift", np.linspace(0.05, 3, 20))
    category = Condition.fit("category", np.array(["elliptical", "spiral"] * 5))
    return Conditions(tuple({"redshift": redshift, "category": category}[column] for column in get_model(name).defaults.conditions))


def built(name: str, **arguments: object):
    torch.manual_seed(0)
    kind = get_model(name)
    given = kind.arguments(TrainingSet(3, SIZE, conditions_of(name), 0.5)) | SMALL.get(name, {}) | arguments
    assert json.loads(json.dumps(given)) == given, "constructor arguments are a file format"
    return kind(**given)


def eight(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight images that differ with their condition: a blob whose size and brightness follow the redshift or the class."""
    conditions = conditions_of(name)
    column = conditions.columns[0]
    values = np.array(["elliptical", "spiral"] * 4) if column.is_category else np.linspace(0.1, 2.5, 8)
    c = conditions.encode({column.name: values})
    y, x = torch.meshgrid(torch.arange(SIZE) - 15.5, torch.arange(SIZE) - 15.5, indexing="ij")
    width = 2.0 + (c[:, 0] - c.min()) / (c.max() - c.min()) * 5
    blob = torch.exp(-(x**2 + y**2) / (2 * width[:, None, None] ** 2))
    noise = 0.1 * torch.randn(8, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    return 2 * blob[:, None] + noise, c


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", model_names())
def test_loss_is_finite_deterministic_and_reaches_every_parameter(name: str) -> None:
    model = built(name)
    x, c = eight(name)
    with_dropped = c.clone()
    if isinstance(model, GenerativeModel):
        with_dropped[0] = torch.nan  # so that the vectors for "no condition" take part
    loss = model(x, with_dropped, seeded())
    assert loss.shape == () and torch.isfinite(loss)
    assert torch.equal(loss, model(x, with_dropped, seeded()))
    # A network that starts at zero passes no gradient until its last layer has moved: take a few steps first.
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(3):
        optimizer.zero_grad()
        model(x, with_dropped, seeded(step)).backward()
        optimizer.step()
    silent = [key for key, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.abs().sum() > 0]
    assert not silent


@pytest.mark.parametrize("name", model_names())
def test_overfits_eight_images_and_follows_its_condition(name: str) -> None:
    model = built(name)
    x, c = eight(name)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(400):
        model.anneal(step / 400)
        loss = model(x, c, seeded(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        if isinstance(model, PredictiveModel):
            predicted = model.predict(x)
            if predicted.ndim == 2:
                assert (predicted.argmax(1) == c[:, 0].long()).all()
            else:
                assert np.corrcoef(predicted.numpy(), c[:, 0].numpy())[0, 1] > 0.98
        else:
            drawn = model.sample(c, list(range(8)), steps=20)
            assert drawn.shape == x.shape
            asked, got = (torch.relu(images - 0.5).sum(dim=(1, 2, 3)).numpy() for images in (x, drawn))
            assert np.corrcoef(asked, got)[0, 1] > 0.9, "the flux drawn follows the condition in the trained direction"
            assert float((drawn - x).abs().mean()) < 0.3


@pytest.mark.parametrize("name", [name for name in model_names() if issubclass(get_model(name), GenerativeModel)])
def test_a_galaxy_is_its_seed_and_condition_whatever_the_batch(name: str) -> None:
    model = built(name).eval()
    _, c = eight(name)
    with torch.no_grad():
        together = model.sample(c, list(range(8)), steps=3)
        alone = model.sample(c[5:6], [5], steps=3)
        other_seed = model.sample(c[5:6], [6], steps=3)
    assert torch.allclose(together[5:6], alone, atol=1e-4)
    assert not torch.allclose(alone, other_seed, atol=1e-2)


def test_the_redshift_cnn_has_the_papers_parameters() -> None:
    model = get_model("li2024-redshift-cnn")(5, 64, 0.0, 1.0)
    assert sum(parameter.numel() for parameter in model.parameters()) == 4_851_521  # 4.85e6 in Li et al. 2024


def test_unknown_models_and_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="unknown model 'gan': choose one of .*edm"):
        get_model("gan")
    with pytest.raises(InputError, match="no argument 'depth': it has .*width"):
        get_model("edm").checked({"depth": 3})
    with pytest.raises(InputError, match="learns redshift alone"):
        get_model("li2024-redshift-cnn").arguments(TrainingSet(3, 64, conditions_of("category-cnn"), 0.5))
    with pytest.raises(InputError, match="even number of pixels"):
        get_model("edm").arguments(TrainingSet(3, 33, conditions_of("edm"), 0.5))
