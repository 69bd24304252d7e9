"""Metrics: is a set of generated galaxies right, by how much is it wrong, and is that more than chance?

    report = evaluate(real, generated, predict_redshift)      any two GalaxySets; the predictor is optional
    report.results["galaxy_kl"].value, .error, .floor, .z     a number, its error, real against real
    report.summary()                                          three sentences

One file a question; see :mod:`hubbleflow.metrics.metric` for how to add one, and docs/metrics.md for what each means.
"""

from hubbleflow.metrics.evaluate import Report, evaluate
from hubbleflow.metrics.metric import Measurement, Metric, NotComputable, Prepared, all_metrics
from hubbleflow.metrics.result import Result
from hubbleflow.metrics.sample import Sample

__all__ = [
    "Measurement",
    "Metric",
    "NotComputable",
    "Prepared",
    "Report",
    "Result",
    "Sample",
    "all_metrics",
    "evaluate",
]
