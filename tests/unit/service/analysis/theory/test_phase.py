"""Fixed points, compared with values that are known independently of this code."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from service.analysis.theory.activations import ACTIVATIONS
from service.analysis.theory.phase import phase_of

TANH, RELU = ACTIVATIONS["tanh"], ACTIVATIONS["relu"]


def test_the_critical_line_of_tanh() -> None:
    def excess(gain: float) -> float:
        return (phase_of(TANH, gain, bias_variance=0.05).chi_1 or math.nan) - 1

    assert round(brentq(excess, 1.5, 2.0), 4) == 1.7610
    assert phase_of(TANH, 1.7610, bias_variance=0.05).name == "critical"


def test_the_chaotic_phase_of_tanh() -> None:
    phase = phase_of(TANH, 2.5, bias_variance=0.05)

    assert phase.name == "chaotic"
    assert round(phase.q_star or 0, 4) == 1.0640
    assert round(phase.chi_1 or 0, 4) == 1.1335
    assert round(phase.c_star or 0, 4) == 0.4468
    assert round(phase.xi_c or 0, 2) == 11.80


def test_the_phase_of_sigmoid_with_glorot_initialization() -> None:
    phase = phase_of(ACTIVATIONS["sigmoid"], 1.0)

    assert phase.name == "ordered"
    assert round(phase.q_star or 0, 5) == 0.26469
    assert round(phase.chi_1 or 0, 5) == 0.05572
    assert phase.c_star == 1.0
    assert round(-math.log10(phase.chi_1 or 0) / 2, 3) == 0.627


def test_he_is_critical_for_relu_at_any_variance() -> None:
    phase = phase_of(RELU, 2.0)

    assert (phase.name, phase.q_star, phase.c_star, phase.xi_q, phase.xi_c) == ("critical", None, 1.0, None, None)
    assert phase.chi_1 == pytest.approx(1.0, abs=1e-12)


def test_relu_is_ordered_below_the_gain_of_he_and_chaotic_above_it() -> None:
    below, above = phase_of(RELU, 1.0), phase_of(RELU, 3.0)

    assert (below.name, below.q_star) == ("ordered", 0.0)
    assert below.xi_q == pytest.approx(1 / math.log(2))
    assert (above.name, above.q_star) == ("chaotic", None)
    assert above.chi_1 == pytest.approx(1.5)


def test_relu_with_biases_has_the_fixed_point_of_a_geometric_series() -> None:
    phase = phase_of(RELU, 1.0, bias_variance=0.1)

    assert phase.q_star == pytest.approx(0.2, rel=1e-9)  # q = q / 2 + 0.1


def test_the_signal_of_tanh_without_biases_vanishes_up_to_gain_1() -> None:
    assert phase_of(TANH, 1.0).name == "critical"
    assert phase_of(TANH, 0.9).q_star == 0.0
    assert phase_of(TANH, 0.9).c_star is None  # the network is linear there, so angles do not change
    assert phase_of(TANH, 1.5).name == "chaotic"
    assert phase_of(TANH, 1.5).c_star == pytest.approx(0.0, abs=1e-9)


def test_a_constant_bias_moves_the_fixed_point() -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)

    moved = phase_of(TANH, 1.0, bias_mean=0.5)

    q = moved.q_star or math.nan
    assert q == pytest.approx(weights @ np.tanh(0.5 + math.sqrt(q) * nodes) ** 2 / weights.sum(), rel=1e-6)
    assert phase_of(TANH, 1.0).q_star == 0.0


def test_selu_returns_to_variance_1() -> None:
    assert phase_of(ACTIVATIONS["selu"], 1.0).q_star == pytest.approx(1.0, abs=1e-9)  # Klambauer et al. 2017
