"""Predictions compared with simulated networks, and the fields of a prediction."""

import subprocess
import sys
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.theory.__main__ import FORMS, INITIALIZERS, Agreement, agreement
from benchmarks.theory.__main__ import plan_of as plan_of_mlp
from service.analysis import profile
from service.analysis.theory import NoTheory, Prediction, predict
from service.contract.data_shape import shape_of
from service.contract.model_spec import Baseline, HiddenActivation, Mlp
from service.contract.plan import plan
from service.contract.spec import ExperimentSpec
from tests.support.plans import plan_of
from tests.support.simulated_networks import SimulatedNetwork
from tests.support.specs import mlps, presets

DEEP: dict[str, Any] = {"depth": 20, "width": 256}
ACTIVATIONS = get_args(HiddenActivation)
EVERY_ACTIVATION = [(activation, name) for activation in ACTIVATIONS for name in ("glorot_uniform", "he_normal")]
EVERY_INITIALIZER = [(activation, name) for activation in ("relu", "tanh") for name in INITIALIZERS]


def _norms(prediction: Prediction, role: str = "kernel") -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([layer.log10_norm for layer in prediction.layers if layer.role == role], np.float64)


def _errors(samples: int, outputs: int = 1, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).integers(0, 2, (samples, outputs)).astype(np.float64) - 0.48


# -------------------------------------------------------------------------------------------------- simulation


def _agrees(found: Agreement) -> None:
    assert abs(found.slope_error) <= max(0.01, 0.03 * abs(found.slope))
    assert found.profile_error <= 0.1


@pytest.mark.parametrize(("activation", "initializer"), sorted({*EVERY_ACTIVATION, *EVERY_INITIALIZER}))
def test_the_profile_agrees_with_simulated_networks(activation: str, initializer: str) -> None:
    model = {"activation": activation, "kernel_initializer": INITIALIZERS[initializer], **DEEP}

    found = agreement(plan_of_mlp(model), seeds=4, first_seed=0)["conditional"]

    _agrees(found)
    assert found.caveats == ()


@pytest.mark.parametrize("form", sorted(FORMS))
def test_the_profile_agrees_for_normalization_residuals_dropout_and_biases(form: str) -> None:
    planned = plan_of_mlp({**FORMS[form], "depth": 11, "width": 128})

    found = agreement(planned, seeds=16, first_seed=0)

    _agrees(found["conditional"])
    assert found["conditional"].within > 0.6
    assert found["a_priori"].profile_error <= 0.2  # the errors of 16 batches scatter by this much
    assert found["a_priori"].within > 0.7


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh"])
def test_the_a_priori_prediction_is_the_mean_over_many_batches(activation: str) -> None:
    planned = plan_of_mlp({"activation": activation, "depth": 11, "width": 64})

    found = agreement(planned, seeds=100, first_seed=0)["a_priori"]

    assert found.profile_error <= 0.1
    assert found.slope_error == pytest.approx(0, abs=0.01)
    assert found.spread == pytest.approx(found.scatter, rel=0.25)
    assert found.within >= 0.9


def test_gradients_scatter_more_where_derivatives_follow_the_signal() -> None:
    model = {"activation": "gelu", "kernel_initializer": "he_normal", "depth": 11, "width": 64}

    found = agreement(plan_of_mlp(model), seeds=40, first_seed=0)["conditional"]

    # Without this effect the predicted spread is half of the measured scatter.
    assert found.spread == pytest.approx(found.scatter, rel=0.4)


def test_the_profile_agrees_for_layers_of_different_widths() -> None:
    planned = plan_of_mlp({"activation": "tanh", "hidden_units": [300, 100, 400, 60, 200, 200, 80]})

    _agrees(agreement(planned, seeds=12, first_seed=0)["conditional"])


