"""The data of an experiment: generated, bundled with scikit-learn, or uploaded."""

import math
from typing import Annotated, Literal

from pydantic import Field

from service.contract.errors import InvalidSpec
from service.contract.spec_part import MAX_INTEGER, SpecPart

Scale = Literal["none", "standard", "minmax"]
Shape = Annotated[
    tuple[Annotated[int, Field(ge=1, le=MAX_INTEGER)], ...], Field(strict=False, min_length=1, max_length=3)
]
DATASET_ID = r"^[0-9a-f]{24}$"


class _Samples(SpecPart):
    scale: Scale = Field(
        "none", description="Scales columns by mean and standard deviation, or by range, of the training samples."
    )
    seed: int | None = Field(None, ge=0, le=MAX_INTEGER, description="Default: `training.seed`.")


class _Generated(_Samples):
    samples: int = Field(1000, ge=2, le=MAX_INTEGER, description="Samples, validation samples included.")


class RandomData(_Generated):
    """Uniform inputs in [0, 1) and random binary labels: there is nothing to learn, but there are gradients."""

    source: Literal["random"] = "random"
    features: int = Field(20, ge=1, le=MAX_INTEGER, description="Columns.")


class BundledData(_Samples):
    """A real data set that comes with scikit-learn; its samples are shuffled once before the split."""

    source: Literal["breast_cancer", "digits", "wine", "iris", "diabetes"]
    shape: Shape | None = Field(None, description="Shape of a sample: [8, 8, 1] reads digits as images.")


class Circles(_Generated):
    """Two concentric circles (`sklearn.datasets.make_circles`)."""

    source: Literal["circles"] = "circles"
    noise: float = Field(0.05, ge=0, le=1e6, description="Standard deviation of the noise on both coordinates.")
    factor: float = Field(
        0.5, gt=0, lt=1, description="Radius of the inner circle; the radius of the outer circle is 1."
    )


class Moons(_Generated):
    """Two interlocking half circles (`sklearn.datasets.make_moons`)."""

    source: Literal["moons"] = "moons"
    noise: float = Field(0.1, ge=0, le=1e6, description="Standard deviation of the noise on both coordinates.")


class Blobs(_Generated):
    """Gaussian blobs, one per class (`sklearn.datasets.make_blobs`)."""

    source: Literal["blobs"] = "blobs"
    features: int = Field(2, ge=1, le=MAX_INTEGER)
    classes: int = Field(3, ge=2, le=MAX_INTEGER)
    spread: float = Field(1.0, ge=0, le=1e6, description="Standard deviation of each blob.")


class TwoSpirals(_Generated):
    """Two spirals that wind around each other (Lang and Witbrock 1988)."""

    source: Literal["two_spirals"] = "two_spirals"
    turns: float = Field(1.5, gt=0, le=100, description="Turns of each spiral.")
    noise: float = Field(0.0, ge=0, le=1e6, description="Standard deviation of the noise on both coordinates.")


class Parity(_Generated):
    """The parity of random bits: class 1 if the number of ones is odd. Inputs are −1 and 1."""

    source: Literal["parity"] = "parity"
    bits: int = Field(8, ge=1, le=MAX_INTEGER)


class Teacher(_Generated):
    """Standard normal inputs; the label is the largest output unit of a random network of this size."""

    source: Literal["teacher"] = "teacher"
    features: int = Field(20, ge=1, le=MAX_INTEGER)
    classes: int = Field(2, ge=2, le=1000)
    depth: int = Field(2, ge=1, le=100, description="Hidden layers of the teacher.")
    width: int = Field(32, ge=1, le=1024, description="Units of each hidden layer.")
    activation: Literal["tanh", "relu"] = "tanh"


class AddingProblem(_Generated):
    """Sequences of (number in [0, 1), mark): the target is the sum of the two marked numbers.

    Hochreiter and Schmidhuber 1997, section 5.4, with one mark in each half of the sequence. A sample has shape
    [length, 2].
    """

    source: Literal["adding_problem"] = "adding_problem"
    length: int = Field(50, ge=2, le=MAX_INTEGER)


class CopyMemory(_Generated):
    """Symbols to repeat after a delay, with one label per time step (Arjovsky, Shah and Bengio 2016, section 4.1).

    The input has `length` random symbols, `delay` − 1 blanks, a delimiter and `length` blanks. The labels are blank
    except for the last `length` steps, which repeat the symbols. Class 0 is the blank. A sample has shape
    [2 · length + delay, symbols + 2] one-hot, or [2 · length + delay] as tokens.
    """

    source: Literal["copy_memory"] = "copy_memory"
    length: int = Field(5, ge=1, le=MAX_INTEGER)
    delay: int = Field(10, ge=1, le=MAX_INTEGER)
    symbols: int = Field(8, ge=2, le=MAX_INTEGER)
    encoding: Literal["one_hot", "tokens"] = "one_hot"


class UploadData(_Samples):
    """A data set that was uploaded to `POST /v1/datasets`."""

    source: Literal["upload"] = "upload"
    dataset_id: str = Field(pattern=DATASET_ID)
    shape: Shape | None = Field(None, description="Shape of a sample, for example an image or [steps, features].")
    shuffle: bool = Field(True, description="Shuffle the samples once before the split, with `data.seed`.")
    train_rows: int | None = Field(
        None,
        ge=1,
        le=MAX_INTEGER,
        description="Number of training samples, the first ones; default: by `training.validation_split`.",
    )
    validation_rows: int | None = Field(
        None, ge=1, le=MAX_INTEGER, description="Number of validation samples, the last ones."
    )


DataSpec = Annotated[
    RandomData
    | BundledData
    | Circles
    | Moons
    | Blobs
    | TwoSpirals
    | Parity
    | Teacher
    | AddingProblem
    | CopyMemory
    | UploadData,
    Field(discriminator="source"),
]


class DataShape(SpecPart):
    """The shape of a data set, known before any sample of it is made.

    Inputs are [samples, *input_shape]. Targets are [samples, *target_shape]: class indices (int32) if there are
    classes, otherwise values.
    """

    samples: int
    input_shape: Annotated[tuple[int, ...], Field(strict=False)]
    target_shape: Annotated[tuple[int, ...], Field(strict=False)] = ()
    classes: int | None = Field(description="None for regression.")
    class_names: Annotated[tuple[str, ...] | None, Field(strict=False)] = None
    tokens: int | None = Field(None, description="If set, inputs are integers from 0 to this number minus 1.")

    @property
    def columns(self) -> int:
        """Values per sample."""
        return math.prod(self.input_shape)

    def reshaped(self, shape: tuple[int, ...] | None) -> "DataShape":
        """Return the same data with samples of another shape, if one is given.

        Raises:
            InvalidSpec: The new shape does not hold the values of a sample.
        """
        if shape is None:
            return self
        if math.prod(shape) != self.columns:
            raise InvalidSpec(
                ("data", "shape"), f"a sample has {self.columns:,} values, but {list(shape)} holds {math.prod(shape):,}"
            )
        return self.model_copy(update={"input_shape": shape})
