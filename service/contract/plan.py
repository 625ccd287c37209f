"""The plan of a run: its network, variables, objective and sizes, computed from the spec and the shape of the data.

Nothing is built, loaded or allocated, so that the API can refuse a spec within a millisecond.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

from service.contract.data_spec import DataShape, UploadData
from service.contract.errors import InvalidSpec, LimitExceeded
from service.contract.history_format import MAX_FIRST_BATCH_BYTES, bytes_per_value
from service.contract.model_spec import KerasModel
from service.contract.network import layers, reshaping
from service.contract.network.graph import INPUT, KEEPS_VALUES, LayerMismatch, Network, Node, SizedNetwork, Variable
from service.contract.network.initializers import NEEDS_A_MATRIX
from service.contract.network.mlp import network_of_mlp
from service.contract.objective import Objective, objective_for, output_of_mlp
from service.contract.recording_spec import Statistic
from service.contract.spec import ExperimentSpec
from service.contract.workload import Limits, Workload, workload

# Upper bound of the size of a `.keras` file without its values.
MODEL_FILE_BYTES, MODEL_FILE_BYTES_PER_VARIABLE = 8_192, 4_096
# Layers that may stand between the data and an embedding: they move values without changing them.
MOVES_VALUES = (*KEEPS_VALUES, reshaping.RepeatVector)
# The variable that an initializer fills; all others fill vectors.
INITIALIZED = {
    "kernel_initializer": "kernel",
    "recurrent_initializer": "recurrent_kernel",
    "embeddings_initializer": "embeddings",
    "alpha_initializer": "alpha",
}


@dataclass(frozen=True)
class Plan:
    """Everything that follows from a spec and the shape of its data."""

    spec: ExperimentSpec
    shape: DataShape  # with samples as the network reads them
    network: Network
    objective: Objective
    work: Workload
    warnings: tuple[str, ...] = ()

    @property
    def sized(self) -> SizedNetwork:
        """The network with the shapes of its layers."""
        return self.network.sized(self.shape.input_shape)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Every trainable variable from input to output."""
        return self.sized.variables

    @property
    def activations(self) -> tuple[Variable, ...]:
        """Every hidden activation from input to output."""
        return self.sized.activations

    def rows_of(self, statistic: Statistic) -> tuple[Variable, ...]:
        """Return the variables or activations that have this statistic, in the order of the stored history."""
        return self.activations if statistic.of_activations else self._with_gradient

    @cached_property
    def _with_gradient(self) -> tuple[Variable, ...]:
        return tuple(variable for variable in self.variables if variable.has_gradient)

    @property
    def values_per_sample(self) -> int:
        """Values that a forward pass keeps per sample, which bounds the memory of a step."""
        return self.sized.values_per_sample

    @property
    def batch_size(self) -> int:
        """Samples of a full batch, which are at most the training samples."""
        return min(self.spec.training.batch_size, self.work.train_rows)

    @property
    def recorded(self) -> tuple[Statistic, ...]:
        """The statistics that are stored."""
        return tuple(s for s in self.spec.recording.statistics if s.stored)

    @property
    def recorded_steps(self) -> int:
        """Steps whose statistics are stored."""
        return math.ceil(self.work.total_steps / self.spec.recording.every)

    @property
    def history_bytes(self) -> int:
        """Bytes that the complete run stores: its history, and its model if the spec keeps it."""
        recorded = self.recorded_steps * sum(self.bytes_per_step(statistic) for statistic in self.recorded)
        metrics = self.work.total_steps + self.spec.training.epochs * len(self.objective.epoch_metrics)
        model = self._model_bytes if self.spec.recording.keep_model else 0
        return recorded + metrics * bytes_per_value(self.spec.training.precision) + self.first_batch_bytes + model

    @property
    def _model_bytes(self) -> int:
        """An upper bound on the bytes of the `.keras` file."""
        values = sum(math.prod(variable.shape) for variable in self.variables)
        structure = MODEL_FILE_BYTES + MODEL_FILE_BYTES_PER_VARIABLE * len(self.variables)
        return values * bytes_per_value(self.spec.training.precision) + structure

    @property
    def first_batch_bytes(self) -> int:
        """Bytes of the stored first batch with its errors; 0 if it is too large, or if the theory does not use it."""
        if isinstance(self.spec.model, KerasModel):
            return 0
        values = self.batch_size * (math.prod(self.shape.input_shape) + self.objective.output_units)
        size = values * bytes_per_value(self.spec.training.precision)
        return size if size <= MAX_FIRST_BATCH_BYTES else 0

    def bytes_per_step(self, statistic: Statistic) -> int:
        """Return the bytes of one recorded step of a statistic."""
        return len(self.rows_of(statistic)) * bytes_per_value(self.spec.training.precision)