@pytest.mark.parametrize(
    ("data", "loss", "outputs"),
    [
        ({"source": "digits", "scale": "standard"}, "categorical_crossentropy", 10),
        ({"source": "diabetes", "scale": "standard"}, "mse", 1),
        ({"source": "diabetes", "scale": "standard"}, "huber", 1),
        ({"source": "diabetes", "scale": "standard"}, "mae", 1),
    ],
    ids=str,
)
def test_the_profile_agrees_for_every_loss_and_number_of_outputs(data: dict[str, Any], loss: str, outputs: int) -> None:
    model = {"kind": "mlp", "activation": "tanh", "depth": 6, "width": 100}
    planned = plan_of(model=model, data=data, training={"loss": loss})
    assert isinstance(planned.spec.model, Mlp)
    measured = []
    predicted = predict(planned)
    for seed in range(30):
        random = np.random.default_rng(seed)
        inputs = random.standard_normal((32, planned.shape.columns))
        if outputs > 1:
            targets = np.eye(outputs)[random.integers(0, outputs, 32)]
        else:
            targets = 154.3 + 77.2 * random.standard_normal((32, 1))
        step = SimulatedNetwork(planned.spec.model, random).step(inputs, targets, loss)
        measured.append([np.log10(step.norms[layer.name]) for layer in predicted.layers])

    expected = np.array([layer.log10_norm for layer in predicted.layers])
    assert np.sqrt(np.mean((np.mean(measured, axis=0) - expected) ** 2)) <= 0.1


def test_the_gradients_of_gamma_and_beta_are_predicted() -> None:
    planned = plan_of(model={"kind": "mlp", "normalization": "layer", "depth": 5, "width": 100})
    assert isinstance(planned.spec.model, Mlp)
    errors = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        inputs, labels = random.random((32, 20)), random.integers(0, 2, (32, 1)).astype(np.float64)
        step = SimulatedNetwork(planned.spec.model, random).step(inputs, labels, "binary_crossentropy")
        found = predict(planned, inputs, step.errors).layers
        errors.append([f.log10_norm - np.log10(step.norms[f.name]) for f in found if f.role in ("gamma", "beta")])

    assert len(errors[0]) == 10
    assert np.abs(np.mean(errors, axis=0)).max() <= 0.12


# -------------------------------------------------------------------------------------------------- numbers


def test_a_sigmoid_network_loses_0_627_decades_per_layer() -> None:
    planned = plan_of(model={"kind": "mlp", "activation": "sigmoid", "depth": 40, "width": 100_000})

    assert round(predict(planned).slope or 0, 3) == 0.627


def test_batch_normalized_relu_explodes_by_its_published_factor_in_a_large_batch() -> None:
    planned = plan_of(
        model={"kind": "mlp", "normalization": "batch", "depth": 16, "width": 4096},
        data={"source": "random", "samples": 10_000, "scale": "standard"},
        training={"batch_size": 128},
    )

    slope = predict(planned).slope or 0

    assert 10**-slope == pytest.approx(1.2112, abs=0.02)  # Yang et al. 2019, theorem 3.10: √(π / (π − 1))


def test_relu_with_glorot_has_a_flat_profile_of_kernels_and_a_slope_of_biases() -> None:
    planned = plan_of(model={"kind": "mlp", "activation": "relu", "depth": 12, "width": 100_000})

    found = predict(planned)

    assert found.slope == pytest.approx(0, abs=0.02)
    assert profile.slope(10 ** _norms(found, "bias")) == pytest.approx(np.log10(2) / 2, abs=0.02)


# -------------------------------------------------------------------------------------------------- the answer


def test_the_layers_of_a_prediction_are_the_variables_of_the_plan_from_input_to_output() -> None:
    planned = plan_of(model="improved")

    found = predict(planned)

    named = {variable.name: variable for variable in planned.variables}
    assert [layer.name for layer in found.layers] == [v.name for v in planned.variables]
    assert all(
        (layer.layer, layer.depth, layer.role)
        == (named[layer.name].layer, named[layer.name].depth, named[layer.name].role)
        for layer in found.layers
    )


def test_slope_and_level_are_those_of_the_kernels() -> None:
    found = predict(plan_of(model="baseline"))

    assert found.slope == pytest.approx(profile.slope(10 ** _norms(found)))
    assert found.level == pytest.approx(_norms(found)[1:-1].mean())


@pytest.mark.parametrize(("depth", "has_level", "has_slope"), [(1, False, False), (2, True, False), (3, True, True)])
def test_few_hidden_kernels_have_no_slope(depth: int, has_level: bool, has_slope: bool) -> None:
    found = predict(plan_of(model={"kind": "mlp", "depth": depth}))

    assert (found.level is not None, found.slope is not None) == (has_level, has_slope)


