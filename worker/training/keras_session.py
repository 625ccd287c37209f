"""Exclusive access to Keras, and the only code that creates Keras layers.

Keras keeps one global state for the whole process: name counters, stateless scopes, saving scopes. Clearing that state
while another thread traces a layer makes the trace read the layer's own variables, which are zeros, and no error
follows. A `KerasSession` therefore guards every use of that state with one lock for the whole process, and callers get
the means to create layers from it alone. The session also owns two other global effects: the names of traced functions
and Python's recursion limit.
"""

import gc
import itertools
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework import ops  # not public; without `ops.uid`, XLA programs are only compiled more often

from service.contract.network import reshaping
from service.contract.network.graph import Node
from service.contract.network.initializers import Initializer
from service.contract.network.layer import Shape

SEED_STATE = "seed_generator_state"  # Keras's name for the variable of a noise layer that holds its random state
FRAMES_PER_LAYER = 10  # Keras walks a graph of layers recursively, with at least one Python frame per layer
NUMBERS_PER_NAME = 2**20  # more functions and tensors than any single trace creates

InitializerOf = Callable[[Initializer], keras.initializers.Initializer]


class KerasSessionError(RuntimeError):
    """A layer was requested from a `LayerFactory` whose session no longer holds the lock."""


class _KerasLock:
    """A re-entrant lock that can tell whether the calling thread holds it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._holder: int | None = None
        self._depth = 0

    def __enter__(self) -> None:
        self._lock.acquire()
        self._holder = threading.get_ident()
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._holder = None
        self._lock.release()

    @property
    def is_held(self) -> bool:
        """Whether the calling thread holds the lock."""
        return self._holder == threading.get_ident()


_keras_lock = _KerasLock()


class KerasSession:
    """Access to Keras's global state, one thread at a time.

    All sessions of a process share one lock, because the state that it guards is shared as well. A thread may enter a
    session that it has already entered.
    """

    @contextmanager
    def exclusive(self) -> Iterator["LayerFactory"]:
        """Hold the lock, and get the means to create layers while it is held.

        Yields:
            A factory that raises `KerasSessionError` once this context ends, and in every other thread.
        """
        with _keras_lock:
            factory = LayerFactory()
            try:
                yield factory
            finally:
                factory.close()

    def trace(
        self, function: tf.types.experimental.PolymorphicFunction, *arguments: Any, name: str | None = None
    ) -> tf.types.experimental.ConcreteFunction:
        """Trace a `tf.function` for these arguments, and compile nothing yet.

        Args:
            function: What to trace; it may call `StatelessLayer`s.
            arguments: Tensors, or nested structures of tensors.
            name: A hexadecimal name of at least ten digits. If given, TensorFlow numbers the functions and tensors
                inside the trace from a start that depends on `name` alone. Its disk cache of XLA programs is keyed by
                these numbers, and would else find a program only after the same sequence of traces.

        Returns:
            The concrete function. Calling it skips the lookup by argument types, which takes 0.3 ms per call.
        """
        with _keras_lock:
            traced: tf.types.experimental.ConcreteFunction | None = None
            if name is not None:
                # The names are taken if an earlier trace with this name is not freed yet.
                with suppress(tf.errors.InvalidArgumentError), _stable_names(name):
                    traced = function.get_concrete_function(*arguments)
            if traced is None:
                traced = function.get_concrete_function(*arguments)
            return traced

    def clear(self) -> None:
        """Reset Keras's global state and collect garbage.

        A traced program is a set of reference cycles, and Keras remembers every layer: both need this to be freed.
        Layers and programs that are still referenced keep working.
        """
        with _keras_lock:
            keras.backend.clear_session(free_memory=False)
            gc.collect()


class LayerFactory:
    """Creates Keras layers; obtainable from `KerasSession.exclusive` alone, and usable within it alone.

    Raises:
        KerasSessionError: By the constructor and by each method, if the calling thread does not hold the lock of the
            session, or if the context that yielded this factory has ended.
    """

    def __init__(self) -> None:
        self._is_open = True
        self._check()

    def close(self) -> None:
        """Refuse every further request."""
        self._is_open = False

    def layer(
        self, node: Node, dtype: str, initializer_of: InitializerOf, activation: str | None = None
    ) -> keras.layers.Layer:
        """Create the Keras layer of a node; its variables do not exist yet.

        Args:
            node: A node of the network graph; the layer takes its name.
            dtype: "float32" or "float64", for variables and computation.
            initializer_of: Turns each initializer of the node into a Keras initializer.
            activation: Replaces the activation of the node.

        Returns:
            The layer, trainable if the node is.
        """
        self._check()
        arguments = node.layer.arguments()
        arguments |= {name: initializer_of(value) for name, value in arguments.items() if name.endswith("_initializer")}
        if activation is not None:
            arguments["activation"] = activation
        if arguments.get("seed", 0) is None:
            arguments["seed"] = 0  # never drawn from: the training step supplies each state
        trainable = arguments.pop("trainable")  # not every constructor takes it
        layer = getattr(keras.layers, type(node.layer).__name__)(**arguments, name=node.name, dtype=dtype)
        layer.trainable = trainable
        return layer

    def stateless_layer(
        self, node: Node, dtype: str, input_shapes: Sequence[Shape], activation: str | None = None
    ) -> "StatelessLayer":
        """Create and build the layer of a node for calls with given values; its own variables are zeros.

        Args:
            node: A node of the network graph.
            dtype: "float32" or "float64".
            input_shapes: The shape of each input without the batch dimension.
            activation: Replaces the activation of the node.
        """
        layer = self.layer(node, dtype, lambda _: keras.initializers.Zeros(), activation)
        symbols = [keras.KerasTensor((None, *shape), dtype) for shape in input_shapes]
        merges = isinstance(node.layer, reshaping.MERGES)
        layer(symbols if merges else symbols[0])
        return StatelessLayer(layer, merges)

    def input(self, shape: Shape, dtype: str, name: str) -> keras.KerasTensor:
        """Create the symbolic input of a model; `shape` has no batch dimension."""
        self._check()
        return keras.Input(shape, dtype=dtype, name=name)

    def model(self, inputs: keras.KerasTensor, outputs: keras.KerasTensor) -> keras.Model:
        """Create the functional model that leads from `inputs` to `outputs`."""
        self._check()
        return keras.Model(inputs, outputs)

    @contextmanager
    def recursion_for(self, layer_count: int) -> Iterator[None]:
        """Raise Python's recursion limit within this context, so that Keras can traverse a deep graph."""
        self._check()
        before = sys.getrecursionlimit()
        sys.setrecursionlimit(before + FRAMES_PER_LAYER * layer_count)
        try:
            yield
        finally:
            sys.setrecursionlimit(before)

    def keras_file(self, model: keras.Model) -> bytes:
        """Return a model in Keras's `.keras` format, which Keras writes to a path only."""
        self._check()
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "model.keras")
            model.save(path)
            return path.read_bytes()

    def _check(self) -> None:
        if not (self._is_open and _keras_lock.is_held):
            raise KerasSessionError("Keras layers can be created only within `with KerasSession().exclusive()`")


