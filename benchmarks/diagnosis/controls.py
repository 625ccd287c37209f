"""Healthy controls of many kinds, which a rule with a single threshold would report as faulty."""

from benchmarks.diagnosis.bases import LEARNABLE, SHALLOW, SHALLOW_CLASSES
from benchmarks.diagnosis.family import Draw, Family, Specs
from benchmarks.diagnosis.networks import Json, convolutional, dense, mlp, recurrent, stack
from benchmarks.diagnosis.problems import PROBLEMS

ACTIVATIONS = ("relu", "tanh", "elu", "selu", "gelu", "leaky_relu", "silu")


def _factor(draw: Draw) -> float:
    """A learning rate near the suitable one."""
    return draw.uniform(0.6, 1.5)


def _shallow(draw: Draw) -> Specs:
    base = draw.turn(SHALLOW)
    model = mlp(draw.turn(ACTIVATIONS), base.depth, base.width)
    return Specs(base.problem.spec(model, base.optimizer(_factor(draw))))


def _deep(draw: Draw) -> Specs:
    base = draw.turn(LEARNABLE)
    model = mlp(draw.turn(["relu", "tanh", "elu", "selu", "leaky_relu"]), base.depth, base.width)
    return Specs(base.problem.spec(model, base.optimizer(0.5 * _factor(draw))))


def _shallow_sigmoid(draw: Draw) -> Specs:
    """Sigmoids lose 0.6 decades per layer, but over so few layers that the network learns."""
    base = draw.turn(SHALLOW)
    model = mlp(draw.one(["sigmoid", "sigmoid", "softplus"]), draw.one([1, 2]), base.width)
    return Specs(base.problem.spec(model, base.optimizer(2 * _factor(draw))))


def _batch_normalized(draw: Draw) -> Specs:
    base = draw.turn(SHALLOW)
    model = mlp(
        draw.one(["relu", "tanh", "elu"]),
        draw.one([2, 4, 6]),
        base.width,
        normalization="batch",
        normalization_position=draw.one(["after_activation", "before_activation"]),
    )
    return Specs(base.problem.spec(model, base.optimizer(_factor(draw))))


def _layer_normalized(draw: Draw) -> Specs:
    base = draw.turn(LEARNABLE)
    model = mlp(draw.one(["relu", "tanh", "gelu"]), min(base.depth, 10), base.width, normalization="layer")
    return Specs(base.problem.spec(model, base.optimizer(0.7 * _factor(draw))))


def _residual(draw: Draw) -> Specs:
    base, form = draw.turn(LEARNABLE), draw.one(["post_activation", "pre_activation"])
    normalized = form == "pre_activation" and draw.index % 2 == 0
    model = mlp(
        draw.one(["relu", "elu", "leaky_relu"]),
        draw.one([6, 12, 20]),
        base.width,
        residual=form,
        normalization="layer" if normalized else "none",
        residual_scale=1.0 if normalized else "1/sqrt(depth)",
    )
    return Specs(base.problem.spec(model, base.optimizer(0.5 * _factor(draw))))


def _regression(draw: Draw) -> Specs:
    """Targets in the hundreds: the losses and gradients are large because of the unit, not because of a fault."""
    problem = PROBLEMS["diabetes"]
    activation = draw.turn(
        ["relu", "elu", "selu", "gelu", "leaky_relu"]
    )  # a bounded activation cannot reach the targets
    model = mlp(activation, draw.one([1, 2, 3]), draw.one([16, 32]))
    optimizer = {"name": draw.one(["adam", "rmsprop"]), "learning_rate": problem.adam * draw.uniform(0.8, 1.5)}
    return Specs(problem.spec(model, optimizer, epochs=draw.any([15, 20, 25])))


def _convolutions(draw: Draw) -> Specs:
    problem = PROBLEMS["digits_images"]
    model = convolutional(draw.one([4, 8]), draw.turn(ACTIVATIONS[:5]), problem.outputs, problem.output_activation)
    optimizer = {"name": "adam", "learning_rate": problem.adam * _factor(draw)}
    return Specs(problem.spec(model, draw.one([optimizer, problem.momentum(_factor(draw))])))


def _recurrences(draw: Draw) -> Specs:
    problem = PROBLEMS["digits_rows"]
    kind, units = draw.turn(["LSTM", "GRU", "SimpleRNN"]), draw.one([16, 32])
    model = recurrent(kind, units, problem.outputs, problem.output_activation)
    return Specs(problem.spec(model, {"name": "adam", "learning_rate": problem.adam * _factor(draw)}))