def test_a_bias_before_batch_normalization_is_left_out_because_its_gradient_is_zero() -> None:
    model = {"kind": "mlp", "normalization": "batch", "normalization_position": "before_activation"}

    names = {layer.name for layer in predict(plan_of(model=model)).layers}

    assert "dense_3/bias" not in names
    assert {"dense_3/kernel", "batch_normalization_3/beta", "output/bias"} <= names


@pytest.mark.parametrize("model", ["baseline", "improved", {"kind": "mlp", "residual": "post_activation"}], ids=str)
def test_the_same_plan_has_the_same_prediction(model: Any) -> None:
    planned = plan_of(model=model)

    assert predict(planned) == predict(planned)


def test_the_spread_falls_with_the_square_root_of_the_width() -> None:
    def spread(width: int) -> float:
        planned = plan_of(model={"kind": "mlp", "kernel_initializer": "he_normal", "width": width})
        inputs = np.random.default_rng(0).random((32, 20))
        return predict(planned, inputs, _errors(32)).layers[0].spread

    assert spread(64) / spread(256) == pytest.approx(2.0, rel=0.05)


def test_a_conditional_prediction_needs_both_inputs_and_errors() -> None:
    planned = plan_of(model="baseline")
    inputs = np.random.default_rng(0).random((32, 20))

    assert predict(planned).form == "a_priori"
    assert predict(planned, inputs=inputs).form == "a_priori"
    assert predict(planned, inputs, _errors(32)).form == "conditional"


def test_inputs_may_have_any_shape_and_precision() -> None:
    planned = plan_of(model="baseline", data={"source": "digits", "shape": [8, 8, 1]})
    inputs = np.random.default_rng(0).random((32, 8, 8, 1))

    single = predict(planned, inputs.astype(np.float32), _errors(32, 10).astype(np.float32))

    assert _norms(single) == pytest.approx(_norms(predict(planned, inputs.reshape(32, 64), _errors(32, 10))), abs=1e-5)


def test_errors_ten_times_as_large_make_gradients_ten_times_as_large() -> None:
    planned = plan_of(model={"kind": "mlp", "residual": "post_activation"})
    inputs = np.random.default_rng(0).random((32, 20))

    small, large = predict(planned, inputs, _errors(32)), predict(planned, inputs, 10 * _errors(32))

    assert _norms(large) - _norms(small) == pytest.approx(np.ones(12), abs=1e-9)


def test_some_samples_represent_a_large_batch() -> None:
    planned = plan_of(model="baseline", data={"source": "random", "samples": 5000}, training={"batch_size": 2000})
    random = np.random.default_rng(3)
    inputs, errors = random.random((2000, 20)), _errors(2000)

    found = predict(planned, inputs, errors)

    assert any("128 of the 2000 samples of the batch" in caveat for caveat in found.caveats)
    step = SimulatedNetwork(Baseline().as_mlp(), random).step(
        inputs, (errors < 0).astype(np.float64), "binary_crossentropy"
    )
    measured = np.log10([step.norms[f"dense_{depth}/kernel"] for depth in range(11)])
    given = predict(planned, inputs, step.errors)
    assert _norms(given)[:-1] == pytest.approx(measured, abs=4 * given.layers[0].spread)


def test_a_phase_is_given_only_if_the_hidden_layers_are_equal() -> None:
    def has_phase(**model: Any) -> bool:
        return predict(plan_of(model={"kind": "mlp", "activation": "tanh", **model})).phase is not None

    assert has_phase()
    assert not has_phase(normalization="layer")
    assert not has_phase(residual="pre_activation")
    assert not has_phase(dropout=0.1)
    assert not has_phase(hidden_units=[64, 64, 32])
    assert has_phase(hidden_units=[10, 64, 64], kernel_initializer="he_normal")


