"""Training runs for tests: with or without XLA, with or without recording, from the weights of a Keras model."""

import keras
import numpy as np

from service.contract.plan import Plan
from worker.training.data import Data, load
from worker.training.engine import TrainingRun
from worker.training.initial_values import InitialValues, noise_seeds, reached_nodes
from worker.training.keras_session import SEED_STATE, KerasSession
from worker.training.program import Program, worth_xla
from worker.training.staged_network import StagedNetwork


def run_of(
    plan: Plan,
    data: Data | None = None,
    *,
    xla: bool | None = None,
    record: bool = True,
    model: keras.Model | None = None,
) -> TrainingRun:
    """Return a run of a plan that has trained no step yet."""
    program = Program(plan, KerasSession(), record=record, xla=worth_xla(plan) if xla is None else xla)
    initial = None if model is None else values_of(plan, model)
    return TrainingRun(plan, data or load(plan), program, initial=initial)


def values_of(plan: Plan, model: keras.Model) -> InitialValues:
    """Return the values of a Keras model whose layers have the names of the plan's nodes."""
    layers = [model.get_layer(node.name) for node in reached_nodes(plan)]
    return InitialValues(
        [v.numpy() for layer in layers for v in layer.trainable_variables],
        [v.numpy() for layer in layers for v in layer.non_trainable_variables if v.name != SEED_STATE],
    )


def seed_noise(plan: Plan, model: keras.Model) -> None:
    """Put the noise layers of a Keras model into the state that the first step of a run uses."""
    layers = [model.get_layer(node.name) for node in reached_nodes(plan)]
    states = [v for layer in layers for v in layer.non_trainable_variables if v.name == SEED_STATE]
    if states:
        seeds = noise_seeds(plan, StagedNetwork(plan, KerasSession()).slots)
        for state, seed in zip(states, seeds, strict=True):
            state.assign([seed, 0])


def variable_order(plan: Plan, model: keras.Model) -> list[int]:
    """Return the index among the model's trainable variables of each variable of the plan that has a gradient."""
    positions = {id(v): i for i, v in enumerate(model.trainable_variables)}
    found = [v for node in reached_nodes(plan) for v in model.get_layer(node.name).trainable_variables]
    assert np.unique([id(v) for v in found]).size == len(positions)
    return [positions[id(v)] for v in found]