def plan(spec: ExperimentSpec, shape: DataShape, limits: Limits | None = None) -> Plan:
    """Make the plan of a run.

    Args:
        spec: A resolved spec.
        shape: The shape of its data.
        limits: Checked before anything is made whose size depends on the limited value; None for recorded runs.

    Raises:
        LimitExceeded: The spec breaks a limit.
        InvalidSpec: Parts of the spec contradict each other or the data.
    """

    def check(location: tuple[str, ...], limit: str, value: int) -> None:
        maximum = getattr(limits, limit, None)
        if maximum is not None and value > maximum:
            raise LimitExceeded(location, limit, value, maximum)

    entries = math.prod(shape.input_shape) + math.prod(shape.target_shape)
    check(("data",), "data_bytes", shape.samples * entries * bytes_per_value(spec.training.precision))
    work = _workload(spec, shape)
    check(("training", "epochs"), "steps", work.total_steps)
    model = spec.model
    if isinstance(model, KerasModel):
        network = model.network
        check(("model", "config"), "layers", len(network.nodes))
        shape, warnings = _as_the_network_reads_it(network, shape)
    else:
        mlp = model.as_mlp().resolved()
        check(("model", "depth" if mlp.hidden_units is None else "hidden_units"), "layers", mlp.hidden_layers)
        network = network_of_mlp(mlp, shape.input_shape, *output_of_mlp(shape, spec.training.loss))
        warnings = ()
    sized = network.sized(shape.input_shape)
    try:
        output_shape = sized.shapes[network.output]
    except LayerMismatch as error:
        raise InvalidSpec(("model", "config"), str(error)) from error
    check(("model",), "parameters", sized.parameter_count)
    objective = objective_for(network, output_shape, shape, spec.training.loss)
    if objective.from_logits:
        warnings += ("the network ends in a linear layer: the loss reads its output as logits",)
    found = Plan(spec, shape, network, objective, work, warnings)
    check(("training", "batch_size"), "batch_values", found.batch_size * found.values_per_sample)
    if not found.rows_of(Statistic.GRADIENT_NORM):
        raise InvalidSpec(("model", "config"), "the network has no trainable variable that the loss depends on")
    if not found.activations and any(s.of_activations for s in found.recorded):
        message = "the network has no hidden activation; name statistics of variables only"
        raise InvalidSpec(("recording", "statistics"), message)
    rows = sum(len(found.rows_of(statistic)) for statistic in found.recorded)
    check(("training", "epochs"), "recorded_values", rows * found.recorded_steps)
    _check_initializers(found)
    _check_embeddings(found)
    _check_monitor(found)
    if limits is not None:  # runs that were recorded before this rule are still read
        _check_batch_normalization(found)
    return replace(found, warnings=warnings + _batch_warnings(found))


def _workload(spec: ExperimentSpec, shape: DataShape) -> Workload:
    work, data = workload(spec, shape.samples), spec.data
    if isinstance(data, UploadData) and (data.train_rows or data.validation_rows):
        if work.train_rows + work.validation_rows > shape.samples or work.train_rows < 1:
            raise InvalidSpec(
                ("data", "train_rows" if data.train_rows else "validation_rows"),
                f"{work.train_rows:,} samples for training and {work.validation_rows:,} for validation do not fit: "
                f"the data set has {shape.samples:,} samples, and training needs at least one",
            )
    elif work.train_rows == 0 or (spec.training.validation_split > 0 and work.validation_rows == 0):
        raise InvalidSpec(
            ("training", "validation_split"),
            f"{spec.training.validation_split} of {shape.samples} samples leaves "
            f"{work.train_rows} for training and {work.validation_rows} for validation: both need at least one",
        )
    return work