@pytest.mark.parametrize(
    ("parts", "caveat"),
    [
        ({"model": {"kind": "mlp", "normalization": "batch", "width": 20}}, "normalized together"),
        ({"model": {"kind": "mlp", "normalization": "batch", "depth": 40}}, "chaotic in float32"),
        ({"model": {"kind": "mlp", "residual": "post_activation", "depth": 20}}, "beyond 11 layers"),
        ({"model": {"kind": "mlp", "dropout": 0.3}}, "dropout"),
        ({"model": {"kind": "mlp", "width": 8}}, "8 units"),
        ({"model": {"kind": "mlp", "depth": 80}}, "by width alone"),
        ({"model": "baseline", "data": {"source": "wine"}}, "unscaled"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_cases_in_which_theory_is_inaccurate_have_a_caveat(parts: dict[str, Any], caveat: str) -> None:
    assert any(caveat in sentence for sentence in predict(plan_of(**parts)).caveats)


def test_scipy_is_not_loaded_before_the_first_prediction() -> None:
    loaded = "import sys, service.analysis.theory; sys.exit('scipy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


# -------------------------------------------------------------------------------------------------- without a theory


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ({"kind": "mlp", "kernel_initializer": "zeros"}, "equal weights"),
        ({"kind": "mlp", "kernel_initializer": "identity"}, "identity"),
        ({"kind": "mlp", "output_kernel_initializer": {"name": "constant", "value": 1.0}}, "output: with equal"),
        ({"kind": "mlp", "kernel_initializer": {"name": "normal", "mean": 0.5}}, "around 0.5"),
        ({"kind": "mlp", "kernel_initializer": {"name": "normal", "stddev": 1e30}}, "becomes 0 or infinite"),
        *(
            ({"kind": "mlp", "depth": 4, "width": 32, "bias_initializer": {"name": "constant", "value": b}}, "chance")
            for b in (-2.2, -4.0, -7.6)
        ),
    ],
    ids=str,
)
def test_a_network_without_a_theory_is_refused_with_the_reason(model: dict[str, Any], why: str) -> None:
    with pytest.raises(NoTheory, match=why):
        predict(plan_of(model=model))


def test_a_keras_network_has_no_theory() -> None:
    layer = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "own", "units": 1}}
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "network", "layers": [layer]}}

    with pytest.raises(NoTheory, match="presets and models of kind mlp"):
        predict(plan_of(model={"kind": "keras", "config": config}))


def test_batch_normalization_of_one_sample_has_no_theory() -> None:
    with pytest.raises(NoTheory, match="one sample"):
        predict(plan_of(model="improved", training={"batch_size": 1}))


@given(st.one_of(mlps, presets), st.integers(1, 5), st.sampled_from(["random", "wine", "diabetes", "digits", "blobs"]))
@settings(max_examples=60, deadline=None)
def test_any_network_has_finite_predictions_or_a_reason(model: Any, batch: int, source: str) -> None:
    parts = {"model": model, "data": {"source": source}, "training": {"batch_size": batch}}
    try:
        spec = ExperimentSpec.model_validate(parts).resolved()
        planned = plan(spec, shape_of(spec.data))
    except ValueError:
        return  # an initializer that cannot draw a bias
    for with_batch in (False, True):
        inputs = np.random.default_rng(0).random((batch, *planned.shape.input_shape)) if with_batch else None
        errors = _errors(batch, planned.objective.output_units) if with_batch else None
        try:
            found = predict(planned, inputs, errors)
        except NoTheory:
            continue
        numbers = [(layer.log10_norm, layer.spread) for layer in found.layers]
        assert np.isfinite(numbers).all()
        assert all(spread >= 0 for _, spread in numbers)


def test_a_normalized_batch_larger_than_the_followed_samples_continues_the_trend_of_smaller_ones() -> None:
    def level_of(batch: int) -> float:
        found = predict(plan_of(model={"kind": "improved", "depth": 4}, training={"batch_size": batch})).level
        assert found is not None
        return found

    followed = level_of(128)

    assert level_of(129) == pytest.approx(followed, abs=0.01)
    # The errors of equally likely labels are independent, so the norm of their mean falls as 1/√batch.
    assert level_of(256) == pytest.approx(followed - np.log10(2) / 2, abs=0.02)
    assert level_of(512) == pytest.approx(followed - np.log10(4) / 2, abs=0.02)
