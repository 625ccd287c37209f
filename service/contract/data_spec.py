"""Where the rows come from."""

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


class _Rows(SpecPart):
    scale: Scale = Field("none", description="Columns by mean and deviation, or by range, of the training rows.")
    seed: int | None = Field(None, ge=0, le=MAX_INTEGER, description="Default: `training.seed`.")


class _Generated(_Rows):
    samples: int = Field(1000, ge=2, le=MAX_INTEGER, description="Rows, validation rows included.")


class RandomData(_Generated):
    """Uniform inputs in [0, 1) and fair random binary labels: nothing to learn, gradients to look at."""

    source: Literal["random"] = "random"
    features: int = Field(20, ge=1, le=MAX_INTEGER, description="Columns.")


class BundledData(_Rows):
    """A real data set that comes with scikit-learn, its rows shuffled once before the split."""

    source: Literal["breast_cancer", "digits", "wine", "iris", "diabetes"]
    shape: Shape | None = Field(None, description="Read each row as this shape: [8, 8, 1] for digits as images.")


class Circles(_Generated):
    """Two circles, one within the other (`sklearn.datasets.make_circles`)."""

    source: Literal["circles"] = "circles"
    noise: float = Field(0.05, ge=0, le=1e6, description="Standard deviation of the noise on both coordinates.")
    factor: float = Field(0.5, gt=0, lt=1, description="Radius of the inner circle; the outer one's is 1.")


class Moons(_Generated):
    """Two half circles that interlock (`sklearn.datasets.make_moons`)."""

    source: Literal["moons"] = "moons"
    noise: float = Field(0.1, ge=0, le=1e6, description="Standard deviation of the noise on both coordinates.")


class Blobs(_Generated):
    """Gaussian blobs, one a class (`sklearn.datasets.make_blobs`)."""

    source: Literal["blobs"] = "blobs"
    features: int = Field(2, ge=1, le=MAX_INTEGER)
    classes: int = Field(3, ge=2, le=MAX_INTEGER)
    spread: float = Field(1.0, ge=0, le=1e6, description="Standard deviation of each blob.")


class TwoSpirals(_Generated):
    """Two spirals that wind around each other (Lang and Witbrock 1988)."""

    source: Literal["two_spirals"] = "two_spirals"
    turns: float = Field(1.5, gt=0, le=100, description="Times that each spiral goes around.")
    noise: float = Field(0.0, ge=0, le=1e6, description="Standard deviation of the noise on both coordinates.")


class Parity(_Generated):
    """Whether the number of ones among random bits is odd; inputs are −1 and 1."""

    source: Literal["parity"] = "parity"
    bits: int = Field(8, ge=1, le=MAX_INTEGER)


class Teacher(_Generated):
    """Standard normal inputs, labeled by a random network of this size: its largest output unit."""

    source: Literal["teacher"] = "teacher"
    features: int = Field(20, ge=1, le=MAX_INTEGER)
    classes: int = Field(2, ge=2, le=1000)
    depth: int = Field(2, ge=1, le=100, description="Hidden layers of the teacher.")
    width: int = Field(32, ge=1, le=1024, description="Units of each.")
    activation: Literal["tanh", "relu"] = "tanh"


class AddingProblem(_Generated):
    """Sequences of (number in [0, 1), mark): the target is the sum of the two marked numbers.

    Hochreiter and Schmidhuber 1997, section 5.4, with the marks one in each half of the sequence. Inputs are
    [length, 2].
    """

    source: Literal["adding_problem"] = "adding_problem"
    length: int = Field(50, ge=2, le=MAX_INTEGER)


class CopyMemory(_Generated):
    """Symbols to be repeated after a delay, one label a time step (Arjovsky, Shah and Bengio 2016, section 4.1).

    `length` random symbols, `delay` − 1 blanks, a delimiter, `length` blanks; the labels are blank but for the last
    `length` steps, which repeat the symbols. Class 0 is the blank. Inputs are [2 · length + delay, symbols + 2] one
    hot, or [2 · length + delay] tokens.
    """

    source: Literal["copy_memory"] = "copy_memory"
    length: int = Field(5, ge=1, le=MAX_INTEGER)
    delay: int = Field(10, ge=1, le=MAX_INTEGER)
    symbols: int = Field(8, ge=2, le=MAX_INTEGER)
    encoding: Literal["one_hot", "tokens"] = "one_hot"


class UploadData(_Rows):
    """A data set that was uploaded to `POST /v1/datasets`."""

    source: Literal["upload"] = "upload"
    dataset_id: str = Field(pattern=DATASET_ID)
    shape: Shape | None = Field(None, description="Read each row as this shape: an image, or [steps, features].")
    shuffle: bool = Field(True, description="Shuffle the rows once before the split, by `data.seed`.")
    train_rows: int | None = Field(
        None, ge=1, le=MAX_INTEGER, description="The first so many rows train; else `training.validation_split` cuts."
    )
    validation_rows: int | None = Field(None, ge=1, le=MAX_INTEGER, description="The last so many rows validate.")


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
    """What a data set looks like, known before a row of it is made.

    Inputs are [samples, *input_shape]. Labels are class numbers [samples, *target_shape] where there are classes,
    else targets [samples, *target_shape].
    """

    samples: int
    input_shape: Annotated[tuple[int, ...], Field(strict=False)]
    target_shape: Annotated[tuple[int, ...], Field(strict=False)] = ()
    classes: int | None = Field(description="None for regression.")
    class_names: Annotated[tuple[str, ...] | None, Field(strict=False)] = None
    tokens: int | None = Field(None, description="Inputs are whole numbers from 0 to below this.")

    @property
    def columns(self) -> int:
        """Numbers a row."""
        return math.prod(self.input_shape)

    def reshaped(self, shape: tuple[int, ...] | None) -> "DataShape":
        """With rows of another shape, if one is given.

        Raises:
            InvalidSpec: it holds another number of entries.
        """
        if shape is None:
            return self
        if math.prod(shape) != self.columns:
            raise InvalidSpec(
                ("data", "shape"), f"a row holds {self.columns} numbers, {list(shape)} would hold {math.prod(shape):,}"
            )
        return self.model_copy(update={"input_shape": shape})
