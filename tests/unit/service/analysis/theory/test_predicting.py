"""Predictions against networks with explicit weights, and what an answer says of itself."""

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


def _errors(rows: int, outputs: int = 1, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).integers(0, 2, (rows, outputs)).astype(np.float64) - 0.48


# -------------------------------------------------------------------------------------------------- simulation


def _holds(found: Agreement) -> None:
    assert abs(found.slope_error) <= max(0.01, 0.03 * abs(found.slope))
    assert found.profile_error <= 0.1


@pytest.mark.parametrize(("activation", "initializer"), sorted({*EVERY_ACTIVATION, *EVERY_INITIALIZER}))
def test_the_profile_is_that_of_networks_with_weights(activation: str, initializer: str) -> None:
    model = {"activation": activation, "kernel_initializer": INITIALIZERS[initializer], **DEEP}

    found = agreement(plan_of_mlp(model), seeds=4, first_seed=0)["conditional"]

    _holds(found)
    assert found.caveats == ()


@pytest.mark.parametrize("form", sorted(FORMS))
def test_normalization_residuals_dropout_and_biases_follow_the_same_law(form: str) -> None:
    planned = plan_of_mlp({**FORMS[form], "depth": 11, "width": 128})

    found = agreement(planned, seeds=16, first_seed=0)

    _holds(found["conditional"])
    assert found["conditional"].within > 0.6
    assert found["a_priori"].profile_error <= 0.2  # the errors of 16 batches scatter by as much
    assert found["a_priori"].within > 0.7


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh"])
def test_the_a_priori_form_is_the_mean_over_many_batches(activation: str) -> None:
    planned = plan_of_mlp({"activation": activation, "depth": 11, "width": 64})

    found = agreement(planned, seeds=100, first_seed=0)["a_priori"]

    assert found.profile_error <= 0.1
    assert found.slope_error == pytest.approx(0, abs=0.01)
    assert found.spread == pytest.approx(found.scatter, rel=0.25)
    assert found.within >= 0.9


def test_where_slopes_follow_the_signal_gradients_spread_with_it() -> None:
    model = {"activation": "gelu", "kernel_initializer": "he_normal", "depth": 11, "width": 64}

    found = agreement(plan_of_mlp(model), seeds=40, first_seed=0)["conditional"]

    assert found.spread == pytest.approx(found.scatter, rel=0.4)  # without it, half of what is measured


def test_widths_that_change_keep_the_law() -> None:
    planned = plan_of_mlp({"activation": "tanh", "hidden_units": [300, 100, 400, 60, 200, 200, 80]})

    _holds(agreement(planned, seeds=12, first_seed=0)["conditional"])


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
def test_losses_and_outputs_of_every_kind(data: dict[str, Any], loss: str, outputs: int) -> None:
    model = {"kind": "mlp", "activation": "tanh", "depth": 6, "width": 100}
    planned = plan_of(model=model, data=data, training={"loss": loss})
    assert isinstance(planned.spec.model, Mlp)
    measured = []
    predicted = predict(planned)
    for seed in range(30):
        random = np.random.default_rng(seed)
        rows = random.standard_normal((32, planned.shape.columns))
        if outputs > 1:
            targets = np.eye(outputs)[random.integers(0, outputs, 32)]
        else:
            targets = 154.3 + 77.2 * random.standard_normal((32, 1))
        step = SimulatedNetwork(planned.spec.model, random).step(rows, targets, loss)
        measured.append([np.log10(step.norms[layer.name]) for layer in predicted.layers])

    expected = np.array([layer.log10_norm for layer in predicted.layers])
    assert np.sqrt(np.mean((np.mean(measured, axis=0) - expected) ** 2)) <= 0.1


def test_normalizations_own_gradients_are_predicted_too() -> None:
    planned = plan_of(model={"kind": "mlp", "normalization": "layer", "depth": 5, "width": 100})
    assert isinstance(planned.spec.model, Mlp)
    errors = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        rows, labels = random.random((32, 20)), random.integers(0, 2, (32, 1)).astype(np.float64)
        step = SimulatedNetwork(planned.spec.model, random).step(rows, labels, "binary_crossentropy")
        found = predict(planned, rows, step.errors).layers
        errors.append([f.log10_norm - np.log10(step.norms[f.name]) for f in found if f.role in ("gamma", "beta")])

    assert len(errors[0]) == 10
    assert np.abs(np.mean(errors, axis=0)).max() <= 0.12


