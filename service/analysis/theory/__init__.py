"""Mean-field theory of deep networks: gradient norms at step 0, predicted before the network is built.

The theory follows moments over the units of a layer for pairs of samples, in the limit of many units (Poole et al.
2016, Schoenholz et al. 2017). docs/theory.md states its equations, its sources and how far it agrees with measurements.
"""

from service.analysis.theory.expected_profile import predict, prediction_for
from service.analysis.theory.prediction import LayerPrediction, NoTheory, Phase, Prediction
from service.analysis.theory.preflight import preflight, warnings_for
from service.analysis.theory.theory_input import TheoryInput

__all__ = [
    "LayerPrediction",
    "NoTheory",
    "Phase",
    "Prediction",
    "TheoryInput",
    "predict",
    "prediction_for",
    "preflight",
    "warnings_for",
]
