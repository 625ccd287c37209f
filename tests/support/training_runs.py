"""Training runs for tests: in either way of compiling, with or without recording, from the weights of a Keras model."""

import keras
import numpy as np

from service.contract.plan import Plan
from worker.training.data import Data, load
from worker.training.engine import TrainingRun
from worker.training.initial import Initial, noise_seeds, reached_nodes
from worker.training.models import SEED_STATE
from worker.training.network import StagedNetwork
from worker.training.program import Program, pays_xla


def run_of(
    plan: Plan,
    data: Data | None = None,
    *,
    xla: bool | None = None,
    record: bool = True,
    model: keras.Model | None = None,
) -> TrainingRun:
    """A run of a plan that has made no step."""
    program = Program(plan, record=record, xla=pays_xla(plan) if xla is None else xla)
    initial = None if model is None else values_of(plan, model)
    return TrainingRun(plan, data or load(plan), program, initial=initial)


def values_of(plan: Plan, model: keras.Model) -> Initial:
    """The values of a Keras model whose layers have the names of the plan's nodes."""
    layers = [model.get_layer(node.name) for node in reached_nodes(plan)]
    return Initial(
        [v.numpy() for layer in layers for v in layer.trainable_variables],
        [v.numpy() for layer in layers for v in layer.non_trainable_variables if v.name != SEED_STATE],
    )


def seed_noise(plan: Plan, model: keras.Model) -> None:
    """Put the noise layers of a Keras model into the state that the first step sees."""
    layers = [model.get_layer(node.name) for node in reached_nodes(plan)]
    states = [v for layer in layers for v in layer.non_trainable_variables if v.name == SEED_STATE]
    for state, seed in zip(states, noise_seeds(plan, StagedNetwork(plan).places), strict=True):
        state.assign([seed, 0])


def variable_order(plan: Plan, model: keras.Model) -> list[int]:
    """Position among the model's trainable variables of each variable of the plan that has a gradient."""
    positions = {id(v): i for i, v in enumerate(model.trainable_variables)}
    found = [v for node in reached_nodes(plan) for v in model.get_layer(node.name).trainable_variables]
    assert np.unique([id(v) for v in found]).size == len(positions)
    return [positions[id(v)] for v in found]
