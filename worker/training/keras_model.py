"""The network of a plan as a `keras.Model`: for tests, for comparisons with Keras, and to save a trained network."""

import keras

from service.contract.network import reshaping
from service.contract.network.graph import INPUT
from service.contract.plan import Plan
from worker.training.initial_values import InitialValues, reached_nodes
from worker.training.initializers import SeededInitializers
from worker.training.keras_session import SEED_STATE, KerasSession


def build_model(plan: Plan, session: KerasSession) -> keras.Model:
    """Build the network of a plan with its initial weights, drawn from the weight stream of the plan's seed.

    Args:
        plan: A plan of any network.
        session: Gives access to Keras.

    Returns:
        A functional model of the plan's precision. Its layers have the names of the plan's nodes, so that its variables
        have the names of the plan's variables.
    """
    initializers, dtype = SeededInitializers(plan), plan.spec.training.precision
    nodes = reached_nodes(plan)
    with session.exclusive() as layers, layers.recursion_for(len(nodes)):
        tensors = {INPUT: layers.input(plan.shape.input_shape, dtype, ".input")}
        for node in nodes:
            inputs = [tensors[name] for name in node.inputs]
            layer = layers.layer(node, dtype, initializers)
            tensors[node.name] = layer(inputs if isinstance(node.layer, reshaping.MERGES) else inputs[0])
        return layers.model(tensors[INPUT], tensors[plan.network.output])


def model_with(plan: Plan, values: InitialValues, session: KerasSession) -> keras.Model:
    """Build the network of a plan with these values of its variables.

    Args:
        plan: A plan of any network.
        values: Values of every trainable variable and every buffer, from input to output.
        session: Gives access to Keras.
    """
    model = build_model(plan, session)
    trainable, buffers = iter(values.trainable), iter(values.buffers)
    for node in reached_nodes(plan):
        layer = model.get_layer(node.name)
        for variable in layer.trainable_variables:
            variable.assign(next(trainable))
        for variable in (v for v in layer.non_trainable_variables if v.name != SEED_STATE):
            variable.assign(next(buffers))
    return model
