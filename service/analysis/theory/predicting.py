"""A plan, with or without a run's first batch -> the profile to be expected."""

import numpy as np
import numpy.typing as npt

from service.analysis import profile
from service.analysis.theory.activations import Array
from service.analysis.theory.errors import expected_errors
from service.analysis.theory.inputs import expected_inputs, kernel_of
from service.analysis.theory.perceptron import perceptron_of
from service.analysis.theory.prediction import LayerPrediction, NoTheory, Prediction
from service.analysis.theory.signal import Gradient, Signal
from service.analysis.theory.stages import Found, chain
from service.contract.plan import Plan

MOST_ROWS = 128


def predict(
    plan: Plan, rows: npt.NDArray[np.floating] | None = None, errors: npt.NDArray[np.floating] | None = None
) -> Prediction:
    """The gradient norms of every kernel and bias at step 0."""
    network = perceptron_of(plan)
    stages = list(network.stages())
    if rows is None or errors is None:
        moments, targets, known = expected_inputs(plan)
        second = np.full((2, 2), moments.product)
        np.fill_diagonal(second, moments.square)
        logits, pullback = chain(stages, Signal(np.zeros(2), second))
        e = expected_errors(plan.objective, logits.second, targets)
        weights = np.full((2, 2), e.shared)
        np.fill_diagonal(weights, e.own)
        batch = plan.batch_size
        counts = np.array([[batch / 2, batch * (batch - 1) / 2], [batch * (batch - 1) / 2, batch / 2]])
    else:
        batch = len(rows)
        errors = np.asarray(errors, np.float64).reshape(batch, -1)
        logits, pullback = chain(stages, Signal(np.zeros(batch), kernel_of(np.asarray(rows))))
        weights = errors @ errors.T / errors.shape[1]
        counts = np.ones((batch, batch))
    _, found = pullback(Gradient(weights))
    by_name = {f.name: (np.log10(np.sum(f.pairs * counts) / batch**2) + f.log_scale / np.log(10)) / 2 for f in found}
    layers = tuple(
        LayerPrediction(v.name, v.layer, v.depth, v.role, float(by_name[v.name]), 0.0)
        for v in plan.variables
        if v.name in by_name
    )
    kernels = [10.0 ** by_name[v.name] for v in plan.variables if v.role == "kernel"]
    return Prediction(
        "a_priori" if rows is None else "conditional", profile.slope(kernels), None, layers, None, ()
    )
