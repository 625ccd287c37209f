"""The network of a plan as functions of tensors: its output, and the gradient of its loss."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from service.contract.plan import Plan
from worker.training.activation_taps import ObservedActivation
from worker.training.flat_layout import FlatLayout
from worker.training.keras_session import KerasSession
from worker.training.layer_slots import VariableIndex
from worker.training.repeated_stages import stages_of
from worker.training.stage_passes import Backward, FixedInputs, StagePasses, Tensors


class BatchGradient(NamedTuple):
    """What the forward and backward pass of one batch compute."""

    loss: tf.Tensor  # []
    outputs: tf.Tensor  # [samples, …]
    flat: tf.Tensor  # [parameters], the gradient in the order of `StagedNetwork.layout`
    buffers: tf.Tensor  # [buffer values] after the batch, in the order of `StagedNetwork.buffers`
    observed: list[ObservedActivation]  # from input to output


class StagedNetwork:
    """The network of a plan, cut into stages.

    Args:
        plan: A plan of any network.
        session: Gives access to Keras; used by the constructor only.
        tapped: Whether hidden activations are observed.

    Attributes:
        stages: From input to output.
        slots: One per node that the output depends on, from input to output.
        layout: Where each trainable variable lies in the vector of weights.
        buffers: Where each buffer lies in the vector of buffers.
        noise_states: How many states of random number generators the network has.
        dtype: Precision of weights, activations and gradients.
    """

    def __init__(self, plan: Plan, session: KerasSession, *, tapped: bool = False) -> None:
        self.stages = stages_of(plan)
        with session.exclusive() as layers:
            index = VariableIndex(plan, layers, tapped=tapped)
            self._blocks = [index.slots_of(stage) for stage in self.stages]
        self.slots = tuple(index.slots)
        self.layout = FlatLayout(tuple(index.trainable_shapes), tuple(index.trainable_stacks))
        self.buffers = FlatLayout(tuple(index.buffer_shapes), tuple(index.buffer_stacks))
        self.noise_states = index.noise_states
        self.dtype: tf.DType = tf.as_dtype(plan.spec.training.precision)

    def outputs(self, weights: tf.Tensor, fixed: FixedInputs, inputs: tf.Tensor, loops_from: int) -> tf.Tensor:
        """Compute the output of a batch in inference mode.

        Args:
            weights: [parameters] in the order of `layout`.
            fixed: Buffers and noise states.
            inputs: [samples, …].
            loops_from: Minimum number of layers for which a stage that repeats is a loop.

        Returns:
            [samples, …].
        """
        variables, output = self.layout.split(weights), inputs
        for stage, block in zip(self.stages, self._blocks, strict=True):
            passes = StagePasses(stage, block, variables, fixed, training=False)
            forward = passes.rolled_forward if stage.worth_loop(loops_from) else passes.unrolled_forward
            output = forward(output).output
        return output

    def gradient(
        self,
        weights: tf.Tensor,
        fixed: FixedInputs,
        inputs: tf.Tensor,
        loss_of: Callable[[tf.Tensor], tf.Tensor],
        loops_from: int,
    ) -> BatchGradient:
        """Compute the loss of a batch and its gradient, in training mode.

        Args:
            weights: [parameters] in the order of `layout`.
            fixed: Buffers and noise states before the batch.
            inputs: [samples, …].
            loss_of: Output [samples, …] -> loss [].
            loops_from: Minimum number of layers for which a stage that repeats is a loop.
        """
        variables, output = self.layout.split(weights), inputs
        backward_passes: list[Backward] = []
        buffers: Tensors = {}
        observed: list[ObservedActivation] = []
        for stage, block in zip(self.stages[:-1], self._blocks[:-1], strict=True):
            passes = StagePasses(stage, block, variables, fixed, training=True)
            rolled = stage.worth_loop(loops_from)
            forward = passes.rolled_forward_backward if rolled else passes.unrolled_forward_backward
            result, backward = forward(output)
            backward_passes.append(backward)
            output, buffers = result.output, buffers | result.buffers
            observed += result.observed
        last = StagePasses(self.stages[-1], self._blocks[-1], variables, fixed, training=True)
        losses: list[tf.Tensor] = []

        # Called within the last stage, because Keras attaches the logits of a sigmoid or softmax to its output tensor.
        def keep_loss(outputs: tf.Tensor) -> tf.Tensor:
            losses.append(loss_of(outputs))
            return losses[0]

        result, backward = last.unrolled_forward_backward(output, keep_loss)
        gradients, output_gradient = backward(None)
        for backward in reversed(backward_passes):
            found, output_gradient = backward(output_gradient)
            gradients |= found
        after = self.buffers.flatten(buffers | result.buffers) if self.buffers.shapes else tf.zeros([0], self.dtype)
        flat = self.layout.flatten(gradients)
        return BatchGradient(losses[0], result.output, flat, after, [*observed, *result.observed])