# -------------------------------------------------------------------------------------------------- numbers


def test_a_sigmoid_network_loses_0_627_decades_a_layer() -> None:
    planned = plan_of(model={"kind": "mlp", "activation": "sigmoid", "depth": 40, "width": 100_000})

    assert round(predict(planned).slope or 0, 3) == 0.627


def test_batch_normalized_relu_explodes_by_its_known_factor_in_a_large_batch() -> None:
    planned = plan_of(
        model={"kind": "mlp", "normalization": "batch", "depth": 16, "width": 4096},
        data={"source": "random", "samples": 10_000, "scale": "standard"},
        training={"batch_size": 128},
    )

    slope = predict(planned).slope or 0

    assert 10**-slope == pytest.approx(1.2112, abs=0.02)  # Yang et al. 2019, theorem 3.10: √(π / (π − 1))


def test_glorot_relu_has_a_flat_kernel_profile_and_its_biases_show_the_slope() -> None:
    planned = plan_of(model={"kind": "mlp", "activation": "relu", "depth": 12, "width": 100_000})

    found = predict(planned)

    assert found.slope == pytest.approx(0, abs=0.02)
    assert profile.slope(10 ** _norms(found, "bias")) == pytest.approx(np.log10(2) / 2, abs=0.02)


# -------------------------------------------------------------------------------------------------- the answer


def test_layers_are_the_plans_variables_from_input_to_output() -> None:
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


def test_a_bias_before_batch_normalization_is_left_out_for_it_has_no_gradient() -> None:
    model = {"kind": "mlp", "normalization": "batch", "normalization_position": "before_activation"}

    names = {layer.name for layer in predict(plan_of(model=model)).layers}

    assert "dense_3/bias" not in names
    assert {"dense_3/kernel", "batch_normalization_3/beta", "output/bias"} <= names


@pytest.mark.parametrize("model", ["baseline", "improved", {"kind": "mlp", "residual": "post_activation"}], ids=str)
def test_the_same_question_has_the_same_answer(model: Any) -> None:
    planned = plan_of(model=model)

    assert predict(planned) == predict(planned)


def test_the_spread_falls_as_the_root_of_the_width() -> None:
    def spread(width: int) -> float:
        planned = plan_of(model={"kind": "mlp", "kernel_initializer": "he_normal", "width": width})
        rows = np.random.default_rng(0).random((32, 20))
        return predict(planned, rows, _errors(32)).layers[0].spread

    assert spread(64) / spread(256) == pytest.approx(2.0, rel=0.05)


def test_both_rows_and_errors_make_the_conditional_form() -> None:
    planned = plan_of(model="baseline")
    rows = np.random.default_rng(0).random((32, 20))

    assert predict(planned).form == "a_priori"
    assert predict(planned, rows=rows).form == "a_priori"
    assert predict(planned, rows, _errors(32)).form == "conditional"


def test_rows_of_any_shape_and_precision_are_read() -> None:
    planned = plan_of(model="baseline", data={"source": "digits", "shape": [8, 8, 1]})
    rows = np.random.default_rng(0).random((32, 8, 8, 1))

    single = predict(planned, rows.astype(np.float32), _errors(32, 10).astype(np.float32))

    assert _norms(single) == pytest.approx(_norms(predict(planned, rows.reshape(32, 64), _errors(32, 10))), abs=1e-5)


def test_errors_ten_times_as_large_make_gradients_ten_times_as_large() -> None:
    planned = plan_of(model={"kind": "mlp", "residual": "post_activation"})
    rows = np.random.default_rng(0).random((32, 20))

    small, large = predict(planned, rows, _errors(32)), predict(planned, rows, 10 * _errors(32))

    assert _norms(large) - _norms(small) == pytest.approx(np.ones(12), abs=1e-9)


