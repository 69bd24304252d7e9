"""Models by name, and what they refuse. What every one of them must do is in test_model_contract.py."""

from __future__ import annotations

import numpy as np
import pytest

from hubbleflow.conditions import Condition, Conditions
from hubbleflow.errors import InputError
from hubbleflow.models import TrainingSet, get_model

REDSHIFT = Conditions((Condition.fit("redshift", np.linspace(0.05, 3, 20)),))
CATEGORY = Conditions((Condition.fit("category", np.array(["elliptical", "spiral"] * 5)),))


def test_unknown_models_and_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="unknown model 'gan': choose one of .*edm"):
        get_model("gan")
    with pytest.raises(InputError, match="no argument 'depth': it has .*width"):
        get_model("edm").checked({"depth": 3})
    with pytest.raises(InputError, match="learns redshift alone"):
        get_model("li2024-redshift-cnn").arguments(TrainingSet(3, 64, CATEGORY, 0.5))
    with pytest.raises(InputError, match="a multiple of 2 pixels on a side"):
        get_model("edm").arguments(TrainingSet(3, 33, REDSHIFT, 0.5))
