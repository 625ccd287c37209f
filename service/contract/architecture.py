"""Names the compiled program of a plan, so that runs with the same program can run on the same trainer."""

import hashlib
import json
from typing import Any

from service.contract.network.graph import INPUT, Network
from service.contract.network.layer import Layer
from service.contract.plan import Plan
from service.contract.training_spec import Adam, OptimizerSpec, RmsProp, Sgd

# Inputs of a program: seeds, initial weights, learning rates, schedules, epochs, hyperparameters, thresholds.
FED = {"seed", "learning_rate", "weight_decay"}


def architecture_of(plan: Plan) -> str:
    """Return 32 hexadecimal digits that two plans share if and only if the same compiled program serves both.

    Names of layers and the length of the run are not part of a program.
    """
    training, work = plan.spec.training, plan.work
    parts = {
        "network": _network(plan.network),
        "input": plan.shape.input_shape,
        "target": plan.shape.target_shape,
        "rows": (work.train_rows, work.validation_rows, plan.batch_size),
        "objective": [plan.objective.loss, plan.objective.from_logits, plan.objective.classes],
        "optimizer": _optimizer(training.optimizer),
        "clipping": training.gradient_clipping and training.gradient_clipping.by,
        "precision": training.precision,
        "stops": training.stop_on_divergence,
        "recorded": [plan.spec.recording.every, *plan.recorded],
    }
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()[:32]


def layer_key(layer: Layer) -> str:
    """Return a text that two layers share if they compute the same function of their inputs and variables."""
    fed = {name for name in type(layer).model_fields if name in FED or name.endswith("_initializer")}
    return f"{type(layer).__name__}{layer.model_dump_json(exclude=fed)}"


def _network(network: Network) -> list[Any]:
    """Return the distinct layers, then for each node the indices of its layer and inputs, then the output's index."""
    layers: dict[str, int] = {}
    known: dict[int, int] = {}  # by identity: the nodes of a perceptron share layers
    numbers = {INPUT: -1}
    nodes = []
    for node in network.nodes:
        if node.name not in network.reached:
            continue
        layer = known.get(id(node.layer))
        if layer is None:
            layer = known[id(node.layer)] = layers.setdefault(layer_key(node.layer), len(layers))
        numbers[node.name] = len(numbers) - 1
        nodes.append([layer, *(numbers[name] for name in node.inputs)])
    return [list(layers), nodes, numbers[network.output]]


def _optimizer(spec: OptimizerSpec) -> list[Any]:
    """Return the rule of the optimizer and the switches that change the program."""
    decays = bool(spec.weight_decay)
    match spec:
        case Adam():
            return ["adam", decays, spec.amsgrad]
        case Sgd():
            return ["sgd", decays, spec.nesterov and spec.momentum > 0]
        case RmsProp():
            return ["rmsprop", decays, spec.centered]
        case _:
            return [spec.name, decays]
