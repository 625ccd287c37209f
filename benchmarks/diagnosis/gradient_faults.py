"""Vanishing and exploding gradients."""

from benchmarks.diagnosis.bases import DEEP, DEEP_CLASSES, Base
from benchmarks.diagnosis.family import Draw, Family, Specs
from benchmarks.diagnosis.networks import FITTING, FITTING_SCALE, Json, constant, dense, mlp, rescaling, scaled, stack

MANY = (20, 30)  # numbers of hidden layers
# Problems that thirty layers learn without batch normalization, or for which only the gradient profile counts.
WITHOUT_NORMALIZATION = tuple(base for base in DEEP if base.on in ("digits", "breast_cancer", "random", "circles"))
SMALL_WEIGHTS = ("tanh", "relu", "elu", "gelu", "leaky_relu", "selu", "silu")
LARGE_WEIGHTS = ("relu", "tanh", "leaky_relu", "elu", "selu", "gelu")
DEPTH_OF_STACK = 8
DEEP_RATE = 0.5  # relative to the learning rate for shallow networks


def _pair(base: Base, faulty: Json, sound: Json) -> Specs:
    optimizer = base.optimizer(DEEP_RATE)
    return Specs(base.problem.spec(faulty, optimizer), base.problem.spec(sound, optimizer))


def _vanishing_by_activation(draw: Draw) -> Specs:
    base = draw.turn(DEEP)
    faulty, sound = (mlp(activation, base.depth, base.width) for activation in ("sigmoid", draw.one(["tanh", "elu"])))
    return _pair(base, faulty, sound)


def _vanishing_by_initialization(draw: Draw) -> Specs:
    base, activation = draw.turn(DEEP), draw.turn(SMALL_WEIGHTS)
    small = draw.any([{"name": "normal", "stddev": draw.decades(-3, -1.7)}, scaled(draw.decades(-2, -0.7))])
    weights = (small, FITTING[activation])
    faulty, sound = (mlp(activation, base.depth, base.width, kernel_initializer=kernel) for kernel in weights)
    return _pair(base, faulty, sound)


def _vanishing_by_depth(draw: Draw) -> Specs:
    """A network with so many layers that the gradient vanishes; its twin has three layers and learns."""
    base, activation = draw.turn(DEEP), draw.turn(["relu", "sigmoid", "tanh", "gelu"])
    fields: Json = {"kernel_initializer": "glorot_uniform"}
    if activation == "tanh":  # random biases: the ordered phase of Poole et al. 2016
        noise = {"name": "normal", "stddev": draw.uniform(0.3, 0.5)}
        fields = {"kernel_initializer": scaled(draw.uniform(0.5, 0.8)), "bias_initializer": noise}
    deep = {"relu": 28, "sigmoid": 10, "tanh": 28, "gelu": 18}[activation]
    faulty, sound = (mlp(activation, depth, base.width, **fields) for depth in (deep, 3))
    return _pair(base, faulty, sound)


def _vanishing_in_one_layer(draw: Draw) -> Specs:
    """One layer has almost no output: a sigmoid with very negative biases, or a tiny factor before and after it.

    A dense layer with tiny weights is not such a fault: its own gradient is as large as any other, and it recovers in
    a few steps.
    """
    base, activation = draw.turn(DEEP_CLASSES), draw.one(["tanh", "elu", "selu", "relu"])
    problem, at = base.problem, draw.one(range(2, DEPTH_OF_STACK - 2))
    layers = [dense(base.width, activation) for _ in range(DEPTH_OF_STACK)]
    sound = stack(layers, problem.outputs, problem.output_activation)
    if draw.index % 2:
        layers.insert(at + 1, rescaling(draw.decades(-4, -2.2)))
        right = [f"dense_{at}", f"rescaling_{at + 1}", f"dense_{at + 2}"]  # both kernels are equally near to the fault
    else:
        right = [f"dense_{at}"]
        low = constant(draw.uniform(-7.5, -5.5))  # the derivative is 0.2 to 1.6 % of the maximum of the sigmoid's
        layers[at] = dense(base.width, "sigmoid", scaled(0.2), low)
    faulty = stack(layers, problem.outputs, problem.output_activation)
    optimizer = problem.momentum(DEEP_RATE)  # with Adam, which divides by the gradient's size, such a layer recovers
    return Specs(problem.spec(faulty, optimizer), problem.spec(sound, optimizer), tuple(right))


