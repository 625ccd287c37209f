"""What a plan contains, and every reason to refuse a spec before anything is built."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.contract.data_shape import shape_of
from service.contract.data_spec import DataShape
from service.contract.errors import InvalidSpec, LimitExceeded
from service.contract.faults import Excess
from service.contract.plan import Plan, plan
from service.contract.recording_spec import Statistic
from service.contract.spec import ExperimentSpec
from service.contract.workload import Limits
from tests.support.specs import mlps, presets, specs

Json = dict[str, Any]

LIMITS = Limits()
UPLOAD = {"source": "upload", "dataset_id": "0" * 24}


def _plan(limits: Limits | None = LIMITS, shape: DataShape | None = None, **parts: Any) -> Plan:
    spec = ExperimentSpec.model_validate({"model": "baseline", **parts}).resolved()
    return plan(spec, shape or shape_of(spec.data), limits)


def _keras(*layers: tuple[str, Json], input_shape: list[int | None] | None = None) -> Json:
    """Return a Sequential model as `to_json` writes it."""
    listed = [
        {"module": "keras.layers", "class_name": kind, "config": {"name": f"layer_{i}", **fields}}
        for i, (kind, fields) in enumerate(layers)
    ]
    if input_shape is not None:
        fields = {"name": "data", "batch_shape": [None, *input_shape]}
        listed.insert(0, {"module": "keras.layers", "class_name": "InputLayer", "config": fields})
    inner = {"name": "own", "layers": listed}
    return {"kind": "keras", "config": {"module": "keras", "class_name": "Sequential", "config": inner}}


def _dense(units: int, activation: str = "linear", **fields: Any) -> tuple[str, Json]:
    return "Dense", {"units": units, "activation": activation, **fields}


# -------------------------------------------------------------------------------------------------- what follows


@pytest.mark.parametrize("kind", ["baseline", "improved"])
@given(
    depth=st.integers(1, 20),
    width=st.integers(1, 50),
    features=st.integers(1, 50),
    classes=st.integers(2, 12),
)
def test_the_parameter_count_is_the_size_of_all_variables(
    kind: str, depth: int, width: int, features: int, classes: int
) -> None:
    data = {"source": "blobs", "features": features, "classes": classes}
    found = _plan(model={"kind": kind, "depth": depth, "width": width}, data=data)

    assert found.sized.parameter_count == sum(math.prod(variable.shape) for variable in found.variables)
    assert [v.depth for v in found.variables if v.role == "kernel"] == list(range(depth + 1))
    assert len({v.name for v in found.variables}) == len(found.variables)


def _planned_or_refused(body: Json) -> Plan | InvalidSpec | None:
    """Return the plan or the error; None if the schema refuses the spec."""
    try:
        spec = ExperimentSpec.model_validate(body).resolved()
        return plan(spec, shape_of(spec.data), LIMITS)
    except InvalidSpec as refused:
        return refused
    except ValidationError:
        return None


@given(specs(st.one_of(presets, mlps)))
def test_any_spec_of_a_preset_or_perceptron_gives_a_plan_or_an_error_with_a_reason(body: Json) -> None:
    found = _planned_or_refused(body)
    if isinstance(found, InvalidSpec):
        assert found.location[0] in ("model", "data", "training", "recording")
        assert str(found)
    if not isinstance(found, Plan):
        return
    assert found.work.total_steps >= 1
    assert Statistic.GRADIENT_NORM in found.recorded
    assert plan(found.spec, found.shape) == found  # an accepted spec can be planned again


@pytest.mark.parametrize(
    ("data", "loss", "units", "activation", "chosen"),
    [
        ({"source": "circles"}, "auto", 1, "sigmoid", "binary_crossentropy"),
        ({"source": "circles"}, "categorical_crossentropy", 2, "softmax", "categorical_crossentropy"),
        ({"source": "circles"}, "mse", 1, "sigmoid", "mse"),
        ({"source": "digits"}, "auto", 10, "softmax", "categorical_crossentropy"),
        ({"source": "digits"}, "huber", 10, "softmax", "huber"),
        ({"source": "diabetes"}, "auto", 1, "linear", "mse"),
        ({"source": "diabetes"}, "mae", 1, "linear", "mae"),
    ],
)
def test_the_output_layer_and_the_loss_follow_from_the_labels(
    data: Json, loss: str, units: int, activation: str, chosen: str
) -> None:
    found = _plan(data=data, training={"loss": loss})

    assert found.variables[-1].shape == (units,)
    assert (found.network.output_activation, found.objective.loss) == (activation, chosen)
    assert not found.objective.from_logits


def test_a_network_that_ends_in_a_linear_layer_gives_logits_and_a_warning() -> None:
    found = _plan(model=_keras(_dense(3, "relu"), _dense(10)), data={"source": "digits"})

    assert found.objective.from_logits
    assert any("logits" in warning for warning in found.warnings)


def test_samples_are_reshaped_to_the_input_of_the_network_with_a_warning() -> None:
    layers = [("Conv2D", {"filters": 2, "kernel_size": [3, 3]}), ("Flatten", {}), _dense(10, "softmax")]
    found = _plan(model=_keras(*layers, input_shape=[8, 8, None]), data={"source": "digits"})

    assert found.shape.input_shape == (8, 8, 1)
    assert found.warnings == (
        "samples of shape [64] are read with shape [8, 8, 1], which the network's input declares",
    )


def test_an_open_dimension_of_the_input_takes_the_size_of_the_data_without_a_warning() -> None:
    found = _plan(model=_keras(_dense(10, "softmax"), input_shape=[None]), data={"source": "digits"})

    assert (found.shape.input_shape, found.warnings) == ((64,), ())


def test_statistics_have_one_row_per_hidden_activation_or_per_variable() -> None:
    chosen = ["weight_norm", "dead_fraction", "gradient_rms"]
    found = _plan(model={"kind": "mlp", "depth": 3}, recording={"statistics": chosen, "every": 10})

    assert found.recorded == (Statistic.GRADIENT_NORM, Statistic.WEIGHT_NORM, Statistic.DEAD_FRACTION)
    assert len(found.rows_of(Statistic.WEIGHT_NORM)) == 8
    assert [row.name for row in found.rows_of(Statistic.DEAD_FRACTION)] == ["dense_0", "dense_1", "dense_2"]
    assert found.bytes_per_step(Statistic.DEAD_FRACTION) == 3 * 4
    assert found.recorded_steps == 13  # 0, 10, … 120 of 125
    wide = _plan(model={"kind": "mlp", "depth": 3}, training={"precision": "float64"})
    assert wide.bytes_per_step(Statistic.GRADIENT_NORM) == 8 * 8


@pytest.mark.parametrize("training", [{"batch_size": 1}, {"batch_size": 33, "validation_split": 0.0}])
def test_batch_normalization_of_a_single_sample_gives_a_warning(training: Json) -> None:
    data = {"source": "random", "samples": 100}  # batches of 33, 33, 33 and 1 samples

    assert any("batch of one sample" in w for w in _plan(model="improved", data=data, training=training).warnings)
    assert _plan(model="baseline", data=data, training=training).warnings == ()


# -------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("parts", "location", "limit", "value"),
    [
        ({"model": {"kind": "baseline", "depth": 10**9, "width": 1}}, "model.depth", "layers", 10**9),
        ({"model": {"kind": "mlp", "hidden_units": [1] * 1001}}, "model.hidden_units", "layers", 1001),
        ({"model": _keras(*[("Identity", {})] * 1001, _dense(1))}, "model.config", "layers", 1002),
        (
            {"model": {"kind": "baseline", "depth": 1, "width": 10**9}},
            "model",
            "parameters",
            20 * 10**9 + 2 * 10**9 + 1,
        ),
        ({"training": {"epochs": 10**6}}, "training.epochs", "steps", 25 * 10**6),
        (
            {"model": {"kind": "improved", "depth": 400, "width": 1}, "training": {"epochs": 4000}},
            "training.epochs",
            "recorded_values",
            (4 * 400 + 2) * 100_000,
        ),
        (
            {"data": {"source": "random", "samples": 10**6, "features": 100}},
            "data",
            "data_bytes",
            404 * 10**6,
        ),
        (
            {
                "data": {"source": "random", "samples": 10**6, "features": 50},
                "training": {"precision": "float64"},
            },
            "data",
            "data_bytes",
            408 * 10**6,
        ),
        (
            {
                "model": _keras(
                    ("RepeatVector", {"n": 10**7}),
                    ("Flatten", {}),
                    ("Reshape", {"target_shape": [10**7, 20]}),
                    ("GlobalMaxPooling1D", {}),
                    _dense(1),
                ),
            },
            "training.batch_size",
            "batch_values",
            32 * (20 + 3 * 20 * 10**7 + 20 + 1),
        ),
    ],
)
def test_the_error_of_each_limit_names_the_limit_and_the_value(
    parts: Json, location: str, limit: str, value: int
) -> None:
    with pytest.raises(LimitExceeded) as refused:
        _plan(**parts)

    assert refused.value.fault.excess == Excess(limit, value, getattr(LIMITS, limit))
    assert f"{value:,}" in str(refused.value)
    assert ".".join(refused.value.location) == location


@pytest.mark.parametrize("kind", ["baseline", "improved", "mlp"])
def test_a_depth_that_no_memory_could_hold_is_refused_at_once(kind: str) -> None:
    # Listing the variables of 10**15 layers would neither end nor fit into memory.
    model = {"kind": kind, "depth": 10**15, "width": 10**15}

    with pytest.raises(LimitExceeded) as refused:
        _plan(model=model)
    assert refused.value.location == ("model", "depth")
    assert refused.value.fault.excess == Excess("layers", 10**15, LIMITS.layers)
    with pytest.raises(LimitExceeded):
        _plan(model=model, training={"epochs": 10**15})


@pytest.mark.parametrize(
    ("limit", "reached"),
    [
        ("layers", 2),
        ("parameters", 20 * 3 + 3 + 3 * 3 + 3 + 3 + 1),
        ("steps", 125),
        ("recorded_values", 6 * 125),
        ("data_bytes", 1000 * 21 * 4),
        ("batch_values", 32 * (20 + 3 + 3 + 1)),
    ],
)
def test_a_value_may_reach_a_limit_but_not_exceed_it(limit: str, reached: int) -> None:
    model = {"kind": "baseline", "depth": 2, "width": 3}

    _plan(Limits.model_validate({limit: reached}), model=model)
    passed = f"^{limit}: {reached:,} asked for, at most {reached - 1:,} allowed$"
    with pytest.raises(LimitExceeded, match=passed):
        _plan(Limits.model_validate({limit: reached - 1}), model=model)


def test_every_limit_has_a_test_that_reaches_it() -> None:
    assert set(Limits.model_fields) == {
        *("layers", "parameters", "steps", "recorded_values", "data_bytes", "batch_values"),
        *("study_experiments", "study_bytes"),  # tests/integration/api/test_studies.py
    }


@pytest.mark.parametrize(
    ("recording", "values"),
    [({"every": 2}, 6 * 63), ({"statistics": ["weight_norm", "activation_mean", "gradient_rms"]}, (6 + 6 + 2) * 125)],
)
def test_recorded_values_count_every_statistic_at_the_recorded_steps(recording: Json, values: int) -> None:
    model = {"kind": "baseline", "depth": 2, "width": 3}

    _plan(Limits(recorded_values=values), model=model, recording=recording)
    with pytest.raises(LimitExceeded, match="recorded_values"):
        _plan(Limits(recorded_values=values - 1), model=model, recording=recording)


def test_the_default_limits_allow_what_the_documentation_promises() -> None:
    _plan(model={"kind": "baseline", "depth": 1000, "width": 8})
    _plan(model={"kind": "baseline", "depth": 12, "width": 2000})


# -------------------------------------------------------------------------------------------------- contradictions

IMAGES = {"source": "digits", "shape": [8, 8, 1]}
ADDING = {"source": "adding_problem", "length": 5}
COPY = {"source": "copy_memory"}
TOKENS = {"source": "copy_memory", "encoding": "tokens"}
DIABETES = {"source": "diabetes"}
DIGITS = {"source": "digits"}
IRIS = {"source": "iris"}

CONTRADICTIONS: dict[str, tuple[Json, str, str]] = {
    "a loss for classes on numbers": (
        {"data": DIABETES, "training": {"loss": "categorical_crossentropy"}},
        "training.loss",
        "data have regression targets",
    ),
    "... with a network of one's own": (
        {"model": _keras(_dense(1)), "data": DIABETES, "training": {"loss": "binary_crossentropy"}},
        "training.loss",
        "data have regression targets",
    ),
    "the loss for two classes on ten": (
        {"data": DIGITS, "training": {"loss": "binary_crossentropy"}},
        "training.loss",
        "the data have 10",
    ),
    "the loss for one unit per class on one unit": (
        {"model": _keras(_dense(1, "sigmoid")), "training": {"loss": "categorical_crossentropy"}},
        "training.loss",
        "one unit per class",
    ),
    "one unit for ten classes": (
        {"model": _keras(_dense(1, "sigmoid")), "data": DIGITS},
        "model",
        "10 classes, which need 10 softmax units; the network ends in 1",
    ),
    "three units for two classes": (
        {"model": _keras(_dense(3, "softmax"))},
        "model",
        "one sigmoid unit or two softmax units",
    ),
    "sigmoids where softmax is wanted": (
        {"model": _keras(_dense(10, "sigmoid")), "data": DIGITS},
        "model",
        "the network ends in sigmoid",
    ),
    "probabilities for numbers": (
        {"model": _keras(_dense(1, "sigmoid")), "data": DIABETES},
        "model",
        "end in a linear layer",
    ),
    "two numbers where one is wanted": (
        {"model": _keras(_dense(2)), "data": DIABETES},
        "model",
        "targets have shape [1]",
    ),
    "one label a row where each step has one": ({"data": COPY}, "model.kind", "one per time step"),
    "a sequence of labels for one": (
        {"model": _keras(_dense(10, "softmax")), "data": {"source": "digits", "shape": [8, 8]}},
        "model",
        "shape [8, 10] per sample, but the labels need [10]",
    ),
    "an image for a network of sequences": (
        {"model": _keras(("LSTM", {"units": 3}), _dense(10, "softmax")), "data": IMAGES},
        "model.config",
        "layer 'layer_0' (LSTM) takes samples of shape [steps, features]",
    ),
    "rows of another size than the input's": (
        {"model": _keras(_dense(10, "softmax"), input_shape=[65]), "data": DIGITS},
        "model.config",
        "samples of shape [65], but the data have samples of shape [64]",
    ),
    "rows that an open dimension cannot make up for": (
        {"model": _keras(("Flatten", {}), _dense(10, "softmax"), input_shape=[7, None]), "data": DIGITS},
        "model.config",
        "samples of shape [7, None]",
    ),
    "a shape of another size": (
        {"data": {"source": "digits", "shape": [8, 9]}},
        "data.shape",
        "a sample has 64 values",
    ),
    "nothing to train": (
        {"model": _keras(_dense(1, "sigmoid", trainable=False))},
        "model.config",
        "no trainable variable",
    ),
    "more rows to a batch than there are, normalized by batch": (
        {"model": "improved", "training": {"batch_size": 801}},
        "training.batch_size",
        "801 is more than the 800 training samples, which batch normalization",
    ),
    "... in a perceptron": (
        {"model": {"kind": "mlp", "normalization": "batch"}, "data": IRIS, "training": {"batch_size": 121}},
        "training.batch_size",
        "the 120 training samples",
    ),
    "a monitor of classes on numbers": (
        {"data": DIABETES, "training": {"early_stopping": {"monitor": "val_accuracy"}}},
        "training.early_stopping.monitor",
        "choose loss, mse, mae, val_loss, val_mse, val_mae",
    ),
    "a monitor of numbers on classes": (
        {"training": {"early_stopping": {"monitor": "mae"}}},
        "training.early_stopping.monitor",
        "mae is not measured in this run",
    ),
    "a monitor of validation without any": (
        {"training": {"validation_split": 0.0, "early_stopping": {"monitor": "val_loss"}}},
        "training.early_stopping.monitor",
        "needs validation samples",
    ),
    "activations of a network without any": (
        {"model": _keras(_dense(1, "sigmoid")), "recording": {"statistics": ["dead_fraction"]}},
        "recording.statistics",
        "no hidden activation",
    ),
    "a split that leaves nothing to train on": (
        {"data": {"source": "random", "samples": 2}, "training": {"validation_split": 0.99}},
        "training.validation_split",
        "leaves 0 for training and 2 for validation",
    ),
    "a split that leaves nothing to validate with": (
        {"data": {"source": "random", "samples": 10}, "training": {"validation_split": 1e-17}},
        "training.validation_split",
        "leaves 10 for training and 0 for validation",
    ),
    "an embedding of numbers that are none of its rows": (
        {"model": _keras(("Embedding", {"input_dim": 5, "output_dim": 2}), ("Flatten", {}), _dense(3)), "data": IRIS},
        "model.config",
        "needs integers from 0",
    ),
    "an embedding of scaled tokens": (
        {
            "model": _keras(("Embedding", {"input_dim": 17, "output_dim": 2}), ("Flatten", {}), _dense(10)),
            "data": {**DIGITS, "scale": "standard"},
        },
        "model.config",
        "needs integers from 0",
    ),
    "an embedding with too few rows": (
        {
            "model": _keras(("Embedding", {"input_dim": 9, "output_dim": 2}), _dense(9)),
            "data": TOKENS,
        },
        "model.config",
        "input_dim is 9, but the data hold integers up to 9",
    ),
    "an embedding of what another layer computes": (
        {
            "model": _keras(_dense(64), ("Embedding", {"input_dim": 17, "output_dim": 2}), ("Flatten", {}), _dense(10)),
            "data": DIGITS,
        },
        "model.config",
        "must read the data itself",
    ),
    "an orthogonal bias in a network of one's own": (
        {"model": _keras(_dense(4, bias_initializer="orthogonal"), _dense(1))},
        "model.config",
        "bias_initializer: orthogonal fills matrices only",
    ),
    "an identity for the kernel of a convolution": (
        {
            "model": _keras(
                ("Conv2D", {"filters": 2, "kernel_size": [3, 3], "kernel_initializer": "identity"}),
                ("Flatten", {}),
                _dense(10),
            ),
            "data": IMAGES,
        },
        "model.config",
        "kernel_initializer: identity fills matrices only",
    ),
}


@pytest.mark.parametrize("which", CONTRADICTIONS)
def test_the_error_about_a_contradiction_names_the_field(which: str) -> None:
    parts, location, why = CONTRADICTIONS[which]

    with pytest.raises(InvalidSpec) as refused:
        _plan(**parts)

    assert why in str(refused.value)
    assert ".".join(refused.value.location) == location
    assert not isinstance(refused.value, LimitExceeded)


def _targets(*shape: int) -> DataShape:
    return DataShape(samples=100, input_shape=(3,), target_shape=shape, classes=None)


def test_the_output_has_one_unit_per_target() -> None:
    assert _plan(data=UPLOAD, shape=_targets(2)).objective.output_units == 2
    own = _keras(_dense(4, "tanh"), _dense(2))
    assert _plan(data=UPLOAD, shape=_targets(2), model=own).objective.output_units == 2


def test_a_sequence_of_targets_needs_a_keras_model() -> None:
    with pytest.raises(InvalidSpec, match="need a model of kind keras") as refused:
        _plan(data=UPLOAD, shape=_targets(5, 2))

    assert refused.value.location == ("data",)


@pytest.mark.parametrize(
    ("rows", "at"),
    [
        ({"train_rows": 101}, "train_rows"),
        ({"train_rows": 60, "validation_rows": 41}, "train_rows"),
        ({"validation_rows": 100}, "validation_rows"),
        ({"validation_rows": 101}, "validation_rows"),
    ],
)
def test_the_error_about_more_samples_than_were_uploaded_names_the_field(rows: Json, at: str) -> None:
    with pytest.raises(InvalidSpec, match="the data set has 100 samples") as refused:
        _plan(
            data={**UPLOAD, **rows},
            shape=DataShape(samples=100, input_shape=(3,), classes=2),
        )

    assert refused.value.location == ("data", at)


def test_a_spec_may_use_all_uploaded_samples() -> None:
    shape = DataShape(samples=100, input_shape=(3,), classes=2)

    found = _plan(data={**UPLOAD, "train_rows": 60, "validation_rows": 40}, shape=shape)

    assert (found.work.train_rows, found.work.validation_rows) == (60, 40)


def test_a_split_of_0_gives_no_validation_sample_and_a_tiny_split_one() -> None:
    def validation_rows(split: float) -> int:
        return _plan(training={"validation_split": split}).work.validation_rows

    assert validation_rows(0.0) == 0
    assert validation_rows(1e-9) == 1  # the number of training samples is rounded down, as in Keras


def test_a_run_that_version_0_1_0_accepted_can_be_read_although_it_would_be_refused_now() -> None:
    full_batch: Json = {"model": "improved", "training": {"batch_size": 1000}}

    with pytest.raises(InvalidSpec):
        _plan(**full_batch)
    assert _plan(None, **full_batch).work.total_steps == 5
