"""The recursion of a single input, compared with the whole theory."""

from typing import Any

import numpy as np
import pytest

from service.analysis.theory import TheoryInput, predict
from service.analysis.theory.data_moments import expected_data
from service.analysis.theory.perceptron import perceptron_of
from service.analysis.theory.single_input import single_input_recursion
from tests.support.plans import plan_of

FORMS: tuple[dict[str, Any], ...] = (
    {"activation": "sigmoid"},
    {"activation": "relu"},
    {"activation": "tanh", "bias_initializer": {"name": "normal", "stddev": 0.3}},
    {"activation": "selu", "kernel_initializer": "lecun_normal"},
    {"activation": "gelu", "bias_initializer": {"name": "constant", "value": 0.2}},
    {"activation": "relu", "normalization": "batch"},
    {"activation": "relu", "normalization": "batch", "normalization_position": "before_activation"},
    {"activation": "tanh", "normalization": "batch", "normalization_position": "before_activation"},
    {"activation": "relu", "normalization": "layer"},
    {"activation": "gelu", "normalization": "layer", "normalization_position": "before_activation"},
    {"activation": "tanh", "residual": "post_activation"},
    {"activation": "relu", "residual": "post_activation", "residual_scale": "1/sqrt(depth)"},
    {"activation": "relu", "residual": "post_activation", "normalization": "layer"},
    {"activation": "relu", "residual": "pre_activation"},
    {"activation": "relu", "residual": "pre_activation", "normalization": "batch"},
    {"activation": "relu", "residual": "pre_activation", "normalization": "layer"},
)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_decay_over_depth_is_close_to_that_of_the_whole_theory(form: dict[str, Any]) -> None:
    planned = plan_of(
        model={"kind": "mlp", "depth": 20, "width": 4096, **form},
        data={"source": "random", "scale": "standard"},
        training={"batch_size": 128 if form.get("normalization") == "batch" else 32},
    )

    given = TheoryInput.of(planned)
    alone = single_input_recursion(perceptron_of(given), expected_data(given).samples).kernels / 2

    whole = np.array([layer.log10_norm for layer in predict(planned).layers if layer.role == "kernel"])[:-1]
    assert alone[-1] - alone[0] == pytest.approx(whole[-1] - whole[0], abs=0.35)
    assert alone[-1] == pytest.approx(whole[-1], abs=1.5)  # it ignores the errors of a batch of 32
