"""IS and FID as Li et al. 2024 take them: what a network for photographs makes of each band, averaged over bands (section 3.6, appendix B).

    FD = |mu_real - mu_gen|^2 + Tr(S_real + S_gen - 2 (S_real S_gen)^(1/2))        Heusel et al. 2017
    IS = exp(mean_x KL(p(y|x) || p(y)))                                            Salimans et al. 2016

each of the pictures that one band gives (:mod:`hubbleflow.perception`), and then the mean over bands. With Inception-v3 these are
`fid_inception` and `is_inception`; with EfficientNet-Lite0 they are other numbers and bear its name. IS is over all images at once, not
over ten parts. Up to 2,000 galaxies of each set enter: the paper's number.

Networks for photographs know no galaxies: as Li et al. 2024 find, their numbers say little of a galaxy's physics. Nor are 2,000 galaxies
enough for 1,280 or 2,048 features: covariances are not of full rank, and much of the value is the bias of a small sample. By itself
it says nothing. Its floor has the same bias, so z holds all the same, which is why these are not refused as
:mod:`hubbleflow.metrics.frechet` refuses its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hubbleflow.metrics.bins import Bins
from hubbleflow.metrics.frechet import A_FEATURE, frechet_distance
from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared
from hubbleflow.metrics.sample import Sample

if TYPE_CHECKING:
    from jaxtyping import Float, Int

FEWEST = 100  # galaxies a side
SPLITS = 8
NETWORKS = {  # name: (of Frechet distance, of score, what brings it)
    "inception": ("fid_inception", "is_inception", "--inception PATH with its weights"),
    "efficientnet-lite0": ("fd_efficientnet_lite0", "is_efficientnet_lite0", "--perception without Inception's weights"),
}


def inception_score(log_p: Float[np.ndarray, "n c"]) -> float:
    """IS of n images from ln p(class).

    Example:
        >>> sure = np.array([[1 - 1e-15, 1e-15], [1e-15, 1 - 1e-15]])
        >>> round(inception_score(np.log(np.full((2, 2), 0.5))), 9), round(inception_score(np.log(sure)), 9)
        (1.0, 2.0)
    """
    p = np.exp(log_p)
    return _score(p.mean(axis=0), (p * log_p).sum(axis=1).mean())


def _score(mean: Float[np.ndarray, " c"], negative_entropy: float) -> float:
    """exp of (mean over images of sum p ln p) - sum of mean p ln mean p."""
    return float(np.exp(negative_entropy - (mean * np.log(np.maximum(mean, np.finfo(float).tiny))).sum()))


def _rows(real: Sample, generated: Sample, network: str, key: str) -> tuple[list[str], list[Float[np.ndarray, "n band k"]]]:
    """What the network made of each band that both sets have."""
    if key not in real.image_features or key not in generated.image_features:
        raise NotComputable(f"needs what {network} makes of images of both sets: give evaluate {NETWORKS[network][2]}")
    found = [sample.image_features[key] for sample in (real, generated)]
    bands = [band for band in real.survey.bands if band in generated.survey.bands]
    rows = [values[:, [s.survey.band_index(band) for band in bands]] for values, s in zip(found, (real, generated), strict=True)]
    m = min(len(rows[0]) // 2, len(rows[1]))
    if m < FEWEST:
        raise NotComputable(
            f"needs {2 * FEWEST} real and {FEWEST} generated images, has {len(rows[0])} and {len(rows[1])}: give larger sets"
        )
    return bands, rows


def _prepared(statistic: Callable[..., Measurement], bands: list[str], rows: list[np.ndarray], note: str | None) -> Prepared:
    none = [np.zeros(len(values), int) for values in rows]
    return Prepared(
        statistic,
        tuple(bands),
        rows[0],
        none[0],
        rows[1],
        none[1],
        FEWEST,
        note,
        strata=Bins("all", ("all",), (0.0,), None, none[0], none[1]),
    )


def _distance(network: str) -> Metric:
    def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
        bands, rows = _rows(real, generated, network, network)
        m, d = min(len(rows[0]) // 2, len(rows[1])), rows[0].shape[2]
        note = f"{m} galaxies a side for {d} features: much of the value is the bias of a small sample, so read its distance from the floor"
        return _prepared(_frechet, bands, rows, note if m < A_FEATURE * d else None)

    name, _, _ = NETWORKS[network]
    question = f"Do images look alike to {network}, band by band?"
    return Metric(name, question, "comparison", "low", "", _source(network, "Heusel et al. 2017"), prepare, splits=SPLITS)


def _frechet(
    a: Float[np.ndarray, "n band d"], i: Int[np.ndarray, " n"], b: Float[np.ndarray, "m band d"], j: Int[np.ndarray, " m"]
) -> Measurement:
    each = [frechet_distance(a[:, band], b[:, band]) for band in range(a.shape[1])]
    return Measurement(float(np.mean(each)), np.array(each)[:, None])


def _variety(network: str) -> Metric:
    def prepare(real: Sample, generated: Sample, bins: Bins) -> Prepared:
        bands, rows = _rows(real, generated, network, f"{network} classes")
        return _prepared(_scores, bands, [_with_entropy(log_p) for log_p in rows], None)

    _, name, _ = NETWORKS[network]
    question = f"Does {network} see as many kinds of images, as clearly, as in the real set?"
    return Metric(name, question, "single", "high", "", _source(network, "Salimans et al. 2016"), prepare)


def _with_entropy(log_p: Float[np.ndarray, "n band c"]) -> Float[np.ndarray, "n band c1"]:
    """p of the classes, and after them sum p ln p: a mean over images of these is all that IS needs."""
    p = np.exp(log_p, dtype=float)
    return np.concatenate([p, (p * log_p).sum(axis=2, keepdims=True)], axis=2)


def _scores(x: Float[np.ndarray, "n band c1"], index: Int[np.ndarray, " n"]) -> Measurement:
    each = [_score(mean[:-1], mean[-1]) for mean in x.mean(axis=0)]
    return Measurement(float(np.mean(each)), np.array(each)[:, None])


def _source(network: str, paper: str) -> str:
    return f"{paper}, as Li et al. 2024" + ("" if network == "inception" else f", with {network} in place of Inception-v3")


METRICS = tuple(make(network) for network in NETWORKS for make in (_distance, _variety))
