"""Forward and backward pass of a stage, rolled into `tf.while_loop`s over its blocks or unrolled block after block.

The rolled passes keep the input of every block, and the backward pass computes each block a second time, as gradient
checkpointing does (Chen et al. 2016, arXiv 1604.06174). Its purpose here is that a single traced block serves all
repetitions, so that tracing does not grow with depth (docs/decisions/0008).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from worker.training.activation_taps import ObservedActivation
from worker.training.layer_slots import LayerSlot
from worker.training.repeated_stages import Stage

# Index of a variable -> its value; a stack of variables has the index of its first member, as in `FlatLayout.split`.
Tensors = dict[int, tf.Tensor]


class FixedInputs(NamedTuple):
    """What the network reads in addition to samples and weights; no gradient flows to it."""

    buffers: Tensors  # as `StagedNetwork.buffers.split` returns them
    noise: tf.Tensor  # int64 [noise states], the seed of each
    draws: tf.Tensor  # int64 [], how many random numbers each noise state has drawn before this step


class StageResult(NamedTuple):
    """What the forward pass of a stage computes."""

    output: tf.Tensor  # [samples, …]
    buffers: Tensors  # after the pass, stacked like those of `FixedInputs`
    observed: list[ObservedActivation]  # from input to output


# Gradient of the loss by the output of a stage -> gradients by its variables, and by its input.
# The last stage takes None instead: its backward pass starts at the loss.
Backward = Callable[[tf.Tensor | None], tuple[Tensors, tf.Tensor]]


class StagePasses:
    """The passes of one stage with given values of its variables.

    Args:
        stage: The stage.
        block: The slots of its first block.
        variables: Value of every trainable variable of the network, as `FlatLayout.split` returns them.
        fixed: Buffers and noise states of the network.
        training: Whether batch normalization uses the batch's moments and noise layers draw.
    """

    def __init__(
        self, stage: Stage, block: Sequence[LayerSlot], variables: Tensors, fixed: FixedInputs, *, training: bool
    ) -> None:
        self._repeats = stage.repeats
        self._block = block
        self._indices = [i for slot in block for i in slot.trainable]
        self._buffer_indices = [i for slot in block for i in slot.buffers]
        self._variables = [variables[i] for i in self._indices]
        self._buffers = [fixed.buffers[i] for i in self._buffer_indices]
        self._fixed = fixed
        self._training = training
        self._noise_per_block = sum(len(slot.noise) for slot in block)

    def unrolled_forward(self, inputs: tf.Tensor) -> StageResult:
        """Run the forward pass block after block on `inputs` [samples, …]."""
        return self._unrolled(inputs, [self._per_block(v) for v in self._variables])

    def rolled_forward(self, inputs: tf.Tensor) -> StageResult:
        """Run the forward pass as a loop over blocks on `inputs` [samples, …]."""
        result, _ = self._rolled(inputs)
        return result

    def unrolled_forward_backward(
        self, inputs: tf.Tensor, loss_of: Callable[[tf.Tensor], tf.Tensor] | None = None
    ) -> tuple[StageResult, Backward]:
        """Run the forward pass block after block, under one tape.

        Args:
            inputs: [samples, …].
            loss_of: For the last stage, output -> loss []. The backward pass then starts at the loss.

        Returns:
            The result, and the backward pass.
        """
        variables = [self._per_block(v) for v in self._variables]
        with tf.GradientTape() as tape:
            tape.watch([inputs, variables])
            result = self._unrolled(inputs, variables)
            target = result.output if loss_of is None else loss_of(result.output)

        def backward(output_gradient: tf.Tensor | None) -> tuple[Tensors, tf.Tensor]:
            found, input_gradient = tape.gradient(
                target, [variables, inputs], output_gradient, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            # The gradient of an embedding is sparse until it is converted.
            stacked = [self._stacked([tf.convert_to_tensor(g) for g in per_block]) for per_block in found]
            return dict(zip(self._indices, stacked, strict=True)), input_gradient

        return result, backward

    def rolled_forward_backward(self, inputs: tf.Tensor) -> tuple[StageResult, Backward]:
        """Run the forward pass as a loop over blocks on `inputs` [samples, …]; the backward pass is a loop as well.

        Returns:
            The result, and the backward pass, which computes each block a second time.
        """
        result, block_inputs = self._rolled(inputs)

        def backward(output_gradient: tf.Tensor | None) -> tuple[Tensors, tf.Tensor]:
            gradients = [self._array(v.shape[1:], v.dtype) for v in self._variables]

            def one_block(i: tf.Tensor, output_gradient: tf.Tensor, *gradients: tf.TensorArray) -> tuple[object, ...]:
                values, block_input = [v[i] for v in self._variables], block_inputs[i]
                with tf.GradientTape() as tape:
                    tape.watch([values, block_input])
                    output = self._run_block(i, block_input, values).output
                found, input_gradient = tape.gradient(
                    output,
                    [values, block_input],
                    output_gradient,
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
                input_gradient = tf.ensure_shape(input_gradient, output_gradient.shape)
                return i - 1, input_gradient, *(a.write(i, g) for a, g in zip(gradients, found, strict=True))

            _, input_gradient, *written = tf.while_loop(
                lambda i, *_: i >= 0,
                one_block,
                (tf.constant(self._repeats - 1), output_gradient, *gradients),
                maximum_iterations=self._repeats,
                parallel_iterations=1,
            )
            return {i: array.stack() for i, array in zip(self._indices, written, strict=True)}, input_gradient

        return result, backward

    # ---------------------------------------------------------------- within

    def _rolled(self, inputs: tf.Tensor) -> tuple[StageResult, tf.Tensor]:
        """Return what the blocks compute, and the input of each block [repeats, samples, …]."""
        shapes = [(v.shape[1:], v.dtype) for v in self._buffers]
        shapes += [((inputs.shape[0], *shape), inputs.dtype) for slot in self._block for shape in slot.observed_shapes]

        def one_block(
            i: tf.Tensor, block_input: tf.Tensor, kept: tf.TensorArray, *arrays: tf.TensorArray
        ) -> tuple[object, ...]:
            result = self._run_block(i, block_input, [v[i] for v in self._variables])
            parts = [*result.buffers.values(), *(t for pair in result.observed for t in pair if t is not None)]
            written = (array.write(i, part) for array, part in zip(arrays, parts, strict=True))
            output = tf.ensure_shape(result.output, block_input.shape)
            return i + 1, output, kept.write(i, block_input), *written

        _, output, kept, *arrays = tf.while_loop(
            lambda i, *_: i < self._repeats,
            one_block,
            (tf.constant(0), inputs, self._array(inputs.shape, inputs.dtype), *(self._array(*s) for s in shapes)),
            maximum_iterations=self._repeats,
            parallel_iterations=1,
        )
        stacked = [array.stack() for array in arrays]
        buffers = dict(zip(self._buffer_indices, stacked, strict=False))
        columns = [tf.unstack(t, self._repeats) for t in stacked[len(buffers) :]]
        return StageResult(output, buffers, _observed(self._block, columns, self._repeats)), kept.stack()

    def _unrolled(self, inputs: tf.Tensor, variables: Sequence[Sequence[tf.Tensor]]) -> StageResult:
        """Run all blocks; `variables` holds the values of each variable, block after block."""
        buffers: list[Tensors] = []
        observed: list[ObservedActivation] = []
        output = inputs
        for i in range(self._repeats):
            result = self._run_block(i, output, [per_block[i] for per_block in variables])
            output = result.output
            buffers.append(result.buffers)
            observed += result.observed
        stacked = {index: self._stacked([block[index] for block in buffers]) for index in self._buffer_indices}
        return StageResult(output, stacked, observed)

    def _run_block(self, i: int | tf.Tensor, block_input: tf.Tensor, variables: Sequence[tf.Tensor]) -> StageResult:
        """Run block number `i` of the stage with the values of its variables."""
        remaining = iter(variables)
        buffers: Tensors = {}
        observed: list[ObservedActivation] = []
        outputs: list[tf.Tensor] = []
        for slot in self._block:
            inputs = [block_input if k < 0 else outputs[k] for k in slot.inputs]
            output, buffers_after = slot.layer(
                inputs,
                [next(remaining) for _ in slot.trainable],
                [self._buffer(index, i) for index in slot.buffers],
                [self._noise_state(index, i) for index in slot.noise],
                training=self._training,
            )
            buffers |= zip(slot.buffers, buffers_after, strict=True)
            before = inputs[0]
            if slot.activation is not None:
                before, output = output, keras.activations.get(slot.activation)(output)
            if slot.tap is not None:
                observed.append(ObservedActivation(before if slot.tap.before else None, output))
            outputs.append(output)
        return StageResult(outputs[-1], buffers, observed)

    def _buffer(self, index: int, i: int | tf.Tensor) -> tf.Tensor:
        """Return the value of a buffer in block number `i`."""
        value = self._fixed.buffers[index]
        return value if self._repeats == 1 else value[i]

    def _noise_state(self, index: int, i: int | tf.Tensor) -> tf.Tensor:
        """Return the random state of a noise layer in block number `i` at this step: [seed, draws]."""
        return tf.stack([self._fixed.noise[index + i * self._noise_per_block], self._fixed.draws])

    def _per_block(self, variable: tf.Tensor) -> list[tf.Tensor]:
        """Return the values of a variable, block after block."""
        return [variable] if self._repeats == 1 else tf.unstack(variable, self._repeats)

    def _stacked(self, per_block: Sequence[tf.Tensor]) -> tf.Tensor:
        """Undo `_per_block`."""
        return per_block[0] if self._repeats == 1 else tf.stack(per_block)

    def _array(self, shape: Sequence[int | None], dtype: tf.DType) -> tf.TensorArray:
        return tf.TensorArray(dtype, self._repeats, element_shape=shape)


def _observed(
    block: Sequence[LayerSlot], columns: Sequence[Sequence[tf.Tensor]], repeats: int
) -> list[ObservedActivation]:
    """Sort the observed tensors of a loop by block; `columns` holds each tensor of the block for each repetition."""
    taps = [slot.tap for slot in block if slot.tap is not None]
    observed: list[ObservedActivation] = []
    for i in range(repeats):
        remaining = iter(columns)
        observed += [ObservedActivation(next(remaining)[i] if tap.before else None, next(remaining)[i]) for tap in taps]
    return observed
