"""All that follows from a spec and the shape of its data: the network, its variables, the objective, the sizes.

Nothing is built, loaded or allocated to find out, so that the API can say no in a millisecond.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

from service.contract.data_spec import DataShape, UploadData
from service.contract.errors import InvalidSpec, LimitExceeded
from service.contract.history_format import MAX_FIRST_BATCH_BYTES, bytes_per_value
from service.contract.model_spec import KerasModel
from service.contract.network import layers, reshaping
from service.contract.network.graph import INPUT, KEEPS_VALUES, LayerMismatch, Network, Node, Variable
from service.contract.network.initializers import NEEDS_A_MATRIX
from service.contract.network.mlp import network_of_mlp
from service.contract.objective import Objective, objective_for, output_of_mlp
from service.contract.recording_spec import Statistic
from service.contract.spec import ExperimentSpec
from service.contract.workload import Limits, Workload, workload

FILED_BYTES, FILED_BYTES_A_VARIABLE = 8_192, 4_096  # of a `.keras` file, beside its numbers
SHAPING = (*KEEPS_VALUES, reshaping.RepeatVector)
INITIALIZED = {
    "kernel_initializer": "kernel",
    "recurrent_initializer": "recurrent_kernel",
    "embeddings_initializer": "embeddings",
    "alpha_initializer": "alpha",
}


@dataclass(frozen=True)
class Plan:
    """A spec, understood."""

    spec: ExperimentSpec
    shape: DataShape  # as the network reads it
    network: Network
    objective: Objective
    work: Workload
    warnings: tuple[str, ...] = ()

    @cached_property
    def variables(self) -> tuple[Variable, ...]:
        """Every trainable variable from input to output."""
        return self.network.variables(self.shape.input_shape)

    @cached_property
    def activations(self) -> tuple[Variable, ...]:
        """One row a hidden activation."""
        return self.network.activations(self.shape.input_shape)

    def rows_of(self, statistic: Statistic) -> tuple[Variable, ...]:
        """What a statistic is recorded of, in the order in which it is stored."""
        return self.activations if statistic.of_activations else tuple(v for v in self.variables if v.has_gradient)

    @cached_property
    def values_per_sample(self) -> int:
        """Numbers that a forward pass makes of one row, which bounds the memory of a step."""
        return self.network.values(self.shape.input_shape)

    @property
    def batch_size(self) -> int:
        """Rows of a whole batch, which holds no more than there are."""
        return min(self.spec.training.batch_size, self.work.train_rows)

    @property
    def recorded(self) -> tuple[Statistic, ...]:
        """The statistics that have a series."""
        return tuple(s for s in self.spec.recording.statistics if s.stored)

    @property
    def recorded_steps(self) -> int:
        """Steps of which the statistics are kept."""
        return math.ceil(self.work.total_steps / self.spec.recording.every)

    @property
    def history_bytes(self) -> int:
        """Bytes of all that the run will record, and of its model if that is kept, if it comes to its end."""
        recorded = self.recorded_steps * sum(self.bytes_per_step(statistic) for statistic in self.recorded)
        figures = self.work.total_steps + self.spec.training.epochs * len(self.objective.epoch_metrics)
        model = self._model_bytes if self.spec.recording.keep_model else 0
        return recorded + figures * bytes_per_value(self.spec.training.precision) + self.first_batch_bytes + model

    @property
    def _model_bytes(self) -> int:
        """Of a `.keras` file, rather too many."""
        numbers = sum(math.prod(variable.shape) for variable in self.variables)
        described = FILED_BYTES + FILED_BYTES_A_VARIABLE * len(self.variables)
        return numbers * bytes_per_value(self.spec.training.precision) + described

    @property
    def first_batch_bytes(self) -> int:
        """Bytes of the first batch with its errors; 0 where it is too large to keep, or theory has no use for it."""
        if isinstance(self.spec.model, KerasModel):
            return 0
        numbers = self.batch_size * (math.prod(self.shape.input_shape) + self.objective.output_units)
        size = numbers * bytes_per_value(self.spec.training.precision)
        return size if size <= MAX_FIRST_BATCH_BYTES else 0

    def bytes_per_step(self, statistic: Statistic) -> int:
        """Bytes of one recorded step of a statistic."""
        return len(self.rows_of(statistic)) * bytes_per_value(self.spec.training.precision)


def plan(spec: ExperimentSpec, shape: DataShape, limits: Limits | None = None) -> Plan:
    """What a resolved spec comes to, on data of this shape.

    With `limits`, each is checked before anything is made that grows with it.

    Raises:
        LimitExceeded: naming the field, the limit and the value.
        InvalidSpec: parts that contradict each other.
    """

    def within(location: tuple[str, ...], limit: str, value: int) -> None:
        maximum = getattr(limits, limit, None)
        if maximum is not None and value > maximum:
            raise LimitExceeded(location, limit, value, maximum)

    entries = math.prod(shape.input_shape) + math.prod(shape.target_shape)
    within(("data",), "data_bytes", shape.samples * entries * bytes_per_value(spec.training.precision))
    work = _workload(spec, shape)
    within(("training", "epochs"), "steps", work.total_steps)
    model = spec.model
    if isinstance(model, KerasModel):
        network = model.network
        within(("model", "config"), "layers", len(network.nodes))
        shape, warnings = _as_the_network_reads_it(network, shape)
    else:
        mlp = model.as_mlp().resolved()
        within(("model", "depth" if mlp.hidden_units is None else "hidden_units"), "layers", mlp.hidden_layers)
        network = network_of_mlp(mlp, shape.input_shape, *output_of_mlp(shape, spec.training.loss))
        warnings = ()
    try:
        shapes = network.shapes(shape.input_shape)
    except LayerMismatch as error:
        raise InvalidSpec(("model", "config"), str(error)) from error
    within(("model",), "parameters", network.parameter_count(shapes))
    objective = objective_for(network, shapes[network.output], shape, spec.training.loss)
    if objective.from_logits:
        warnings += ("the network ends in a linear layer: the loss reads its output as logits",)
    found = Plan(spec, shape, network, objective, work, warnings)
    within(("training", "batch_size"), "batch_values", found.batch_size * found.values_per_sample)
    if not found.rows_of(Statistic.GRADIENT_NORM):
        raise InvalidSpec(("model", "config"), "the network has no variable to train")
    if not found.activations and any(s.of_activations for s in found.recorded):
        raise InvalidSpec(("recording", "statistics"), "the network has no hidden activation to record")
    variables = sum(len(found.rows_of(statistic)) for statistic in found.recorded)
    within(("training", "epochs"), "recorded_values", variables * found.recorded_steps)
    _check_initializers(found)
    _check_embeddings(found)
    _check_monitor(found)
    if limits is not None:  # what was accepted before this was refused is still read
        _check_batch_normalization(found)
    return replace(found, warnings=warnings + _warnings_of_batches(found))


def _workload(spec: ExperimentSpec, shape: DataShape) -> Workload:
    work, data = workload(spec, shape.samples), spec.data
    explicit = isinstance(data, UploadData) and (data.train_rows or data.validation_rows)
    if explicit:
        if work.train_rows + work.validation_rows > shape.samples or work.train_rows < 1:
            which = "train_rows" if isinstance(data, UploadData) and data.train_rows else "validation_rows"
            raise InvalidSpec(
                ("data", which),
                f"{work.train_rows:,} rows to train on and {work.validation_rows:,} to validate with, "
                f"of the {shape.samples:,} that there are",
            )
    elif work.train_rows == 0 or (spec.training.validation_split > 0 and work.validation_rows == 0):
        raise InvalidSpec(
            ("training", "validation_split"),
            f"{spec.training.validation_split} of {shape.samples} rows leaves "
            f"{work.train_rows} to train on and {work.validation_rows} to validate with",
        )
    return work


def _as_the_network_reads_it(network: Network, shape: DataShape) -> tuple[DataShape, tuple[str, ...]]:
    """The shape of the rows as the network's input declares it."""
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
            f"the network reads rows of shape {list(declared)}, the data have rows of shape {list(given)}",
        )
    read = tuple(d if d is not None else entries // known for d in declared)
    return (
        shape.model_copy(update={"input_shape": read}),
        (f"rows of shape {list(given)} are read as {list(read)}, as the network's input says",),
    )


def _check_initializers(found: Plan) -> None:
    shapes = found.network.shapes(found.shape.input_shape)
    location = ("model", "config") if isinstance(found.spec.model, KerasModel) else ("model", "kernel_initializer")
    for node in found.network.nodes:
        variables = dict(node.layer.variables(*(shapes[name] for name in node.inputs)))
        for field in type(node.layer).model_fields:
            if not field.endswith("_initializer"):
                continue
            name = getattr(node.layer, field).name
            rank = len(variables.get(INITIALIZED.get(field, ""), (0,)))
            if name in NEEDS_A_MATRIX and (rank < 2 or (name == "identity" and rank != 2)):
                raise InvalidSpec(location, f"layer '{node.name}': {field}: {name} draws matrices only")


def _check_embeddings(found: Plan) -> None:
    """An embedding looks rows up: a number that has none would end the run."""
    for node in found.network.nodes:
        if not isinstance(node.layer, layers.Embedding):
            continue
        label = f"layer '{node.name}' (Embedding)"
        before: Node | None = node
        while before is not None and before.inputs[0] != INPUT:
            before = found.network.by_name[before.inputs[0]]
            if not isinstance(before.layer, SHAPING):
                raise InvalidSpec(("model", "config"), f"{label} must read the data themselves, not another layer")
        if found.shape.tokens is None or found.spec.data.scale != "none":
            raise InvalidSpec(("model", "config"), f"{label} wants unscaled whole numbers from 0, the data are others")
        if found.shape.tokens > node.layer.input_dim:
            raise InvalidSpec(
                ("model", "config"),
                f"{label}: input_dim: {node.layer.input_dim}, the data hold numbers up to {found.shape.tokens - 1}",
            )


def _check_monitor(found: Plan) -> None:
    stopping = found.spec.training.early_stopping
    if stopping is None:
        return
    location = ("training", "early_stopping", "monitor")
    if stopping.monitor not in found.objective.epoch_metrics:
        raise InvalidSpec(
            location, f"{stopping.monitor} is not measured here; there are {', '.join(found.objective.epoch_metrics)}"
        )
    if stopping.monitor.startswith("val_") and found.work.validation_rows == 0:
        raise InvalidSpec(location, f"{stopping.monitor} wants validation rows, and there are none")


def _normalizes_batches(found: Plan) -> bool:
    return any(isinstance(node.layer, layers.BatchNormalization) for node in found.network.nodes)


def _check_batch_normalization(found: Plan) -> None:
    rows, batch = found.work.train_rows, found.spec.training.batch_size
    if batch > rows and _normalizes_batches(found):
        raise InvalidSpec(
            ("training", "batch_size"),
            f"{batch:,} under batch normalization, which would see only the {rows:,} training rows",
        )


def _warnings_of_batches(found: Plan) -> tuple[str, ...]:
    batch = found.spec.training.batch_size
    if _normalizes_batches(found) and (batch == 1 or found.work.train_rows % batch == 1):
        return ("batch normalization of a batch of one row sees no deviation: its output is the same for any row",)
    return ()
