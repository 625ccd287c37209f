"""Healthy controls of every shape: what a rule that looks at one number only takes for a fault."""

from benchmarks.diagnosis.bases import LEARNABLE, SHALLOW, SHALLOW_CLASSES
from benchmarks.diagnosis.family import Draw, Family, Made
from benchmarks.diagnosis.networks import Json, convolutional, dense, mlp, recurrent, stack
from benchmarks.diagnosis.problems import PROBLEMS

ACTIVATIONS = ("relu", "tanh", "elu", "selu", "gelu", "leaky_relu", "silu")


def _factor(draw: Draw) -> float:
    """Nobody finds the best rate to the digit."""
    return draw.uniform(0.6, 1.5)


def _shallow(draw: Draw) -> Made:
    base = draw.turn(SHALLOW)
    model = mlp(draw.turn(ACTIVATIONS), base.depth, base.width)
    return Made(base.problem.spec(model, base.optimizer(_factor(draw))))


def _deep(draw: Draw) -> Made:
    base = draw.turn(LEARNABLE)
    model = mlp(draw.turn(["relu", "tanh", "elu", "selu", "leaky_relu"]), base.depth, base.width)
    return Made(base.problem.spec(model, base.optimizer(0.5 * _factor(draw))))


def _shallow_sigmoid(draw: Draw) -> Made:
    """A gradient that falls by 0.6 decades a layer, over so few that nothing is lost."""
    base = draw.turn(SHALLOW)
    model = mlp(draw.one(["sigmoid", "sigmoid", "softplus"]), draw.one([1, 2]), base.width)
    return Made(base.problem.spec(model, base.optimizer(2 * _factor(draw))))


def _batch_normalized(draw: Draw) -> Made:
    base = draw.turn(SHALLOW)
    model = mlp(
        draw.one(["relu", "tanh", "elu"]),
        draw.one([2, 4, 6]),
        base.width,
        normalization="batch",
        normalization_position=draw.one(["after_activation", "before_activation"]),
    )
    return Made(base.problem.spec(model, base.optimizer(_factor(draw))))


def _layer_normalized(draw: Draw) -> Made:
    base = draw.turn(LEARNABLE)
    model = mlp(draw.one(["relu", "tanh", "gelu"]), min(base.depth, 10), base.width, normalization="layer")
    return Made(base.problem.spec(model, base.optimizer(0.7 * _factor(draw))))


def _residual(draw: Draw) -> Made:
    base, form = draw.turn(LEARNABLE), draw.one(["post_activation", "pre_activation"])
    normalized = form == "pre_activation" and draw.place % 2 == 0
    model = mlp(
        draw.one(["relu", "elu", "leaky_relu"]),
        draw.one([6, 12, 20]),
        base.width,
        residual=form,
        normalization="layer" if normalized else "none",
        residual_scale=1.0 if normalized else "1/sqrt(depth)",
    )
    return Made(base.problem.spec(model, base.optimizer(0.5 * _factor(draw))))


def _regression(draw: Draw) -> Made:
    """Targets in the hundreds: large losses and gradients are their unit, not a fault."""
    problem = PROBLEMS["diabetes"]
    activation = draw.turn(["relu", "elu", "selu", "gelu", "leaky_relu"])  # a bounded one cannot reach the targets
    model = mlp(activation, draw.one([1, 2, 3]), draw.one([16, 32]))
    optimizer = {"name": draw.one(["adam", "rmsprop"]), "learning_rate": problem.adam * draw.uniform(0.8, 1.5)}
    return Made(problem.spec(model, optimizer, epochs=draw.any([15, 20, 25])))


def _convolutions(draw: Draw) -> Made:
    problem = PROBLEMS["digits_images"]
    model = convolutional(draw.one([4, 8]), draw.turn(ACTIVATIONS[:5]), problem.outputs, problem.output_activation)
    optimizer = {"name": "adam", "learning_rate": problem.adam * _factor(draw)}
    return Made(problem.spec(model, draw.one([optimizer, problem.momentum(_factor(draw))])))


def _recurrences(draw: Draw) -> Made:
    problem = PROBLEMS["digits_rows"]
    kind, units = draw.turn(["LSTM", "GRU", "SimpleRNN"]), draw.one([16, 32])
    model = recurrent(kind, units, problem.outputs, problem.output_activation)
    return Made(problem.spec(model, {"name": "adam", "learning_rate": problem.adam * _factor(draw)}))


