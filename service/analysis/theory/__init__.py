"""Two-point mean field theory: the gradients of a network of many units, before it is built."""

from service.analysis.theory.predicting import predict, prediction_for
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
