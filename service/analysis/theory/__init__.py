"""Two-point mean field theory: the gradients of a network of many units, before it is built."""

from service.analysis.theory.predicting import predict
from service.analysis.theory.prediction import LayerPrediction, NoTheory, Phase, Prediction
from service.analysis.theory.preflight import preflight

__all__ = ["LayerPrediction", "NoTheory", "Phase", "Prediction", "predict", "preflight"]