class StatelessLayer:
    """A built Keras layer as a function of its inputs and of the values of its variables.

    Each call holds the lock of the session for its own duration, so that no thread can clear Keras's state within it.

    Attributes:
        trainable_shapes: Shapes of the trainable variables, in Keras's order.
        buffer_shapes: Shapes of the other variables that hold numbers, e.g. the moving statistics of batch
            normalization.
        noise_states: How many states of random number generators the layer has.
    """

    def __init__(self, layer: keras.layers.Layer, merges: bool) -> None:
        self._layer = layer
        self._merges = merges
        fixed = layer.non_trainable_variables
        self._trainable = list(layer.trainable_variables)
        self._buffers = [variable for variable in fixed if variable.name != SEED_STATE]
        self._noise = [variable for variable in fixed if variable.name == SEED_STATE]
        self.trainable_shapes: tuple[Shape, ...] = tuple(tuple(variable.shape) for variable in self._trainable)
        self.buffer_shapes: tuple[Shape, ...] = tuple(tuple(variable.shape) for variable in self._buffers)
        self.noise_states = len(self._noise)

    def __call__(
        self,
        inputs: Sequence[tf.Tensor],
        trainable: Sequence[tf.Tensor],
        buffers: Sequence[tf.Tensor],
        noise: Sequence[tf.Tensor],
        *,
        training: bool,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Call the layer; nothing is mutated.

        Args:
            inputs: [batch, …] each; more than one for a layer that merges.
            trainable: A value for each trainable variable.
            buffers: A value for each buffer.
            noise: A state, int64 [2], for each random number generator: seed and number of draws so far.
            training: Whether batch normalization uses the batch's moments and noise layers draw.

        Returns:
            The output [batch, …], and the buffers after the call.
        """
        values = [*trainable, *buffers, *noise]
        variables = [*self._trainable, *self._buffers, *self._noise]
        with _keras_lock, keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))) as scope:
            output = self._layer(list(inputs) if self._merges else inputs[0], training=training)
        return output, [scope.get_current_value(variable) for variable in self._buffers]


@contextmanager
def _stable_names(name: str) -> Iterator[None]:
    """Let TensorFlow number what this thread traces from a start that depends on `name` alone.

    TensorFlow numbers functions and tensors in the order of their creation. The caller holds the Keras lock, so that no
    two threads replace `ops.uid` at the same time.
    """
    numbers = itertools.count(int(name[:10], 16) * NUMBERS_PER_NAME)
    thread = threading.get_ident()
    before = ops.uid
    ops.uid = lambda: next(numbers) if threading.get_ident() == thread else before()
    try:
        yield
    finally:
        ops.uid = before
