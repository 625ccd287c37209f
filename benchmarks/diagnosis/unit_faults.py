"""Dead and saturated hidden units."""

from benchmarks.diagnosis.bases import SHALLOW, SHALLOW_CLASSES, UNSCALED
from benchmarks.diagnosis.family import Draw, Family, Specs
from benchmarks.diagnosis.gradient_faults import INITIAL
from benchmarks.diagnosis.networks import FITTING, constant, dense, mlp, scaled, stack

DEPTH = 5  # number of hidden layers if one of them is faulty


def _dead_by_bias(draw: Draw) -> Specs:
    base = draw.turn(SHALLOW)
    biases = (constant(-draw.uniform(2.0, 8.0)), "zeros")
    models = (mlp("relu", base.depth, base.width, bias_initializer=bias) for bias in biases)
    return Specs.of(base.problem.spec(model, base.optimizer()) for model in models)


def _dead_by_rate(draw: Draw) -> Specs:
    """The first steps move units so far that no sample activates them."""
    base = draw.turn(SHALLOW)
    problem, model = base.problem, mlp("relu", base.depth, base.width)
    faster = draw.uniform(5, 40) if base.optimizer_name == "sgd" else draw.decades(1.5, 2.5)
    return Specs.of(problem.spec(model, base.optimizer(factor)) for factor in (faster, 1.0))


def _dead_in_one_layer(draw: Draw) -> Specs:
    base, at = draw.turn(SHALLOW_CLASSES), draw.integer(0, DEPTH - 1)
    ready = constant(0.1)  # otherwise all layers after a dead one are dead too
    layers = [dense(base.width, "relu", bias=ready) for _ in range(DEPTH)]
    faulty = [*layers]
    faulty[at] = dense(base.width, "relu", bias=constant(-draw.uniform(4.0, 10.0)))
    models = (stack(each, base.problem.outputs, base.problem.output_activation) for each in (faulty, layers))
    return Specs.of((base.problem.spec(model, base.optimizer()) for model in models), f"dense_{at}")


def _saturated_by_initialization(draw: Draw) -> Specs:
    base, activation = draw.turn(SHALLOW), draw.one(["tanh", "tanh", "sigmoid"])
    large = scaled(draw.decades(1.5, 3) if activation == "tanh" else draw.decades(2.7, 4))
    weights, depth = (large, FITTING[activation]), base.depth if activation == "tanh" else min(base.depth, 2)
    models = (mlp(activation, depth, base.width, kernel_initializer=kernel) for kernel in weights)
    return Specs.of(base.problem.spec(model, base.optimizer()) for model in models)


def _saturated_by_inputs(draw: Draw) -> Specs:
    base, activation = draw.turn(UNSCALED), draw.one(["tanh", "tanh", "sigmoid"])
    model = mlp(activation, base.depth if activation == "tanh" else 2, base.width)
    rate = base.optimizer(draw.uniform(0.5, 2))
    scales = ("none", "standard")
    return Specs.of((base.problem.spec(model, rate, {"scale": scale}) for scale in scales), "dense_0")


def _saturated_in_one_layer(draw: Draw) -> Specs:
    base, at = draw.turn(SHALLOW_CLASSES), draw.integer(0, DEPTH - 1)
    layers = [dense(base.width, "tanh") for _ in range(DEPTH)]
    faulty = [*layers]
    wide = {"name": "random_normal", "stddev": draw.uniform(8.0, 20.0)}
    faulty[at] = draw.any(
        [dense(base.width, "tanh", scaled(draw.decades(1.8, 3.3))), dense(base.width, "tanh", bias=wide)]
    )
    models = (stack(each, base.problem.outputs, base.problem.output_activation) for each in (faulty, layers))
    return Specs.of((base.problem.spec(model, base.optimizer()) for model in models), f"dense_{at}")


UNIT_FAULTS = (
    Family("dead_bias", "biases far below zero", _dead_by_bias, ("dead_units",), tolerated=INITIAL),
    Family("dead_rate", "learning rate that kills units", _dead_by_rate, ("dead_units",), tolerated=INITIAL),
    Family(
        "dead_layer",
        "one layer's biases far below zero",
        _dead_in_one_layer,
        ("dead_units",),
        tolerated=INITIAL,
        weight=1.5,
    ),
    Family(
        "saturation_initialization",
        "weights too large",
        _saturated_by_initialization,
        ("saturation",),
        tolerated=INITIAL,
    ),
    Family(
        "saturation_inputs", "unscaled inputs, bounded units", _saturated_by_inputs, ("saturation",), tolerated=INITIAL
    ),
    Family(
        "saturation_layer",
        "one layer's weights or biases too large",
        _saturated_in_one_layer,
        ("saturation",),
        tolerated=INITIAL,
        weight=1.5,
    ),
)
