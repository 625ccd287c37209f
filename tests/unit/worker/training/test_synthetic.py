"""Generated data have the promised shapes, and each problem has its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets  # noqa: F401  # imported here, so that the first example is not slow

from service.contract.data_shape import shape_of
from service.contract.data_spec import AddingProblem, Blobs, Circles, CopyMemory, Moons, Parity, Teacher, TwoSpirals
from worker.training.synthetic import Classes, Inputs, Synthetic, Targets, make


def _specs(samples: st.SearchStrategy[int]) -> st.SearchStrategy[Synthetic]:
    sizes, noise = st.integers(1, 12), st.floats(0, 10)
    return st.one_of(
        st.builds(Circles, samples=samples, noise=noise, factor=st.floats(0.01, 0.99)),
        st.builds(Moons, samples=samples, noise=noise),
        st.builds(Blobs, samples=samples, features=sizes, classes=st.integers(2, 12), spread=noise),
        st.builds(TwoSpirals, samples=samples, turns=st.floats(0.1, 10), noise=noise),
        st.builds(Parity, samples=samples, bits=sizes),
        st.builds(
            Teacher,
            samples=samples,
            features=sizes,
            classes=st.integers(2, 12),
            depth=st.integers(1, 4),
            width=sizes,
            activation=st.sampled_from(["tanh", "relu"]),
        ),
        st.builds(AddingProblem, samples=samples, length=st.integers(2, 12)),
        st.builds(
            CopyMemory,
            samples=samples,
            length=sizes,
            delay=sizes,
            symbols=st.integers(2, 12),
            encoding=st.sampled_from(["one_hot", "tokens"]),
        ),
    )


def _made(data: Synthetic, seed: int = 0) -> tuple[Inputs, Classes | Targets]:
    return make(data, np.random.default_rng(seed))


@given(data=_specs(st.integers(2, 40)), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_arrays_have_the_shapes_and_dtypes_of_the_spec(data: Synthetic, seed: int) -> None:
    shape = shape_of(data)
    x, y = _made(data, seed)

    assert x.shape == (shape.samples, *shape.input_shape)
    assert y.shape == (shape.samples, *shape.target_shape)
    assert x.dtype == np.float64
    assert np.isfinite(x).all()
    if shape.classes is None:
        assert y.dtype == np.float64
        assert np.isfinite(y).all()
    else:
        assert y.dtype == np.int32
        assert y.min() >= 0
        assert y.max() < shape.classes
    if shape.tokens is not None:
        assert set(x.ravel()) <= set(range(shape.tokens))


@given(data=_specs(st.integers(60, 80)), seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_equal_seeds_give_equal_bytes_and_other_seeds_other_bytes(data: Synthetic, seed: int) -> None:
    first, again, other = _made(data, seed), _made(data, seed), _made(data, seed + 1)

    assert [part.tobytes() for part in first] == [part.tobytes() for part in again]
    assert first[0].tobytes() != other[0].tobytes()


@pytest.mark.parametrize(
    "data", [Circles(), Moons(), Blobs(classes=5), TwoSpirals(), Parity(), Teacher(), CopyMemory()]
)
def test_samples_are_shuffled_so_that_a_split_leaves_all_classes_in_both_parts(data: Synthetic) -> None:
    classes = set(range(shape_of(data).classes or 0))
    _, y = _made(data)

    assert set(y[:800].ravel().tolist()) == set(y[800:].ravel().tolist()) == classes


def test_the_outer_circle_is_class_0_and_the_inner_one_class_1() -> None:
    x, y = _made(Circles(samples=101, noise=0.0, factor=0.3))

    np.testing.assert_allclose(np.hypot(*x.T), np.where(y == 0, 1.0, 0.3))
    assert sorted(np.bincount(y)) == [50, 51]


def test_moons_are_half_circles_and_noise_moves_their_points() -> None:
    x, y = _made(Moons(samples=100, noise=0.0))
    centers = np.where(y[:, None] == 0, [0.0, 0.0], [1.0, 0.5])
    noisy, same = _made(Moons(samples=100, noise=0.1))

    np.testing.assert_allclose(np.hypot(*(x - centers).T), 1)
    np.testing.assert_array_equal(y, same)
    assert 0.05 < (noisy - x).std() < 0.15


def test_blobs_without_spread_are_one_point_per_class() -> None:
    x, y = _made(Blobs(samples=60, features=3, classes=6, spread=0.0))

    assert len(np.unique(x, axis=0)) == len(np.unique(np.column_stack([x, y]), axis=0)) == 6


@given(samples=st.integers(2, 200), turns=st.floats(0.1, 5))
def test_the_angle_of_a_spiral_grows_with_its_radius_and_the_spirals_differ_by_half_a_turn(
    samples: int, turns: float
) -> None:
    x, y = _made(TwoSpirals(samples=samples, turns=turns))
    radius = np.hypot(*x.T)
    angle = 2 * np.pi * turns * radius + np.pi * y

    np.testing.assert_allclose(x, radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), atol=1e-9)
    np.testing.assert_allclose(sorted(radius[y == 0]), np.linspace(0, 1, (samples + 1) // 2 + 1)[1:])
    assert abs(np.diff(np.bincount(y, minlength=2))[0]) <= 1


def test_a_split_leaves_every_part_of_the_spirals_in_both_parts() -> None:
    x, _ = _made(TwoSpirals(samples=1000))
    radius = np.hypot(*x[800:].T)

    np.testing.assert_allclose(np.quantile(radius, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.1)


def test_noise_moves_the_points_of_the_spirals_by_its_standard_deviation() -> None:
    clean, y = _made(TwoSpirals(samples=2000))
    noisy, same = _made(TwoSpirals(samples=2000, noise=0.2))

    np.testing.assert_array_equal(y, same)
    assert (noisy - clean).std() == pytest.approx(0.2, rel=0.1)


@given(bits=st.integers(1, 300))
def test_the_parity_label_is_1_if_the_number_of_ones_is_odd(bits: int) -> None:
    x, y = _made(Parity(samples=50, bits=bits))

    assert set(x.ravel()) == {-1.0, 1.0}
    np.testing.assert_array_equal(y, (x == 1).sum(axis=1) % 2)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("seed", range(5))
def test_a_teacher_of_usual_size_uses_all_its_classes(activation: str, classes: int, seed: int) -> None:
    data = Teacher.model_validate({"samples": 2000, "classes": classes, "activation": activation})
    _, y = _made(data, seed)

    assert set(y.tolist()) == set(range(classes))
    if classes == 2:
        assert 0.35 < y.mean() < 0.65  # without centered logits, most relu teachers prefer one class


def test_the_inputs_of_a_teacher_are_standard_normal_and_its_labels_are_not_linear() -> None:
    x, y = _made(Teacher(samples=5000))

    assert abs(x.mean()) < 0.02
    assert x.std() == pytest.approx(1, abs=0.02)
    fitted = np.linalg.lstsq(x, 2.0 * y - 1, rcond=None)[0]
    assert 0.5 < ((x @ fitted > 0) == y).mean() < 0.95  # a linear teacher would need no hidden layer


def test_the_teacher_does_not_depend_on_the_number_of_samples() -> None:
    few, few_labels = _made(Teacher(samples=500))
    many, many_labels = _made(Teacher(samples=5000))

    np.testing.assert_array_equal(few, many[:500])
    assert (few_labels == many_labels[:500]).mean() > 0.9  # the mean of each logit depends on the samples


@given(length=st.integers(2, 60), seed=st.integers(0, 1000))
def test_the_adding_target_is_the_sum_of_one_marked_number_per_half(length: int, seed: int) -> None:
    x, y = _made(AddingProblem(samples=40, length=length), seed)
    numbers, marks = x[:, :, 0], x[:, :, 1]

    assert ((numbers >= 0) & (numbers < 1)).all()
    assert set(marks.ravel()) <= {0.0, 1.0}
    assert (marks[:, : length // 2].sum(axis=1) == 1).all()
    assert (marks[:, length // 2 :].sum(axis=1) == 1).all()
    np.testing.assert_allclose(y[:, 0], (numbers * marks).sum(axis=1), rtol=1e-12)


def test_every_position_can_be_marked() -> None:
    x, _ = _made(AddingProblem(samples=1000, length=7))

    assert x[:, :, 1].any(axis=0).all()


@given(length=st.integers(1, 9), delay=st.integers(1, 9), symbols=st.integers(2, 9))
def test_the_labels_of_copy_memory_repeat_the_symbols_after_the_delay(length: int, delay: int, symbols: int) -> None:
    x, y = _made(CopyMemory(samples=40, length=length, delay=delay, symbols=symbols, encoding="tokens"))
    shown, blanks = x[:, :length], x[:, length : length + delay - 1]

    assert ((shown >= 1) & (shown <= symbols)).all()
    assert not blanks.any()
    assert (x[:, length + delay - 1] == symbols + 1).all()
    assert not x[:, length + delay :].any()
    assert not y[:, : length + delay].any()
    np.testing.assert_array_equal(y[:, length + delay :], shown)


def test_one_hot_and_tokens_encode_the_same_sequences() -> None:
    one_hot, labels = _made(CopyMemory(samples=30))
    tokens, same = _made(CopyMemory(samples=30, encoding="tokens"))

    assert (one_hot.sum(axis=2) == 1).all()
    assert set(one_hot.ravel()) == {0.0, 1.0}
    np.testing.assert_array_equal(one_hot.argmax(axis=2), tokens)
    np.testing.assert_array_equal(labels, same)
