"""The layout of the series of gradient norms."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.contract.gradient_norm_layout import GradientNormLayout
from service.contract.recording_spec import Statistic
from tests.support.plans import plan_of

models = st.builds(
    lambda depth, normalization, residual: {
        "kind": "mlp", "depth": depth, "normalization": normalization, "residual": residual
    },
    st.integers(1, 6), st.sampled_from(["none", "batch", "layer"]), st.sampled_from(["none", "post_activation"]),
)  # fmt: skip


@given(models, st.sampled_from(["float32", "float64"]), st.integers(1, 7))
def test_a_layout_agrees_with_the_plan(model: dict[str, Any], precision: str, every: int) -> None:
    planned = plan_of(model=model, training={"precision": precision}, recording={"every": every})

    layout = GradientNormLayout.of(planned)

    rows = planned.rows_of(Statistic.GRADIENT_NORM)
    assert GradientNormLayout.parsed(str(layout)) == layout
    assert layout.row_bytes == planned.bytes_per_step(Statistic.GRADIENT_NORM)
    assert np.dtype(layout.values).itemsize == layout.value_bytes
    assert [rows[i].role for i in layout.kernels] == ["kernel"] * sum(v.role == "kernel" for v in rows)


def test_a_step_has_the_row_that_was_recorded_last() -> None:
    layout = GradientNormLayout("<f4", 4, 10, "k-k")  # 12 bytes per row

    assert layout.bytes_of(0) == layout.bytes_of(9) == (0, 11)
    assert layout.bytes_of(10) == (12, 23)
    assert layout.bytes_of(-1) == (-12, -1)
    assert layout.bytes_of(-2) == (-24, -13)
