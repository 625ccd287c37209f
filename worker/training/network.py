"""A plan's network as functions of tensors: outputs, and gradients stage by stage from the last to the first."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from service.contract.plan import Plan
from worker.training.blocks import Backward, Fixed, RepeatedBlock, Seen, Tensors
from worker.training.layout import FlatLayout
from worker.training.places import Places
from worker.training.stages import stages_of


class Gradient(NamedTuple):
    """What one batch gives."""

    loss: tf.Tensor
    outputs: tf.Tensor
    flat: tf.Tensor  # [parameters]
    buffers: tf.Tensor  # after the batch
    seen: list[Seen]


class StagedNetwork:
    """The network of a plan; with `tapped`, hidden activations are seen too."""

    def __init__(self, plan: Plan, *, tapped: bool = False) -> None:
        self.stages = stages_of(plan)
        places = Places(plan, tapped)
        self._blocks = [places.block(stage) for stage in self.stages]
        self.places = tuple(places.all)
        self.layout = FlatLayout(tuple(places.trainable_shapes), tuple(places.trainable_stacks))
        self.buffers = FlatLayout(tuple(places.buffer_shapes), tuple(places.buffer_stacks))
        self.noise_states = places.noise_states
        self.dtype: tf.DType = tf.as_dtype(plan.spec.training.precision)

    def outputs(self, weights: tf.Tensor, fixed: Fixed, inputs: tf.Tensor, loops_from: int) -> tf.Tensor:
        """The output for a batch in inference mode; stages that repeat are loops from `loops_from` layers on."""
        variables, carried = self.layout.split(weights), inputs
        for stage, block in zip(self.stages, self._blocks, strict=True):
            repeated = RepeatedBlock(stage, block, variables, fixed, training=False)
            run = repeated.looped if stage.pays_loop(loops_from) else repeated.unrolled
            carried = run(carried).output
        return carried

    def gradient(
        self,
        weights: tf.Tensor,
        fixed: Fixed,
        inputs: tf.Tensor,
        loss_of: Callable[[tf.Tensor], tf.Tensor],
        loops_from: int,
    ) -> Gradient:
        """Loss of a batch and its gradient; `loss_of` takes the output to a number."""
        variables, carried = self.layout.split(weights), inputs
        ways_back: list[Backward] = []
        buffers: Tensors = {}
        seen: list[Seen] = []
        for stage, block in zip(self.stages[:-1], self._blocks[:-1], strict=True):
            repeated = RepeatedBlock(stage, block, variables, fixed, training=True)
            looped = stage.pays_loop(loops_from)
            there = repeated.looped_there_and_back if looped else repeated.unrolled_there_and_back
            made, back = there(carried)
            ways_back.append(back)
            carried, buffers = made.output, buffers | made.buffers
            seen += made.seen
        last = RepeatedBlock(self.stages[-1], self._blocks[-1], variables, fixed, training=True)
        losses: list[tf.Tensor] = []

        def loss_at(output: tf.Tensor) -> tf.Tensor:  # within the last stage: Keras finds the logits by its output
            losses.append(loss_of(output))
            return losses[0]

        made, back = last.unrolled_there_and_back(carried, loss_at)
        gradients, flowing = back(None)
        for back in reversed(ways_back):
            found, flowing = back(flowing)
            gradients |= found
        after = self.buffers.flatten(buffers | made.buffers) if self.buffers.shapes else tf.zeros([0], self.dtype)
        return Gradient(losses[0], made.output, self.layout.flatten(gradients), after, [*seen, *made.seen])
