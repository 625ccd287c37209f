"""Networks as graphs: order, reached nodes, depths, shapes and huge sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.network.graph import INPUT, LayerMismatch, Network, Node, in_order
from service.contract.network.layer import Layer
from service.contract.network.layers import Activation, BatchNormalization, Dense, ReLU, Softmax
from service.contract.network.recurrent import LSTM
from service.contract.network.reshaping import Add, Concatenate, Flatten, Identity, RepeatVector, Reshape
from service.contract.network.spatial import Conv1D, UpSampling1D


def row(*layers: Layer) -> Network:
    """Return a chain of layers named n0, n1, ..."""
    nodes = [Node(f"n{i}", layer, (f"n{i - 1}" if i else INPUT,)) for i, layer in enumerate(layers)]
    return Network(tuple(nodes), nodes[-1].name)


def node(name: str, *inputs: str, layer: Layer | None = None) -> Node:
    return Node(name, layer or (Add() if len(inputs) > 1 else Identity()), inputs)


# -------------------------------------------------------------------------------------------------- order


@given(data=st.data(), count=st.integers(1, 12))
def test_the_nodes_of_an_acyclic_graph_are_sorted_from_any_order(data: st.DataObject, count: int) -> None:
    nodes = []
    for i in range(count):
        before = st.sampled_from([INPUT, *(f"n{j}" for j in range(i))])
        nodes.append(node(f"n{i}", *data.draw(st.lists(before, min_size=1, max_size=3))))

    found = in_order(data.draw(st.permutations(nodes)))

    assert sorted(n.name for n in found) == sorted(n.name for n in nodes)
    seen = {INPUT}
    for each in found:
        assert set(each.inputs) <= seen
        seen.add(each.name)


def test_a_valid_order_is_kept() -> None:
    nodes = [node("b", INPUT), node("a", INPUT), node("c", "a", "b"), node("d", "b")]

    assert [n.name for n in in_order(nodes)] == ["b", "a", "c", "d"]


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([node("a", "a")], "layer 'a' is part of a cycle, or depends on one"),
        ([node("a", INPUT), node("b", "a", "c"), node("c", "b")], "layer 'b' is part of a cycle"),
        ([node("a", "b"), node("b", "c"), node("c", "a"), node("d", INPUT)], "layer 'a' is part of a cycle"),
        ([node("a", "nowhere")], "layer 'a' has the input 'nowhere', but there is no such layer"),
    ],
)
def test_the_error_about_a_cycle_or_a_missing_input_names_the_layer(nodes: list[Node], says: str) -> None:
    with pytest.raises(LayerMismatch, match=says):
        in_order(nodes)


def test_a_reversed_chain_of_thousands_is_sorted_without_recursion() -> None:
    nodes = [node(f"n{i}", f"n{i - 1}" if i else INPUT) for i in range(5_000)]

    assert in_order(nodes[::-1]) == tuple(nodes)


# -------------------------------------------------------------------------------------------------- what follows


def branched() -> Network:
    """Return a graph with two paths from `a` to the output, and a branch `lost` that the output does not depend on."""
    return Network(
        (
            node("a", INPUT, layer=Dense(units=4, activation="relu")),
            node("b", "a", layer=Dense(units=4, activation="tanh", trainable=False)),
            node("lost", "a", layer=Dense(units=7, activation="elu")),
            node("sum", "a", "b"),
            node("end", "sum", layer=Dense(units=1, activation="sigmoid")),
        ),
        "end",
    )


def test_shapes_depths_and_variables_of_a_graph() -> None:
    network = branched()

    assert network.shapes((3,)) == {INPUT: (3,), "a": (4,), "b": (4,), "lost": (7,), "sum": (4,), "end": (1,)}
    assert network.depths == {INPUT: 0, "a": 1, "b": 2, "lost": 2, "sum": 2, "end": 3}
    assert network.reached == {"a", "b", "sum", "end"}
    assert [(v.name, v.depth, v.shape, v.has_gradient) for v in network.variables((3,))] == [
        ("a/kernel", 0, (3, 4), True),
        ("a/bias", 0, (4,), True),
        ("lost/kernel", 1, (4, 7), False),
        ("lost/bias", 1, (7,), False),
        ("end/kernel", 2, (4, 1), True),
        ("end/bias", 2, (1,), True),
    ]
    assert network.sized((3,)).parameter_count == 16 + 20 + 35 + 5
    assert network.sized((3,)).values_per_sample == 3 + 4 + 4 + 7 + 4 + 1


def test_hidden_activations_exclude_the_output_activation() -> None:
    assert [n.name for n in branched().hidden_activations] == ["a", "b"]
    assert [n.name for n in row(Dense(units=2), ReLU(), Dense(units=2), Softmax(), Flatten()).hidden_activations] == [
        "n1"
    ]
    assert [(v.name, v.role, v.shape) for v in branched().sized((3,)).activations] == [
        ("a", "activation", (4,)),
        ("b", "activation", (4,)),
    ]


@pytest.mark.parametrize(
    ("layers", "activation"),
    [
        ((Dense(units=2, activation="softmax"),), "softmax"),
        ((Dense(units=2), Softmax()), "softmax"),
        ((Dense(units=2, activation="sigmoid"), Reshape(target_shape=(2,)), Identity()), "sigmoid"),
        ((Dense(units=2), Activation(activation="linear")), "linear"),
        ((Dense(units=2), BatchNormalization()), "linear"),
        ((Dense(units=2, activation="tanh"), BatchNormalization()), "linear"),
        ((LSTM(units=2),), "tanh"),
        ((Flatten(),), "linear"),
    ],
)
def test_the_activation_that_the_loss_reads(layers: tuple[Layer, ...], activation: str) -> None:
    assert row(*layers).output_activation == activation


# -------------------------------------------------------------------------------------------------- sizes


def test_the_error_about_a_shape_names_the_layer() -> None:
    network = row(Dense(units=4), Dense(units=3), RepeatVector(n=2), RepeatVector(n=2))

    with pytest.raises(LayerMismatch, match=r"^layer 'n3' \(RepeatVector\) takes samples of shape \[features\]"):
        network.shapes((2,))


@pytest.mark.parametrize("layers", [[UpSampling1D(size=2**50)] * 1_000, [UpSampling1D(size=2)] * 100])
def test_huge_sizes_are_refused_before_they_are_printed(layers: list[Layer]) -> None:
    with pytest.raises(LayerMismatch, match="values per sample"):
        row(RepeatVector(n=2), *layers).shapes((1,))


def test_samples_larger_than_a_float_can_express_are_refused() -> None:
    with pytest.raises(LayerMismatch, match="values per sample"):
        row(Conv1D(filters=1, kernel_size=(3,), padding="same")).shapes((10**400, 1))


def test_an_output_that_doubles_with_each_layer_is_refused() -> None:
    nodes = [Node(f"n{i}", Concatenate(), (f"n{i - 1}" if i else INPUT,) * 2) for i in range(1_000)]

    with pytest.raises(LayerMismatch, match=r"^layer 'n52'"):
        Network(tuple(nodes), "n999").shapes((1,))