def _batches(draw: Draw) -> Made:
    """Noisy steps, and few steps."""
    base, is_small = draw.turn(SHALLOW_CLASSES), draw.place % 2 == 1
    model = mlp(draw.one(["relu", "tanh", "elu"]), base.depth, base.width)
    small = {"batch_size": 4, "epochs": 3 if base.on == "digits" else 6}
    large = {"batch_size": 256, "epochs": 40}
    # A larger batch bears a larger rate (Goyal et al. 2017, section 2.1).
    optimizer = base.optimizer((0.4 if is_small else 2.0) * _factor(draw))
    return Made(base.problem.spec(model, optimizer, **(small if is_small else large)))


def _converged(draw: Draw) -> Made:
    """Trained on long after everything is learnt: gradients become small because nothing is left to do."""
    kinds = {"blobs": {"spread": 1.0}, "moons": {"noise": 0.05}, "circles": {"noise": 0.02}, "spirals": {}}
    name = draw.turn(tuple(kinds))
    problem, model = PROBLEMS[name], mlp(draw.one(["relu", "tanh", "elu"]), draw.one([2, 3, 4]), 32)
    optimizer = {"name": "adam", "learning_rate": problem.adam * _factor(draw)}
    return Made(problem.spec(model, optimizer, kinds[name], epochs=draw.any([45, 50, 55])))


def _brief(draw: Draw) -> Made:
    """Ended as soon as it works."""
    base = draw.turn(SHALLOW_CLASSES)
    model = mlp(draw.turn(ACTIVATIONS), base.depth, base.width)
    epochs = max(2, base.problem.epochs // 3)
    return Made(base.problem.spec(model, base.optimizer(2 * _factor(draw)), epochs=epochs))


def _tamed(draw: Draw) -> Made:
    """With clipping that sometimes acts, dropout, or a schedule."""
    base, kind = draw.turn(SHALLOW_CLASSES), draw.turn(["clipping", "dropout", "schedule"])
    dropout = {"dropout": 0.1} if kind == "dropout" else {}
    model = mlp(draw.one(["relu", "tanh", "elu"]), base.depth, base.width, **dropout)
    options: Json = {}
    if kind == "clipping":
        options = {"gradient_clipping": {"by": "global_norm", "threshold": draw.uniform(1.0, 5.0)}}
    if kind == "schedule":
        options = {"learning_rate_schedule": {"name": "CosineDecay", "decay_steps": 300}}
    return Made(base.problem.spec(model, base.optimizer(_factor(draw)), **options))


def _mixed(draw: Draw) -> Made:
    """Layers that differ without harm: a narrow one, a sigmoid, a linear one in the middle."""
    base, activation = draw.turn(SHALLOW_CLASSES), draw.one(["tanh", "elu", "relu"])
    layers = [dense(base.width, activation) for _ in range(6)]
    others = [dense(base.width // 2, activation), dense(base.width, "sigmoid"), dense(base.width, "linear")]
    layers[draw.one([1, 2, 3, 4])] = draw.turn(others)
    model = stack(layers, base.problem.outputs, base.problem.output_activation)
    return Made(base.problem.spec(model, base.optimizer(_factor(draw))))


def _tapered(draw: Draw) -> Made:
    """Widths that fall towards the output."""
    base, width = draw.turn(SHALLOW_CLASSES), 32
    model = mlp(draw.turn(ACTIVATIONS), 1, 1)
    del model["depth"], model["width"]
    model["hidden_units"] = [2 * width, width, width, width // 2, width // 2]
    return Made(base.problem.spec(model, base.optimizer(_factor(draw))))


CONTROLS = (
    Family("shallow", "shallow perceptrons", _shallow, weight=1.5),
    Family("deep", "deep perceptrons, fitting initializers", _deep, weight=1.5),
    Family("shallow_sigmoid", "one or two sigmoid layers", _shallow_sigmoid),
    Family("batch_normalized", "batch normalization, up to 6 layers", _batch_normalized, weight=1.5),
    Family("layer_normalized", "layer normalization, up to 10 layers", _layer_normalized, weight=1.5),
    Family("residual", "scaled or normalized residuals, up to 20 layers", _residual, weight=1.5),
    Family("regression", "regression with large targets", _regression),
    Family("convolutional", "convolutions", _convolutions),
    Family("recurrent", "LSTM, GRU, simple recurrence", _recurrences),
    Family("batches", "batches of 4 and of 256", _batches),
    Family("converged", "trained on after convergence", _converged, weight=1.5),
    Family("brief", "few epochs", _brief),
    Family("tamed", "clipping, dropout, schedule", _tamed),
    Family("mixed", "layers that differ without harm", _mixed),
    Family("tapered", "widths that fall", _tapered),
)
