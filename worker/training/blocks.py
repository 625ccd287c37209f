"""A stage with the values of its variables: forward, and the way back, as a loop over its blocks or block after block.

The loop keeps the input of every block and computes the block anew on the way back, as Chen et al. 2016 (arXiv
1604.06174) do to save memory; here it is what lets one traced block stand for all of them.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from service.contract.network import reshaping
from worker.training.places import Place
from worker.training.stages import Stage

Tensors = dict[int, tf.Tensor]


class Seen(NamedTuple):
    """A hidden activation in a batch: [rows, …, units] each, `before` None where it cannot be seen."""

    before: tf.Tensor | None
    after: tf.Tensor


class Fixed(NamedTuple):
    """What the network reads and no gradient flows to."""

    buffers: Tensors  # as `StagedNetwork.buffers.split` hands them out
    noise: tf.Tensor  # [noise states], seeds
    draws: tf.Tensor  # int64, random numbers drawn before this step


class Made(NamedTuple):
    """What a stage makes of its input."""

    output: tf.Tensor
    buffers: Tensors
    seen: list[Seen]


Backward = Callable[[tf.Tensor | None], tuple[Tensors, tf.Tensor]]


class RepeatedBlock:
    """A stage with the values of its variables."""

    def __init__(self, stage: Stage, block: Sequence[Place], variables: Tensors, fixed: Fixed, training: bool) -> None:
        self._repeats = stage.repeats
        self._block = block
        self._numbers = [i for place in block for i in place.trainable]
        self._buffer_numbers = [i for place in block for i in place.buffers]
        self._variables = [variables[i] for i in self._numbers]
        self._buffers = [fixed.buffers[i] for i in self._buffer_numbers]
        self._fixed = fixed
        self._training = training
        self._noise_a_block = sum(len(place.noise) for place in block)

    def unrolled(self, carried: tf.Tensor) -> Made:
        """Block after block."""
        return self._unrolled(carried, [self._each(v) for v in self._variables])

    def looped(self, carried: tf.Tensor) -> Made:
        """A loop over blocks."""
        made, _ = self._loop(carried)
        return made

    def unrolled_there_and_back(
        self, carried: tf.Tensor, target_of: Callable[[tf.Tensor], tf.Tensor] | None = None
    ) -> tuple[Made, Backward]:
        """Block after block; back from `target_of` the output, or from the output itself."""
        variables = [self._each(v) for v in self._variables]
        with tf.GradientTape() as tape:
            tape.watch([carried, variables])
            made = self._unrolled(carried, variables)
            target = made.output if target_of is None else target_of(made.output)

        def back(flowing: tf.Tensor | None) -> tuple[Tensors, tf.Tensor]:
            found, into = tape.gradient(
                target, [variables, carried], flowing, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            together = [self._together([tf.convert_to_tensor(g) for g in each]) for each in found]  # embeddings: sparse
            return dict(zip(self._numbers, together, strict=True)), into

        return made, back

    def looped_there_and_back(self, carried: tf.Tensor) -> tuple[Made, Backward]:
        """A loop over blocks, and a loop back."""
        made, inputs = self._loop(carried)

        def back(flowing: tf.Tensor | None) -> tuple[Tensors, tf.Tensor]:
            gradients = [self._array(v.shape[1:], v.dtype) for v in self._variables]

            def one(i: tf.Tensor, flowing: tf.Tensor, *gradients: tf.TensorArray) -> tuple[object, ...]:
                values, given = [v[i] for v in self._variables], inputs[i]
                with tf.GradientTape() as tape:
                    tape.watch([values, given])
                    output = self._block_of(i, given, values).output
                found, into = tape.gradient(
                    output, [values, given], flowing, unconnected_gradients=tf.UnconnectedGradients.ZERO
                )
                into = tf.ensure_shape(into, flowing.shape)
                return i - 1, into, *(a.write(i, g) for a, g in zip(gradients, found, strict=True))

            _, into, *written = tf.while_loop(
                lambda i, *_: i >= 0,
                one,
                (tf.constant(self._repeats - 1), flowing, *gradients),
                maximum_iterations=self._repeats,
                parallel_iterations=1,
            )
            return {i: array.stack() for i, array in zip(self._numbers, written, strict=True)}, into

        return made, back

    # ---------------------------------------------------------------- within

    def _loop(self, carried: tf.Tensor) -> tuple[Made, tf.Tensor]:
        """What the blocks make, and the input of each [repeats, rows, …]."""
        shapes = [(v.shape[1:], v.dtype) for v in self._buffers]
        shapes += [((carried.shape[0], *shape), carried.dtype) for place in self._block for shape in place.seen]

        def one(i: tf.Tensor, carried: tf.Tensor, kept: tf.TensorArray, *arrays: tf.TensorArray) -> tuple[object, ...]:
            made = self._block_of(i, carried, [v[i] for v in self._variables])
            parts = [*made.buffers.values(), *(t for seen in made.seen for t in seen if t is not None)]
            written = (array.write(i, part) for array, part in zip(arrays, parts, strict=True))
            return i + 1, tf.ensure_shape(made.output, carried.shape), kept.write(i, carried), *written

        _, output, kept, *arrays = tf.while_loop(
            lambda i, *_: i < self._repeats,
            one,
            (tf.constant(0), carried, self._array(carried.shape, carried.dtype), *(self._array(*s) for s in shapes)),
            maximum_iterations=self._repeats,
            parallel_iterations=1,
        )
        stacked = [array.stack() for array in arrays]
        buffers = dict(zip(self._buffer_numbers, stacked, strict=False))
        seen = _seen_of(self._block, [tf.unstack(t, self._repeats) for t in stacked[len(buffers) :]], self._repeats)
        return Made(output, buffers, seen), kept.stack()

    def _unrolled(self, carried: tf.Tensor, variables: Sequence[Sequence[tf.Tensor]]) -> Made:
        buffers: list[Tensors] = []
        seen: list[Seen] = []
        for i in range(self._repeats):
            made = self._block_of(i, carried, [each[i] for each in variables])
            carried = made.output
            buffers.append(made.buffers)
            seen += made.seen
        together = {number: self._together([made[number] for made in buffers]) for number in self._buffer_numbers}
        return Made(carried, together, seen)

    def _block_of(self, i: int | tf.Tensor, carried: tf.Tensor, variables: Sequence[tf.Tensor]) -> Made:
        """Block number i of the stage."""
        waiting = iter(variables)
        buffers: Tensors = {}
        seen: list[Seen] = []
        outputs: list[tf.Tensor] = []
        for place in self._block:
            trainable, fixed, states = place.variables
            mapping = [(variable, next(waiting)) for variable in trainable]
            mapping += [
                (variable, self._buffer(number, i)) for variable, number in zip(fixed, place.buffers, strict=True)
            ]
            mapping += [
                (variable, self._noise(number, i)) for variable, number in zip(states, place.noise, strict=True)
            ]
            given = [carried if k < 0 else outputs[k] for k in place.inputs]
            inputs = given if isinstance(place.node.layer, reshaping.MERGES) else given[0]
            with keras.StatelessScope(state_mapping=mapping) as scope:
                output = place.layer(inputs, training=self._training)
            buffers |= {n: scope.get_current_value(v) for v, n in zip(fixed, place.buffers, strict=True)}
            before = given[0]
            if place.activation is not None:
                before, output = output, keras.activations.get(place.activation)(output)
            if place.tap is not None:
                seen.append(Seen(before if place.tap.before else None, output))
            outputs.append(output)
        return Made(outputs[-1], buffers, seen)

    def _buffer(self, number: int, i: int | tf.Tensor) -> tf.Tensor:
        value = self._fixed.buffers[number]
        return value if self._repeats == 1 else value[i]

    def _noise(self, number: int, i: int | tf.Tensor) -> tf.Tensor:
        """State of a noise layer's random numbers at this step."""
        return tf.stack([self._fixed.noise[number + i * self._noise_a_block], self._fixed.draws])

    def _each(self, variable: tf.Tensor) -> list[tf.Tensor]:
        """A variable of the block, for each block."""
        return [variable] if self._repeats == 1 else tf.unstack(variable, self._repeats)

    def _together(self, each: Sequence[tf.Tensor]) -> tf.Tensor:
        return each[0] if self._repeats == 1 else tf.stack(each)

    def _array(self, shape: Sequence[int | None], dtype: tf.DType) -> tf.TensorArray:
        return tf.TensorArray(dtype, self._repeats, element_shape=shape)


def _seen_of(block: Sequence[Place], columns: Sequence[Sequence[tf.Tensor]], repeats: int) -> list[Seen]:
    """What the taps of a block show, block after block; `columns` holds each of their tensors for each block."""
    shown = [place.tap for place in block if place.tap is not None]
    seen: list[Seen] = []
    for i in range(repeats):
        waiting = iter(columns)
        seen += [Seen(next(waiting)[i] if tap.before else None, next(waiting)[i]) for tap in shown]
    return seen
