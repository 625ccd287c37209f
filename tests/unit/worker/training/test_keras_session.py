"""Only a `KerasSession` that holds the lock of the process creates layers, and nothing else touches Keras's state."""

import ast
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import worker
from service.contract.network.graph import Node
from tests.support.plans import plan_of
from worker.training.keras_session import NUMBERS_PER_NAME, InitializerOf, KerasSession, KerasSessionError, LayerFactory

WORKER = Path(next(iter(worker.__path__)))
GUARDED = {  # what reads or writes global state of the process
    "keras.Input",
    "keras.KerasTensor",
    "keras.Model",
    "keras.Sequential",
    "keras.StatelessScope",
    "keras.backend.clear_session",
    "keras.layers",
    "keras.models",
    "keras.utils.clear_session",
    "sys.setrecursionlimit",
    "tensorflow.python",
}


def dense() -> Node:
    return plan_of(model={"kind": "mlp", "depth": 1, "width": 3}).network.nodes[0]


def zeros(_: object) -> keras.initializers.Initializer:
    return keras.initializers.Zeros()


INITIALIZER_OF: InitializerOf = zeros


def in_another_thread(action: threading.Thread) -> None:
    action.start()
    action.join()


def test_a_factory_without_the_lock_cannot_be_created() -> None:
    with pytest.raises(KerasSessionError):
        LayerFactory()


def test_a_factory_creates_layers_while_its_session_holds_the_lock_and_refuses_afterwards() -> None:
    with KerasSession().exclusive() as layers:
        assert layers.layer(dense(), "float32", INITIALIZER_OF).units == 3

    for request in (
        lambda: layers.layer(dense(), "float32", INITIALIZER_OF),
        lambda: layers.stateless_layer(dense(), "float32", [(20,)]),
        lambda: layers.input((3,), "float32", "x"),
        lambda: layers.recursion_for(1).__enter__(),
    ):
        with pytest.raises(KerasSessionError):
            request()


def test_a_closed_factory_refuses_even_while_another_session_holds_the_lock() -> None:
    with KerasSession().exclusive() as closed:
        pass

    with KerasSession().exclusive(), pytest.raises(KerasSessionError):
        closed.layer(dense(), "float32", INITIALIZER_OF)


def test_a_factory_refuses_in_another_thread() -> None:
    refusals: list[KerasSessionError] = []

    def request(layers: LayerFactory) -> None:
        try:
            layers.layer(dense(), "float32", INITIALIZER_OF)
        except KerasSessionError as error:
            refusals.append(error)

    with KerasSession().exclusive() as layers:
        in_another_thread(threading.Thread(target=request, args=(layers,)))

    assert len(refusals) == 1


def test_all_sessions_share_one_lock() -> None:
    entered = threading.Event()

    def enter() -> None:
        with KerasSession().exclusive():
            entered.set()

    other = threading.Thread(target=enter)
    with KerasSession().exclusive():
        with KerasSession().exclusive():  # the same thread may enter again
            pass
        other.start()
        assert not entered.wait(0.05)
    other.join()

    assert entered.is_set()


def test_a_stateless_layer_computes_with_the_given_values_and_keeps_its_own() -> None:
    kernel, bias = np.full((2, 3), 2.0), np.full(3, 0.5)
    with KerasSession().exclusive() as layers:
        layer = layers.stateless_layer(dense(), "float64", [(2,)], "linear")

    for _ in range(2):
        output, buffers = layer(
            [tf.ones((1, 2), tf.float64)], [tf.constant(kernel), tf.constant(bias)], [], [], training=True
        )
        np.testing.assert_array_equal(output, np.full((1, 3), 4.5))
        assert buffers == []


def test_the_recursion_limit_is_restored() -> None:
    before = sys.getrecursionlimit()

    with KerasSession().exclusive() as layers, layers.recursion_for(1000):
        assert sys.getrecursionlimit() >= before + 1000

    assert sys.getrecursionlimit() == before


def test_numbers_inside_a_named_trace_start_from_the_name_and_others_go_on_as_before() -> None:
    def numbers(name: str | None) -> list[int]:
        function = tf.function(lambda x: tf.cond(x > 0, lambda: x + 1, lambda: x - 1), autograph=False)
        graph = KerasSession().trace(function, tf.constant(1.0), name=name).graph
        names = [f.signature.name for f in graph.as_graph_def().library.function]
        return [int(name.rpartition("_")[2]) for name in names]

    before, named, after = numbers(None), numbers("0123456789abcdef"), numbers(None)

    start = 0x0123456789 * NUMBERS_PER_NAME
    assert len(named) == 2
    assert all(start <= number < start + 100 for number in named)
    assert max(before) < min(after) < start


def guarded_names(source: str) -> Iterator[str]:
    """The guarded names that a module mentions, as attribute chains or imports."""
    for node in ast.walk(ast.parse(source)):
        mentioned = []
        if isinstance(node, ast.Attribute):
            mentioned = [ast.unparse(node)]
        elif isinstance(node, ast.Import):
            mentioned = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            mentioned = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in mentioned:
            yield from (guarded for guarded in GUARDED if name == guarded or name.startswith(f"{guarded}."))


def test_no_other_module_of_the_worker_creates_layers_or_touches_global_state() -> None:
    annotations = {"keras.Model", "keras.layers"}  # allowed as the type of a value
    found = {path.relative_to(WORKER).as_posix(): set(guarded_names(path.read_text())) for path in WORKER.rglob("*.py")}

    assert found.pop("training/keras_session.py") >= {"keras.layers", "keras.Model", "sys.setrecursionlimit"}
    assert {path: names - annotations for path, names in found.items() if names - annotations} == {}
    assert set(guarded_names("from keras.layers import Dense\nkeras.layers.Dense(3)")) == {"keras.layers"}


def test_no_other_module_of_the_worker_calls_the_constructor_of_a_layer_or_model() -> None:
    for path in WORKER.rglob("*.py"):
        if path.name != "keras_session.py":
            calls = [ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
            assert not [call for call in calls if call.startswith(("keras.Model", "keras.layers"))], path
