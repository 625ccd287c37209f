"""Hidden activations that a run records: where they are in the network, and their values in a batch."""

from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from service.contract.network.graph import Node
from service.contract.plan import Plan


@dataclass(frozen=True)
class Tap:
    """A hidden activation whose values are recorded."""

    node: Node
    before: bool  # whether the input of the activation function is observable too; it is not inside recurrent layers


class ObservedActivation(NamedTuple):
    """The values of one hidden activation in a batch, [samples, …, units] each."""

    before: tf.Tensor | None  # input of the activation function; None if the tap cannot observe it
    after: tf.Tensor  # output of the activation function


def taps_of(plan: Plan) -> tuple[Tap, ...]:
    """Return the taps of a plan's hidden activations, from input to output."""
    return tuple(Tap(node, not node.is_recurrent) for node in plan.network.hidden_activations)
