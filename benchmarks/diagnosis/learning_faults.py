"""Faults of the training: learning rates, clipping, unscaled inputs, too little data."""

from benchmarks.diagnosis.bases import SHALLOW, SHALLOW_CLASSES, UNSCALED
from benchmarks.diagnosis.family import Draw, Family, Specs
from benchmarks.diagnosis.networks import Json, convolutional, mlp, recurrent
from benchmarks.diagnosis.problems import PROBLEMS, Problem

SWINGING = tuple(base for base in SHALLOW if base.on in ("wine", "iris", "breast_cancer", "teacher"))


def _model(draw: Draw) -> tuple[Problem, Json]:
    """Mostly perceptrons, sometimes a convolutional or recurrent network."""
    kind = draw.turn(["mlp", "mlp", "mlp", "convolutional", "mlp", "mlp", "recurrent"])
    if kind == "convolutional":
        problem = PROBLEMS["digits_images"]
        return problem, convolutional(8, "relu", problem.outputs, problem.output_activation)
    if kind == "recurrent":
        problem = PROBLEMS["digits_rows"]
        return problem, recurrent("LSTM", 16, problem.outputs, problem.output_activation)
    base = draw.turn(SHALLOW)
    return base.problem, mlp(draw.one(["relu", "tanh"]), base.depth, base.width)


def _optimizers(draw: Draw, problem: Problem, factor: float) -> tuple[Json, Json]:
    """The same optimizer with a multiple of the suitable learning rate, and with that rate."""
    if draw.index % 2:
        return problem.momentum(factor), problem.momentum()
    return {"name": "adam", "learning_rate": problem.adam * factor}, {"name": "adam", "learning_rate": problem.adam}


def _rate_too_small(draw: Draw) -> Specs:
    problem, model = _model(draw)
    return Specs.of(problem.spec(model, optimizer) for optimizer in _optimizers(draw, problem, draw.decades(-4, -2)))


def _rate_too_large(draw: Draw) -> Specs:
    problem, model = _model(draw)
    factor = draw.decades(1.3, 2.3) if draw.index % 2 else draw.decades(1.5, 3)
    return Specs.of(problem.spec(model, optimizer) for optimizer in _optimizers(draw, problem, factor))


def _oscillation(draw: Draw) -> Specs:
    """A learning rate at which the loss oscillates, with activations that neither die nor saturate at it."""
    base = draw.turn(SWINGING)
    activation, factor = ("tanh", draw.decades(1.3, 2)) if draw.index % 2 else ("elu", draw.decades(1.5, 1.95))
    model = mlp(activation, 3, 32)
    rates = _optimizers(draw, base.problem, factor)
    return Specs.of(base.problem.spec(model, rate, batch_size=16, epochs=16) for rate in rates)


def _overfitting(draw: Draw) -> Specs:
    """A network that can memorize a few noisy samples; its twin has twenty times the samples, and as many steps."""
    data = draw.turn(
        [
            {"source": "teacher", "features": 20, "depth": 1},
            {"source": "moons", "noise": draw.uniform(0.4, 0.5)},
            {"source": "random", "features": 20, "scale": "standard"},
            {"source": "circles", "noise": draw.uniform(0.25, 0.35)},
            {"source": "teacher", "features": 30, "depth": 2},
        ]
    )
    rows, epochs, more = 100, 80, 20
    model = mlp(draw.one(["relu", "tanh", "elu"]), draw.one([2, 3]), 64)
    few = Problem({**data, "samples": rows}, 1, "sigmoid", 20, epochs)
    many = Problem({**data, "samples": more * rows}, 1, "sigmoid", 20, epochs // more)
    optimizer = {"name": "adam", "learning_rate": draw.decades(-2.2, -1.8)}
    return Specs(few.spec(model, optimizer), many.spec(model, optimizer))


def _unscaled_inputs(draw: Draw) -> Specs:
    """Inputs of up to thousands, for unbounded activations."""
    base = draw.turn(UNSCALED[:2])
    model = mlp(draw.one(["relu", "elu", "leaky_relu", "gelu"]), base.depth, base.width)
    rate, _ = _optimizers(draw, base.problem, draw.uniform(0.5, 2))
    return Specs.of(base.problem.spec(model, rate, {"scale": scale}) for scale in ("none", "standard"))


def _clipped_to_nothing(draw: Draw) -> Specs:
    """A clipping threshold so small that every step is tiny."""
    base = draw.turn(SHALLOW_CLASSES)
    problem, model = base.problem, mlp(draw.one(["relu", "tanh"]), base.depth, base.width)
    clipping = {"by": draw.one(["norm", "global_norm"]), "threshold": draw.decades(-4.5, -3)}
    cut = problem.spec(model, problem.momentum(), gradient_clipping=clipping)
    return Specs(cut, problem.spec(model, problem.momentum()))


UPDATES = frozenset({"update_ratio_out_of_range"})
LEARNING_FAULTS = (
    Family(
        "rate_small",
        "learning rate too small",
        _rate_too_small,
        ("slow_convergence",),
        UPDATES | {"loss_not_decreasing"},
    ),
    Family(
        "rate_large",
        "learning rate too large",
        _rate_too_large,
        ("diverged", "loss_not_decreasing", "oscillating_loss", "dead_units", "saturation"),
        UPDATES | {"loss_not_decreasing", "oscillating_loss"},
        any_name=True,
    ),
    Family(
        "oscillation", "learning rate at the limit of stability", _oscillation, ("oscillating_loss",), UPDATES, weight=2
    ),
    Family("overfitting", "few noisy samples", _overfitting, ("overfitting",)),
    Family(
        "unscaled_inputs",
        "unscaled inputs, unbounded units",
        _unscaled_inputs,
        ("exploding", "loss_not_decreasing", "oscillating_loss", "slow_convergence"),
        frozenset({"poor_initialization"}),
        UPDATES,
        any_name=True,
    ),
    Family(
        "clipping",
        "threshold far below the gradient",
        _clipped_to_nothing,
        ("clipping_always_on",),
        UPDATES | {"slow_convergence", "loss_not_decreasing"},
    ),
)