def test_of_a_large_batch_some_rows_stand_for_all() -> None:
    planned = plan_of(model="baseline", data={"source": "random", "samples": 5000}, training={"batch_size": 2000})
    random = np.random.default_rng(3)
    rows, errors = random.random((2000, 20)), _errors(2000)

    found = predict(planned, rows, errors)

    assert any("128 of the batch's 2000 rows" in caveat for caveat in found.caveats)
    step = SimulatedNetwork(Baseline().as_mlp(), random).step(
        rows, (errors < 0).astype(np.float64), "binary_crossentropy"
    )
    measured = np.log10([step.norms[f"dense_{depth}/kernel"] for depth in range(11)])
    given = predict(planned, rows, step.errors)
    assert _norms(given)[:-1] == pytest.approx(measured, abs=4 * given.layers[0].spread)


def test_a_phase_is_named_where_layers_repeat_and_nowhere_else() -> None:
    def named(**model: Any) -> bool:
        return predict(plan_of(model={"kind": "mlp", "activation": "tanh", **model})).phase is not None

    assert named()
    assert not named(normalization="layer")
    assert not named(residual="pre_activation")
    assert not named(dropout=0.1)
    assert not named(hidden_units=[64, 64, 32])
    assert named(hidden_units=[10, 64, 64], kernel_initializer="he_normal")


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
def test_what_is_loose_is_said(parts: dict[str, Any], caveat: str) -> None:
    assert any(caveat in sentence for sentence in predict(plan_of(**parts)).caveats)


def test_scipy_is_loaded_by_the_first_prediction_and_not_before() -> None:
    loaded = "import sys, service.analysis.theory; sys.exit('scipy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


# -------------------------------------------------------------------------------------------------- what has none


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
def test_a_network_beyond_theory_says_why(model: dict[str, Any], why: str) -> None:
    with pytest.raises(NoTheory, match=why):
        predict(plan_of(model=model))


def test_a_network_of_ones_own_has_no_theory() -> None:
    layer = {"module": "keras.layers", "class_name": "Dense", "config": {"name": "own", "units": 1}}
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "network", "layers": [layer]}}

    with pytest.raises(NoTheory, match="presets and for models of kind mlp"):
        predict(plan_of(model={"kind": "keras", "config": config}))


def test_batch_normalization_of_one_row_has_no_theory() -> None:
    with pytest.raises(NoTheory, match="one row"):
        predict(plan_of(model="improved", training={"batch_size": 1}))


@given(st.one_of(mlps, presets), st.integers(1, 5), st.sampled_from(["random", "wine", "diabetes", "digits", "blobs"]))
@settings(max_examples=60, deadline=None)
def test_any_network_has_finite_numbers_or_a_reason(model: Any, batch: int, source: str) -> None:
    parts = {"model": model, "data": {"source": source}, "training": {"batch_size": batch}}
    try:
        spec = ExperimentSpec.model_validate(parts).resolved()
        planned = plan(spec, shape_of(spec.data))
    except ValueError:
        return  # an initializer that draws no vector
    for given_rows in (False, True):
        rows = np.random.default_rng(0).random((batch, *planned.shape.input_shape)) if given_rows else None
        errors = _errors(batch, planned.objective.output_units) if given_rows else None
        try:
            found = predict(planned, rows, errors)
        except NoTheory:
            continue
        numbers = [(layer.log10_norm, layer.spread) for layer in found.layers]
        assert np.isfinite(numbers).all()
        assert all(spread >= 0 for _, spread in numbers)


def test_a_normalized_batch_of_more_rows_than_are_followed_is_predicted_as_it_goes_on_from_fewer() -> None:
    def level_of(batch: int) -> float:
        found = predict(plan_of(model={"kind": "improved", "depth": 4}, training={"batch_size": batch})).level
        assert found is not None
        return found

    followed = level_of(128)

    assert level_of(129) == pytest.approx(followed, abs=0.01)
    # Errors of fair labels are independent: the norm of their mean falls as 1/√batch.
    assert level_of(256) == pytest.approx(followed - np.log10(2) / 2, abs=0.02)
    assert level_of(512) == pytest.approx(followed - np.log10(4) / 2, abs=0.02)