def _as_the_network_reads_it(network: Network, shape: DataShape) -> tuple[DataShape, tuple[str, ...]]:
    """Return the data with samples reshaped to the input that the network declares, and warnings about it."""
    declared, given = network.input_shape, shape.input_shape
    if declared is None or (
        len(declared) == len(given) and all(d in (None, g) for d, g in zip(declared, given, strict=True))
    ):
        return shape, ()
    entries = math.prod(given)
    known = math.prod(d for d in declared if d is not None)
    open_sizes = declared.count(None)
    if open_sizes > 1 or (open_sizes == 0 and known != entries) or entries % known:
        raise InvalidSpec(
            ("model", "config"),
            f"the network reads samples of shape {list(declared)}, but the data have samples of shape {list(given)}",
        )
    read = tuple(d if d is not None else entries // known for d in declared)
    return (
        shape.model_copy(update={"input_shape": read}),
        (f"samples of shape {list(given)} are read with shape {list(read)}, which the network's input declares",),
    )


def _check_initializers(found: Plan) -> None:
    """Refuse an initializer that needs a matrix for a variable that is not one."""
    location = ("model", "config") if isinstance(found.spec.model, KerasModel) else ("model", "kernel_initializer")
    for node in found.network.nodes:
        variables = found.sized.variables_of[node.name]
        for field in type(node.layer).model_fields:
            if not field.endswith("_initializer"):
                continue
            name = getattr(node.layer, field).name
            rank = len(variables.get(INITIALIZED.get(field, ""), (0,)))
            if name in NEEDS_A_MATRIX and (rank < 2 or (name == "identity" and rank != 2)):
                raise InvalidSpec(location, f"layer '{node.name}': {field}: {name} fills matrices only")


def _check_embeddings(found: Plan) -> None:
    """Check that embeddings get integers below `input_dim`; any other value would end the run."""
    for node in found.network.nodes:
        if not isinstance(node.layer, layers.Embedding):
            continue
        label = f"layer '{node.name}' (Embedding)"
        before: Node | None = node
        while before is not None and before.inputs[0] != INPUT:
            before = found.network.by_name[before.inputs[0]]
            if not isinstance(before.layer, MOVES_VALUES):
                raise InvalidSpec(("model", "config"), f"{label} must read the data itself, not another layer")
        if found.shape.tokens is None or found.spec.data.scale != "none":
            raise InvalidSpec(
                ("model", "config"), f"{label} needs integers from 0: choose data of tokens and set data.scale to none"
            )
        if found.shape.tokens > node.layer.input_dim:
            raise InvalidSpec(
                ("model", "config"),
                f"{label}: input_dim is {node.layer.input_dim}, but the data hold integers up to "
                f"{found.shape.tokens - 1}: set input_dim to at least {found.shape.tokens}",
            )


def _check_monitor(found: Plan) -> None:
    stopping = found.spec.training.early_stopping
    if stopping is None:
        return
    location = ("training", "early_stopping", "monitor")
    metrics = found.objective.epoch_metrics
    if stopping.monitor not in metrics:
        raise InvalidSpec(location, f"{stopping.monitor} is not measured in this run; choose {', '.join(metrics)}")
    if stopping.monitor.startswith("val_") and found.work.validation_rows == 0:
        raise InvalidSpec(location, f"{stopping.monitor} needs validation samples: raise training.validation_split")


def _normalizes_batches(found: Plan) -> bool:
    return any(isinstance(node.layer, layers.BatchNormalization) for node in found.network.nodes)


def _check_batch_normalization(found: Plan) -> None:
    samples, batch = found.work.train_rows, found.spec.training.batch_size
    if batch > samples and _normalizes_batches(found):
        raise InvalidSpec(
            ("training", "batch_size"),
            f"{batch:,} is more than the {samples:,} training samples, which batch normalization would see instead: "
            f"write at most {samples:,}",
        )


def _batch_warnings(found: Plan) -> tuple[str, ...]:
    batch = found.spec.training.batch_size
    if _normalizes_batches(found) and (batch == 1 or found.work.train_rows % batch == 1):
        return ("batch normalization of a batch of one sample has no variance: its output is the same for any sample",)
    return ()