def _exploding_by_initialization(draw: Draw) -> Specs:
    base, activation = draw.turn(DEEP), draw.turn(LARGE_WEIGHTS)
    weights = (scaled(FITTING_SCALE[activation] * draw.uniform(4, 16)), FITTING[activation])
    faulty, sound = (mlp(activation, base.depth, base.width, kernel_initializer=kernel) for kernel in weights)
    return _pair(base, faulty, sound)


def _exploding_by_batch_normalization(draw: Draw) -> Specs:
    base, depth = draw.turn(WITHOUT_NORMALIZATION), draw.one([30, 36])
    faulty = mlp(
        "relu",
        depth,
        base.width,
        normalization="batch",
        normalization_position=draw.one(["after_activation", "after_activation", "before_activation"]),
        kernel_initializer=draw.any(["glorot_uniform", "he_normal"]),
    )
    return _pair(base, faulty, mlp("relu", depth, base.width))


def _exploding_by_residuals(draw: Draw) -> Specs:
    """Unscaled residual blocks: each adds as much variance as it receives."""
    base, depth, activation = draw.turn(DEEP), draw.one(MANY), draw.one(["relu", "leaky_relu", "elu"])
    fields = {"residual": draw.one(["post_activation", "pre_activation"]), "kernel_initializer": "he_normal"}
    scales = (1.0, "1/sqrt(depth)")
    faulty, sound = (mlp(activation, depth, base.width, residual_scale=scale, **fields) for scale in scales)
    return _pair(base, faulty, sound)


def _exploding_by_rate(draw: Draw) -> Specs:
    """A learning rate so large that each step increases the next gradient."""
    base, activation = draw.turn(DEEP), draw.one(["relu", "leaky_relu", "elu", "gelu"])
    model = mlp(activation, min(base.depth, 8), base.width)
    rates = (draw.decades(1, 2.5), DEEP_RATE)
    return Specs.of(base.problem.spec(model, base.problem.momentum(rate)) for rate in rates)


# Symptoms that the initialization explains.
INITIAL = frozenset({"poor_initialization", "update_ratio_out_of_range"})
VANISHING, EXPLODING = ("vanishing",), ("exploding",)
GRADIENT_FAULTS = (
    Family("vanishing_activation", "sigmoids, deep", _vanishing_by_activation, VANISHING, tolerated=INITIAL),
    Family("vanishing_initialization", "weights too small", _vanishing_by_initialization, VANISHING, tolerated=INITIAL),
    Family("vanishing_depth", "too deep for its initializer", _vanishing_by_depth, VANISHING, tolerated=INITIAL),
    Family(
        "vanishing_layer",
        "one layer passes almost no gradient",
        _vanishing_in_one_layer,
        VANISHING,
        frozenset({"saturation"}),
        INITIAL,
        weight=1.6,
    ),
    Family("exploding_initialization", "weights too large", _exploding_by_initialization, EXPLODING, tolerated=INITIAL),
    Family(
        "exploding_batch_norm",
        "batch normalization, deep",
        _exploding_by_batch_normalization,
        EXPLODING,
        tolerated=INITIAL,
    ),
    Family("exploding_residual", "unscaled residuals, deep", _exploding_by_residuals, EXPLODING, tolerated=INITIAL),
    Family(
        "exploding_rate",
        "learning rate far too large",
        _exploding_by_rate,
        ("diverged", "exploding"),
        frozenset({"exploding"}),
        INITIAL,
        any_name=True,
    ),
)
