"""Shapes and errors of each layer; `test_keras_config` compares layers with Keras."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.contract.network import layers, recurrent, reshaping, spatial
from service.contract.network.initializers import LARGEST
from service.contract.network.keras_layers import LAYERS
from service.contract.network.layer import Shape, ShapeMismatch
from service.contract.network.spatial import MAX_PADDED_WINDOW

Json = dict[str, Any]

MISFITS: list[tuple[str, Json, tuple[Shape, ...], str]] = [
    ("Dense", {"units": 2}, ((3,), (3,)), "takes one input, not 2"),
    (
        "Embedding",
        {"input_dim": 2, "output_dim": 2},
        ((2, 2, 2, 2),),
        "takes samples of integers with at most 3 dimensions",
    ),
    ("PReLU", {"shared_axes": [3]}, ((4, 5),), "shared_axes 3, but the axes of its input are 1 to 2"),
    ("BatchNormalization", {"axis": 1}, ((4, 5),), "normalizes the last axis only"),
    ("LayerNormalization", {"axis": -2}, ((4, 5),), "normalizes the last axis only"),
    ("GroupNormalization", {"groups": 3}, ((4,),), "groups 3, which does not divide 4 units"),
    ("GroupNormalization", {"groups": 0}, ((4,),), "groups 0, which does not divide"),
    ("GroupNormalization", {"groups": 32}, ((4,),), "groups 32, which does not divide"),
    ("SpatialDropout1D", {"rate": 0.1}, ((4,),), r"\[steps, channels\], not \[4\]"),
    ("SpatialDropout2D", {"rate": 0.1}, ((4, 4),), r"\[height, width, channels\], not \[4, 4\]"),
    ("Reshape", {"target_shape": [5]}, ((4,),), r"target_shape \[5\], which does not hold the 4 entries"),
    ("Reshape", {"target_shape": [3, -1]}, ((4,),), r"target_shape \[3, -1\], which does not hold the 4 entries"),
    ("Reshape", {"target_shape": []}, ((1,),), "does not hold the 1 entries"),
    ("Permute", {"dims": [1]}, ((4, 4),), "is not a permutation"),
    ("Permute", {"dims": [1, 1]}, ((4, 4),), "is not a permutation"),
    ("Permute", {"dims": [1, 3]}, ((4, 4),), "is not a permutation"),
    ("RepeatVector", {"n": 2}, ((4, 4),), r"\[features\]"),
    ("Add", {}, ((4,),), "takes at least two inputs, not 1"),
    ("Add", {}, ((4,), (3,)), r"cannot merge shapes \[4\], \[3\]"),
    ("Multiply", {}, ((4, 4), (4,)), "cannot merge"),
    ("Subtract", {}, ((4,), (4,), (4,)), "takes two inputs, not 3"),
    ("Concatenate", {}, ((4,),), "at least two inputs"),
    ("Concatenate", {"axis": 0}, ((4,), (4,)), "along axis 0"),
    ("Concatenate", {"axis": 2}, ((4,), (4,)), "along axis 2"),
    ("Concatenate", {"axis": -2}, ((4,), (4,)), "along axis -2"),
    ("Concatenate", {}, ((4, 3), (5, 3)), "cannot join"),
    ("Conv1D", {"filters": 1, "kernel_size": 5}, ((4, 1),), r"a window \[5\] that is larger than its input \[4\]"),
    ("Conv2D", {"filters": 1, "kernel_size": 2, "dilation_rate": 4}, ((4, 9, 1),), "larger than its input"),
    ("Conv1D", {"filters": 1, "kernel_size": 2, "strides": 2, "dilation_rate": 2}, ((9, 1),), "strides and dilation"),
    (
        "MaxPooling1D",
        {"pool_size": MAX_PADDED_WINDOW + 1, "padding": "same"},
        ((4, 1),),
        r"too large for its input \[4\]",
    ),
    ("AveragePooling2D", {"strides": [1, MAX_PADDED_WINDOW + 1]}, ((4, 4, 1),), r"too large for its input \[4, 4\]"),
    ("GlobalMaxPooling1D", {}, ((4,),), r"\[steps, channels\]"),
    ("LSTM", {"units": 2}, ((4,),), r"\[steps, features\]"),
]


@pytest.mark.parametrize(("kind", "told", "inputs", "says"), MISFITS)
def test_a_layer_refuses_inputs_with_a_reason(kind: str, told: Json, inputs: tuple[Shape, ...], says: str) -> None:
    with pytest.raises(ShapeMismatch, match=says):
        LAYERS[kind].model_validate(told).output_shape(*inputs)


WRONG: list[tuple[str, Json]] = [
    *(("Dense", {"units": units}) for units in (0, -1, 2**53, 10**400, True, 3.5, "3", None, [3])),
    ("Dense", {}),
    ("Dense", {"units": 1, "activation": "sin"}),
    ("Dense", {"units": 1, "use_bias": 1}),
    ("Dense", {"units": 1, "kernel_initializer": "xavier"}),
    ("Dense", {"units": 1, "kernel_initializer": {"name": "constant", "value": 2 * LARGEST}}),
    ("Dense", {"units": 1, "kernel_initializer": {"name": "normal", "stddev": -1.0}}),
    ("Dense", {"units": 1, "kernel_initializer": {"name": "normal", "seed": 2**31}}),
    ("Embedding", {"input_dim": 0, "output_dim": 1}),
    ("Embedding", {"input_dim": 1, "output_dim": 1, "mask_zero": True}),
    ("ReLU", {"negative_slope": None}),
    ("ReLU", {"threshold": None}),
    ("ReLU", {"max_value": -1.0}),
    ("ELU", {"alpha": 1e300}),
    ("Rescaling", {"scale": -1e300}),
    ("Rescaling", {"scale": [1.0]}),
    ("Softmax", {"axis": 1}),
    ("BatchNormalization", {"axis": [1, 2]}),
    ("BatchNormalization", {"axis": []}),
    ("BatchNormalization", {"epsilon": 0.0}),
    ("BatchNormalization", {"renorm": True}),
    ("BatchNormalization", {"synchronized": True}),
    ("LayerNormalization", {"rms_scaling": True}),
    *(("Dropout", {"rate": rate}) for rate in (-0.1, 1.0, True, "0.1", None)),
    ("Dropout", {"rate": 0.1, "noise_shape": [1, 2]}),
    ("Dropout", {"rate": 0.1, "seed": -1}),
    ("GaussianNoise", {"stddev": 1.5}),
    ("Flatten", {"data_format": "channels_first"}),
    ("Reshape", {"target_shape": [1, 1, 1, 1, 1]}),
    ("Reshape", {"target_shape": [-2]}),
    ("RepeatVector", {"n": 0}),
    ("Concatenate", {"axis": 5}),
    ("Conv1D", {"filters": 1, "kernel_size": [1, 1]}),
    ("Conv2D", {"filters": 1, "kernel_size": 1, "padding": "causal"}),
    ("Conv2D", {"filters": 1, "kernel_size": [0, 1]}),
    ("Conv2D", {"filters": 1, "kernel_size": 1, "groups": 2}),
    ("Conv2D", {"filters": 1, "kernel_size": 1, "dilation_rate": MAX_PADDED_WINDOW + 1}),
    ("Conv2D", {"filters": 1, "kernel_size": 1, "data_format": "channels_first"}),
    ("MaxPooling1D", {"strides": []}),
    ("MaxPooling1D", {"pool_size": True}),
    ("ZeroPadding1D", {"padding": -1}),
    ("ZeroPadding2D", {"padding": [[1, 1]]}),
    ("UpSampling2D", {"interpolation": "bilinear"}),
    ("LSTM", {"units": 1, "return_state": True}),
    ("LSTM", {"units": 1, "stateful": True}),
    ("GRU", {"units": 1, "zero_output_for_mask": True}),
]


@pytest.mark.parametrize(("kind", "told"), WRONG)
def test_fields_of_another_type_or_size_are_refused(kind: str, told: Json) -> None:
    with pytest.raises(ValidationError):
        LAYERS[kind].model_validate(told)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_field_that_no_layer_has_is_refused(kind: str) -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        LAYERS[kind].model_validate({"no_such_field": None})


def test_a_list_of_one_axis_is_read_as_the_axis() -> None:
    assert layers.LayerNormalization.model_validate({"axis": [2]}) == layers.LayerNormalization(axis=2)


def test_recurrent_layers_are_never_unrolled() -> None:
    assert recurrent.GRU(units=1, unroll=True).arguments()["unroll"] is False


@given(shapes=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=2, max_size=4))
def test_merging_is_the_same_in_any_order(shapes: list[Shape]) -> None:
    def merged(order: list[Shape]) -> Shape | None:
        try:
            return reshaping.Add().output_shape(*order)
        except ShapeMismatch:
            return None

    assert merged(shapes) == merged(shapes[::-1])


@given(steps=st.integers(1, 50), channels=st.integers(1, 5), kernel=st.integers(1, 5), dilation=st.integers(1, 5))
def test_kept_values_are_those_of_the_output_or_more(steps: int, channels: int, kernel: int, dilation: int) -> None:
    plain = spatial.Conv1D.model_validate({"filters": 2, "kernel_size": kernel, "padding": "same"})
    told = {"filters": 2, "kernel_size": kernel, "dilation_rate": dilation, "padding": "causal"}
    padded = spatial.Conv1D.model_validate(told)
    shape = (steps, channels)

    output = plain.output_shape(shape)
    assert padded.output_shape(shape) == output
    assert plain.values(output, shape) == math.prod(output)
    assert padded.values(output, shape) >= plain.values(output, shape) + channels * (steps + dilation * (kernel - 1))


def test_a_recurrent_layer_keeps_its_gates_at_every_step_also_if_it_returns_the_last() -> None:
    assert recurrent.LSTM(units=3).values((3,), (7, 2)) == 7 * (4 + 1) * 3
    assert recurrent.SimpleRNN(units=3, return_sequences=True).values((7, 3), (7, 2)) == 7 * (1 + 1) * 3
