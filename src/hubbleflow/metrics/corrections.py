"""How likely chance is: of one look, and of many.

Of one look. Under the hypothesis that the generated galaxies are drawn from the real population, the distance is one
more draw from what the S floors were drawn from, of which we know mean and scatter from those S draws alone. So (a
prediction interval, for floors that scatter like a Gaussian)

    t = (distance - floor) / (floor_error sqrt(1 + 1/S)) = z / sqrt(1 + 1/S),        p = P(T_{S-1} >= t)

with Student's t of S - 1 degrees of freedom; one-sided, because only a larger distance than the floor is against the
generator. The share of splits at least as far apart, (1 + #{floor_s >= distance}) / (S + 1), needs no Gaussian but
can't fall below 1/(S + 1), which no correction for twenty looks survives; it is kept beside the other as `p_rank`.

Of many looks. A report looks at M metrics. Holm (1979, Scand. J. Statist. 6, 65) steps down from the smallest p,

    p_corrected(k) = max_{j <= k} min(1, (M - j + 1) p(j)),        p(1) <= p(2) <= ... <= p(M)

so that whatever the metrics have to do with each other (magnitudes and sizes have much), the probability that a
perfect generator is found different by even one of them is at most the level at which p_corrected is cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import t as student

from hubbleflow.metrics.result import Result


def tail_probability(z: float, splits: int) -> float:
    """Probability that one more comparison of real with real galaxies is at least z times the scatter of `splits` others above their mean.

    Example:
        >>> round(tail_probability(0.0, 40), 3), round(tail_probability(3.0, 40), 4), round(tail_probability(3.0, 5), 3)
        (0.5, 0.0026, 0.026)
    """
    return float(student.sf(z / np.sqrt(1 + 1 / splits), splits - 1))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the order in which they were given.

    Example:
        >>> [round(value, 3) for value in holm([0.01, 0.04, 0.03, 0.005])]
        [0.03, 0.06, 0.06, 0.02]
    """
    values = np.asarray(p, float)
    order = np.argsort(values, kind="stable")
    stepped = np.minimum(1.0, np.maximum.accumulate((len(values) - np.arange(len(values))) * values[order]))
    corrected = np.empty(len(values))
    corrected[order] = stepped
    return corrected.tolist()


def corrected(results: Mapping[str, Result]) -> dict[str, Result]:
    """The results of one report with `p_corrected`, for as many looks as there are p-values among them.

    Example:
        >>> near, far = (Result(name, 1.0, 0.1, 0.9, 0.1, "low", z=z, p=p) for name, z, p in (("a", 1.0, 0.2), ("b", 4.0, 0.001)))
        >>> [result.p_corrected for result in corrected({"a": near, "b": far}).values()]
        [0.2, 0.002]
    """
    looks = {name: result.p for name, result in results.items() if result.p is not None}
    again = dict(zip(looks, holm(list(looks.values())), strict=True))
    return {name: replace(result, p_corrected=again.get(name)) for name, result in results.items()}
