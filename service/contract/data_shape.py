"""The shape of the data that a spec describes, computed from the spec alone."""

from typing import assert_never

from service.contract.data_spec import (
    AddingProblem,
    Blobs,
    BundledData,
    Circles,
    CopyMemory,
    DataShape,
    DataSpec,
    Moons,
    Parity,
    RandomData,
    Teacher,
    TwoSpirals,
    UploadData,
)

# Constants, because the API does not install scikit-learn.
BUNDLED = {
    "breast_cancer": DataShape(samples=569, input_shape=(30,), classes=2, class_names=("malignant", "benign")),
    "digits": DataShape(samples=1797, input_shape=(64,), classes=10, class_names=tuple("0123456789"), tokens=17),
    "wine": DataShape(samples=178, input_shape=(13,), classes=3, class_names=("class_0", "class_1", "class_2")),
    "iris": DataShape(samples=150, input_shape=(4,), classes=3, class_names=("setosa", "versicolor", "virginica")),
    "diabetes": DataShape(samples=442, input_shape=(10,), target_shape=(1,), classes=None),
}


def shape_of(data: DataSpec) -> DataShape:
    """Return the shape of a data set that is generated or bundled.

    Raises:
        InvalidSpec: `data.shape` does not hold the values of a sample.
        ValueError: The data were uploaded; the store knows their shape.
    """
    match data:
        case BundledData():
            return BUNDLED[data.source].reshaped(data.shape)
        case Circles() | Moons() | TwoSpirals():
            return DataShape(samples=data.samples, input_shape=(2,), classes=2)
        case RandomData():
            return DataShape(samples=data.samples, input_shape=(data.features,), classes=2)
        case Blobs() | Teacher():
            return DataShape(samples=data.samples, input_shape=(data.features,), classes=data.classes)
        case Parity():
            return DataShape(samples=data.samples, input_shape=(data.bits,), classes=2)
        case AddingProblem():
            return DataShape(samples=data.samples, input_shape=(data.length, 2), target_shape=(1,), classes=None)
        case CopyMemory():
            return _copy_memory(data)
        case UploadData():
            raise ValueError("the shape of an upload is stored with it, not in the spec")
        case _:
            assert_never(data)


def _copy_memory(data: CopyMemory) -> DataShape:
    steps, tokens = 2 * data.length + data.delay, data.symbols + 2  # the symbols, a blank and a delimiter
    one_hot = data.encoding == "one_hot"
    return DataShape(
        samples=data.samples,
        input_shape=(steps, tokens) if one_hot else (steps,),
        target_shape=(steps,),
        classes=data.symbols + 1,
        tokens=None if one_hot else tokens,
    )
