"""Warnings at submission: which networks cause them, and with which numbers."""

import re
from typing import Any

import pytest

from service.analysis.theory import predict, preflight
from tests.support.plans import plan_of


def _normal(gain: float, width: int = 64) -> dict[str, Any]:
    return {"name": "normal", "stddev": (gain / width) ** 0.5}


def _warnings(data: dict[str, Any] | None = None, **model: Any) -> tuple[str, ...]:
    return preflight(plan_of(model={"kind": "mlp", **model}, data=data or {"source": "random"}))


@pytest.mark.parametrize(
    "model",
    [
        {"activation": "relu", "kernel_initializer": "he_normal"},
        {"activation": "relu", "kernel_initializer": "he_normal", "depth": 50},
        {"activation": "relu"},
        {"activation": "leaky_relu"},
        {"activation": "tanh", "depth": 30},
        {"activation": "elu"},
        {"activation": "selu", "kernel_initializer": "lecun_normal", "depth": 50},
        {"activation": "gelu"},
        {"activation": "sigmoid", "depth": 4},
        {"activation": "relu", "normalization": "batch"},
        {"activation": "relu", "normalization": "batch", "normalization_position": "before_activation"},
        {"activation": "relu", "normalization": "layer"},
        {"activation": "relu", "residual": "post_activation"},
        {"activation": "relu", "residual": "post_activation", "residual_scale": "1/sqrt(depth)", "depth": 50},
        {"activation": "relu", "residual": "pre_activation", "normalization": "layer", "depth": 50},
        {"activation": "relu", "residual": "pre_activation", "normalization": "batch", "depth": 50},
        {"activation": "tanh", "kernel_initializer": _normal(1.0), "dropout": 0.2},
    ],
    ids=str,
)
def test_sound_networks_cause_no_warning(model: dict[str, Any]) -> None:
    assert _warnings(**model) == ()


def test_the_warning_about_the_baseline_says_by_how_much_the_gradient_vanishes() -> None:
    planned = plan_of(model="baseline")

    (warning,) = preflight(planned)

    kernels = [layer.log10_norm for layer in predict(planned).layers if layer.role == "kernel"]
    match = re.fullmatch(
        r"vanishing gradient: the gradient reaching layer 1 will be about 10\^(-\d\.\d) of that at layer 11 .*", warning
    )
    assert match is not None
    assert float(match[1]) == pytest.approx(kernels[0] - kernels[-2], abs=0.2)


def test_gradients_may_vanish_in_all_layers_alike() -> None:
    (warning,) = _warnings(activation="relu", depth=50)

    assert re.fullmatch(
        r"vanishing gradient: an entry .* about 10\^-8\.\d, in all layers alike \(from relu, σ_w² = 1\)", warning
    )


@pytest.mark.parametrize(
    ("model", "start"),
    [
        ({"normalization": "batch", "depth": 50}, r"exploding gradient: .* at least 10\^4\.\d times that at layer 50"),
        ({"normalization": "layer", "depth": 50}, r"exploding gradient: .* about 10\^4\.\d times that at layer 50"),
        ({"kernel_initializer": _normal(8.0), "depth": 30}, r"exploding gradient: an entry of layer \d+'s gradient"),
        ({"residual": "post_activation", "depth": 50}, r"exploding gradient: an entry of layer 50's gradient"),
    ],
    ids=str,
)
def test_exploding_networks_are_warned_about(model: dict[str, Any], start: str) -> None:
    assert re.match(start, _warnings(activation="relu", **model)[0])


def test_batch_normalization_of_relu_has_its_published_factor() -> None:
    warning = _warnings(activation="relu", normalization="batch", depth=50)[0]

    factor = re.search(r"a factor of (\d\.\d\d) per layer", warning)
    assert factor is not None
    # √(π / (π − 1)) for a large batch (Yang et al. 2019); epsilon reduces it a little.
    assert float(factor[1]) == pytest.approx(1.2112, abs=0.02)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ({"activation": "tanh", "kernel_initializer": _normal(100.0)}, {"source": "random"}),
        ({"activation": "tanh", "depth": 3}, {"source": "breast_cancer"}),
        ({"activation": "sigmoid", "depth": 3}, {"source": "wine"}),
    ],
    ids=str,
)
def test_the_fraction_of_saturated_units_is_stated(model: dict[str, Any], data: dict[str, Any]) -> None:
    warnings = _warnings(data, **model)

    assert any(re.match(r"saturation: about \d\d % of the (tanh|sigmoid) units of layer \d+", w) for w in warnings)


def test_a_signal_outside_the_range_of_a_float64_is_reported_as_infinite() -> None:
    (warning,) = _warnings(activation="relu", kernel_initializer={"name": "normal", "stddev": 1e30})

    assert warning.startswith("the signal becomes 0 or infinite")


def test_a_network_without_a_theory_has_no_warning() -> None:
    assert _warnings(kernel_initializer="zeros") == ()


def test_a_layer_whose_biases_switch_its_units_off_is_named() -> None:
    bias = {"name": "constant", "value": -4.0}
    model = {"kind": "mlp", "depth": 3, "width": 32, "kernel_initializer": "he_normal", "bias_initializer": bias}

    (warning,) = preflight(plan_of(model=model))

    assert warning.startswith("dead units: of the 32 units of layer 1 only ")
    assert preflight(plan_of(model=model | {"bias_initializer": "zeros"})) == ()