def _batches(draw: Draw) -> Specs:
    """Small batches, whose steps are noisy, and large ones, whose epochs have few steps."""
    base, is_small = draw.turn(SHALLOW_CLASSES), draw.index % 2 == 1
    model = mlp(draw.one(["relu", "tanh", "elu"]), base.depth, base.width)
    small = {"batch_size": 4, "epochs": 3 if base.on == "digits" else 6}
    large = {"batch_size": 256, "epochs": 40}
    # A larger batch allows a larger learning rate (Goyal et al. 2017, section 2.1).
    optimizer = base.optimizer((0.4 if is_small else 2.0) * _factor(draw))
    return Specs(base.problem.spec(model, optimizer, **(small if is_small else large)))


def _converged(draw: Draw) -> Specs:
    """Training continues long after convergence: gradients become small because nothing is left to learn."""
    kinds = {"blobs": {"spread": 1.0}, "moons": {"noise": 0.05}, "circles": {"noise": 0.02}, "spirals": {}}
    name = draw.turn(tuple(kinds))
    problem, model = PROBLEMS[name], mlp(draw.one(["relu", "tanh", "elu"]), draw.one([2, 3, 4]), 32)
    optimizer = {"name": "adam", "learning_rate": problem.adam * _factor(draw)}
    return Specs(problem.spec(model, optimizer, kinds[name], epochs=draw.any([45, 50, 55])))


def _brief(draw: Draw) -> Specs:
    """Training ends soon after the network has learned."""
    base = draw.turn(SHALLOW_CLASSES)
    model = mlp(draw.turn(ACTIVATIONS), base.depth, base.width)
    epochs = max(2, base.problem.epochs // 3)
    return Specs(base.problem.spec(model, base.optimizer(2 * _factor(draw)), epochs=epochs))


def _tamed(draw: Draw) -> Specs:
    """Training with clipping of some steps, with dropout, or with a schedule."""
    base, kind = draw.turn(SHALLOW_CLASSES), draw.turn(["clipping", "dropout", "schedule"])
    dropout = {"dropout": 0.1} if kind == "dropout" else {}
    model = mlp(draw.one(["relu", "tanh", "elu"]), base.depth, base.width, **dropout)
    options: Json = {}
    if kind == "clipping":
        options = {"gradient_clipping": {"by": "global_norm", "threshold": draw.uniform(1.0, 5.0)}}
    if kind == "schedule":
        options = {"learning_rate_schedule": {"name": "CosineDecay", "decay_steps": 300}}
    return Specs(base.problem.spec(model, base.optimizer(_factor(draw)), **options))


def _mixed(draw: Draw) -> Specs:
    """One layer in the middle differs without harm: it is narrow, a sigmoid, or linear."""
    base, activation = draw.turn(SHALLOW_CLASSES), draw.one(["tanh", "elu", "relu"])
    layers = [dense(base.width, activation) for _ in range(6)]
    others = [dense(base.width // 2, activation), dense(base.width, "sigmoid"), dense(base.width, "linear")]
    layers[draw.one([1, 2, 3, 4])] = draw.turn(others)
    model = stack(layers, base.problem.outputs, base.problem.output_activation)
    return Specs(base.problem.spec(model, base.optimizer(_factor(draw))))


def _tapered(draw: Draw) -> Specs:
    """The widths decrease towards the output."""
    base, width = draw.turn(SHALLOW_CLASSES), 32
    model = mlp(draw.turn(ACTIVATIONS), 1, 1)
    del model["depth"], model["width"]
    model["hidden_units"] = [2 * width, width, width, width // 2, width // 2]
    return Specs(base.problem.spec(model, base.optimizer(_factor(draw))))


CONTROLS = (
    Family("shallow", "shallow perceptrons", _shallow, weight=1.5),
    Family("deep", "deep perceptrons with suitable initializers", _deep, weight=1.5),
    Family("shallow_sigmoid", "one or two sigmoid layers", _shallow_sigmoid),
    Family("batch_normalized", "batch normalization, up to 6 layers", _batch_normalized, weight=1.5),
    Family("layer_normalized", "layer normalization, up to 10 layers", _layer_normalized, weight=1.5),
    Family("residual", "scaled or normalized residuals, up to 20 layers", _residual, weight=1.5),
    Family("regression", "regression with large targets", _regression),
    Family("convolutional", "convolutions", _convolutions),
    Family("recurrent", "LSTM, GRU, simple recurrence", _recurrences),
    Family("batches", "batch sizes 4 and 256", _batches),
    Family("converged", "training continued after convergence", _converged, weight=1.5),
    Family("brief", "few epochs", _brief),
    Family("tamed", "clipping, dropout, schedule", _tamed),
    Family("mixed", "one harmless different layer", _mixed),
    Family("tapered", "decreasing widths", _tapered),
)
