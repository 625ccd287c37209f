"""NPZ files: declared sizes are checked before data are read, and no code in the file is executed."""

import io
import pickle
import struct
import tempfile
import time
import tracemalloc
import zipfile
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.contract.errors import BadUpload
from service.uploads.npz_file import read_npz
from service.uploads.table import Table, Task, UploadLimits

X = np.arange(8.0).reshape(4, 2)
Y = np.array([0, 1, 0, 1])


def _npz(compressed: bool = False, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def _zip(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def _npy(header: str, content: bytes = b"", version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + content


def _claim(descr: str, shape: str, fortran_order: bool = False) -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran_order}, 'shape': {shape}, }}\n"


def _saved(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _read(content: bytes, task: Task = "auto", **limits: Any) -> Table:
    return read_npz(io.BytesIO(content), task, UploadLimits(**limits))


def _refusal(content: bytes, task: Task = "auto", **limits: Any) -> str:
    with pytest.raises(BadUpload) as caught:
        _read(content, task, **limits)
    return str(caught.value)


@given(
    x=st.sampled_from(["?", "i1", "u2", ">i4", "<i8", "u8", "<f2", ">f4", "<f4", "<f8", ">f8"]).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=5),
            elements=st.floats(0, 100, width=16) if "f" in dtype else None,
        )
    ),
    fortran=st.booleans(),
    compressed=st.booleans(),
    data=st.data(),
)
def test_saved_arrays_are_read_back(x: Any, fortran: bool, compressed: bool, data: st.DataObject) -> None:
    y = data.draw(hnp.arrays(data.draw(st.sampled_from(["<f8", ">f4"])), len(x), elements=st.floats(0, 1, width=32)))
    table = _read(_npz(compressed, x=np.asfortranarray(x) if fortran else x, y=y), "regression")

    assert table.x.dtype == (np.dtype("<f4") if x.dtype.kind == "f" and x.dtype.itemsize < 8 else np.dtype("<f8"))
    assert table.x.flags.c_contiguous
    assert (table.x == x.astype(table.x.dtype)).all()
    assert table.y.tolist() == y.astype(float).tolist()
    assert table.columns is None


def test_arrays_of_several_chunks_are_read_in_either_order() -> None:
    x = np.random.default_rng(0).normal(size=(30_000, 3))
    y = np.arange(30_000) % 3
    for saved in (x, np.asfortranarray(x)):
        table = _read(_npz(True, x=saved, y=y))

        assert (table.x == x).all()
        assert (table.y == y).all()


def test_a_spooled_temporary_file_is_read() -> None:
    with tempfile.SpooledTemporaryFile() as file:
        file.write(_npz(x=X, y=Y))
        assert (read_npz(cast(BinaryIO, file), "auto", UploadLimits()).x == X).all()


@pytest.mark.parametrize("names", [["wolf", "ant", "wolf", "ant"], [b"wolf", b"ant", b"wolf", b"ant"]])
def test_text_labels_become_classes(names: Any) -> None:
    table = _read(_npz(x=X, y=np.array(names)))

    assert (table.classes, table.y.tolist()) == (("ant", "wolf"), [1, 0, 1, 0])
    assert _read(_npz(x=X, y=np.array(names).astype(">U9"))).classes == ("ant", "wolf")


def test_labels_in_one_column_are_one_label_per_sample() -> None:
    assert _read(_npz(x=X, y=Y[:, None])).y.tolist() == [0, 1, 0, 1]
    assert _read(_npz(x=X, y=X)).y.tolist() == X.tolist()


def test_headers_as_other_programs_write_them_are_read() -> None:
    y = ("y.npy", _saved(Y))
    for header, version in (
        ('{"shape":(4,2),"descr":"<f8","fortran_order":False}', 1),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (4, 2), }" + " " * 500 + "\n", 2),
        ("{ 'fortran_order': False , 'descr' : 'f8', 'shape':( 4 , 2,)}\n", 3),
    ):
        assert (_read(_zip([("x.npy", _npy(header, X.tobytes(), version)), y])).x == X).all()


@pytest.mark.parametrize("sized", [False, True], ids=["the archive says what it holds", "the archive lies too"])
@pytest.mark.parametrize("member", ["x", "y"])
def test_a_declared_size_of_8_tebibytes_is_refused_at_once(sized: bool, member: str) -> None:
    huge = _npy(_claim("'<f8'", f"({2**40}, 1)"))
    members = {"x": _saved(X), "y": _saved(Y)} | {member: huge}
    content = _zip([(f"{name}.npy", saved) for name, saved in members.items()])
    if sized:  # the ZIP64 directory declares the same size as the header of the array
        content = _declare(content, f"{member}.npy", len(huge) + 2**43)
    tracemalloc.start()
    began = time.perf_counter()
    message = _refusal(content)
    seconds = time.perf_counter() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert message == (
        f"{member}.npy claims shape (1099511627776, 1) of float64: 8,796,093,022,208 bytes, at most 268,435,456 allowed"
    )
    assert peak < 1e6
    assert seconds < 0.5


def _declare(content: bytes, name: str, size: int) -> bytes:
    """Return the archive with another size for a member in its directory."""
    source = zipfile.ZipFile(io.BytesIO(content))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for info in source.infolist():
            archive.writestr(info.filename, source.read(info))
        archive.getinfo(name).file_size = size
    return target.getvalue()


@pytest.mark.parametrize("declared", [0, 100, 191, 193, 10**6, 2**40])
def test_a_size_in_the_directory_that_differs_from_the_array_is_refused(declared: int) -> None:
    assert _refusal(_declare(_npz(x=X, y=Y), "x.npy", declared)).startswith("x.npy ")


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_data_shorter_than_declared_are_refused(compression: int) -> None:
    short = _npy(_claim("'<f8'", "(1000000, 2)"), bytes(1000))
    whole = len(short) - 1000 + 16 * 10**6
    content = _zip([("x.npy", short), ("y.npy", _npy(_claim("'|b1'", "(1000000,)"), bytes(10**6)))], compression)
    tracemalloc.start()

    assert "x.npy cannot be read" in _refusal(_declare(content, "x.npy", whole))
    tracemalloc.stop()


def test_a_zip_bomb_is_refused_by_its_declared_or_by_its_real_size() -> None:
    zeros = bytes(2 * 10**7)
    y = ("y.npy", _npy(_claim("'|b1'", "(2000000,)"), bytes(2 * 10**6)))
    honest = _zip([("x.npy", _npy(_claim("'|u1'", "(2000000, 10)"), zeros)), y], zipfile.ZIP_DEFLATED)
    hidden = _zip([("x.npy", _npy(_claim("'|u1'", "(4, 2)"), zeros)), ("y.npy", _saved(Y))], zipfile.ZIP_DEFLATED)

    assert len(honest) < 10**5
    for content, expected in ((honest, "too large: 176,000,000 bytes"), (hidden, "the archive declares 20,")):
        tracemalloc.start()
        message = _refusal(content, data_bytes=10**8)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

        assert expected in message
        assert peak < 1e6


def test_pickles_are_never_opened() -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return pytest.fail, ("unpickled",)

    objects = np.array([Trap(), Trap()], dtype=object)
    file = io.BytesIO()
    np.lib.format.write_array(file, objects, allow_pickle=True)

    for name in ("x", "y"):
        members = {"x": _saved(X), "y": _saved(Y)} | {name: file.getvalue()}
        assert _refusal(_zip([(f"{n}.npy", saved) for n, saved in members.items()])) == (
            f"{name}.npy is an array of Python objects, which are never unpickled; save numbers or text"
        )
    assert "it begins with" in _refusal(_zip([("x.npy", pickle.dumps(Trap())), ("y.npy", _saved(Y))]))


@pytest.mark.parametrize(
    ("index", "value", "fortran", "message"),
    [
        ((70_000, 3), np.nan, False, "x[70000, 3] is nan; every value must be finite"),
        ((70_000, 3), -np.inf, True, "x[70000, 3] is -inf; every value must be finite"),
        ((79_999, 0), 1e39, False, "x[79999, 0] is 1e+39, too large for float32 (at most 3.4e+38)"),
    ],
)
def test_the_error_names_the_index_of_a_value_that_is_not_finite(
    index: tuple[int, int], value: float, fortran: bool, message: str
) -> None:
    x = np.ones((80_000, 4))
    x[index] = value
    y = np.arange(80_000) % 2

    assert _refusal(_npz(x=np.asfortranarray(x) if fortran else x, y=y)) == message


def test_the_error_names_the_index_of_a_bad_target_or_class() -> None:
    assert _refusal(_npz(x=X, y=np.array([0, 1, np.nan, 1]))) == "y[2] is nan; every value must be finite"
    targets = np.array([[0.5, 1], [1, 1], [1, np.inf], [1, 1]], dtype="f4")
    assert _refusal(_npz(x=X, y=targets)) == "y[2, 1] is inf; every value must be finite"
    assert _refusal(_npz(x=X, y=np.array(["a", "b", "", "a"]))) == "y[2] is empty"
    assert "class 'c' has only one row, y[2]" in _refusal(_npz(x=X, y=np.array(["a", "a", "c", "a"])))
    assert _refusal(_npz(x=X, y=np.array([b"a", b"\xff"] * 2))) == "y[0:4] has text that is not valid UTF-8"


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[0], Y, "x.npy has shape (2,) of float64: it must be [samples, ...]"),
        (np.ones((2, 1, 1, 1, 1)), Y[:2], "x.npy has shape (2, 1, 1, 1, 1) of float64"),
        (X, np.ones((4, 1, 1)), "y.npy has shape (4, 1, 1) of float64: it must be [samples]"),
        (X, np.ones((4, 2), dtype=int), "y.npy has shape (4, 2) of int64: several targets per sample must be floats"),
        (X, Y[:3], "x.npy has 4 samples, but y.npy has 3"),
        (X[:, :0], Y, "x.npy is empty: shape (4, 0) of float64"),
        (X[:1], Y[:1], "the file has 1 rows: at least 2"),
        (X.astype(complex), Y, "x.npy has the unsupported dtype '<c16'"),
        (X.astype("g"), Y, "x.npy has the unsupported dtype '<f16'"),
        (X, Y.astype("M8[s]"), "y.npy has the unsupported dtype '<M8[s]'"),
        (X.astype("U3"), Y, "x.npy has shape (4, 2) of str96; inputs must be numbers"),
        (X.view("f8,f8"), Y, "x.npy is an array of records"),
    ],
)
def test_arrays_that_are_not_a_table_are_refused(x: Any, y: Any, message: str) -> None:
    assert _refusal(_npz(x=x, y=y)).startswith(message)


@pytest.mark.parametrize(
    "header",
    [
        *("", "{", "{}", "[]", "{'descr': '<f8'}", "(" * 9000, "-" * 9000 + "1", "{'descr': " * 900),
        *(_claim("'<f8'", shape) for shape in ("()", "(-1, 2)", "(1 2, 2)", "(2, 9" + "9" * 9000 + ")", "(,)", "4")),
        *(_claim(descr, "(4, 2)") for descr in ("'<U999999999'", "'<f3'", "[('a', '<f8')]", "'f8,f8'", "1", "'\\\\x'")),
        _claim("'<f8'", "(4, 2)") + "#",
        _claim("'<f8'", "__import__('os').abort()"),
    ],
)
def test_an_invalid_header_is_refused(header: str) -> None:
    message = _refusal(_zip([("x.npy", _npy(header, X.tobytes())), ("y.npy", _saved(Y))]))

    assert message.startswith("x.npy ")
    assert len(message) < 250


def test_a_header_of_4_gibibytes_is_refused() -> None:
    x = b"\x93NUMPY\2\0" + b"\xff" * 4 + bytes(10**6)

    assert _refusal(_zip([("x.npy", x), ("y.npy", _saved(Y))], zipfile.ZIP_DEFLATED)) == (
        "x.npy has a header of 4,294,967,295 bytes, at most 10,000 allowed"
    )


def test_an_archive_must_have_the_members_x_and_y_only() -> None:
    x, y = ("x.npy", _saved(X)), ("y.npy", _saved(Y))

    assert "the archive holds 'z.npy'; it must hold x.npy and y.npy only" in _refusal(_zip([x, y, ("z.npy", b"")]))
    assert "'../x.npy'" in _refusal(_zip([("../x.npy", b""), x, y]))
    assert _refusal(_zip([x])) == "the archive lacks y.npy"
    assert _refusal(_zip([])) == "the archive lacks x.npy"
    assert "has an unsupported compression" in _refusal(_zip([x, y], zipfile.ZIP_LZMA))
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = _zip([x, y, x])
    assert _refusal(twice) == "the archive holds x.npy more than once"


def test_an_archive_of_many_members_is_refused_before_they_are_listed() -> None:
    content = _zip([(f"{i:050}", b"") for i in range(5000)])
    tracemalloc.start()
    message = _refusal(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert "must hold x.npy and y.npy only" in message
    assert peak < 1e6


def test_encrypted_members_are_refused() -> None:
    content = bytearray(_npz(x=X, y=Y))
    at = content.index(b"PK\1\2")
    content[at + 8] |= 1

    assert _refusal(bytes(content)) == "x.npy is encrypted; send it unencrypted"


def test_damaged_data_are_refused() -> None:
    content = bytearray(_npz(x=X, y=Y))
    content[content.index(X.tobytes()) + 12] ^= 1

    assert _refusal(bytes(content)) == "x.npy cannot be read: Bad CRC-32 for file 'x.npy'"


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"rows": 3}, "4 rows, at most 3 allowed"),
        ({"columns": 1}, "2 columns, at most 1 allowed"),
        ({"data_bytes": 95}, "96 bytes, at most 95 allowed"),
    ],
)
def test_limits_are_enforced(limits: dict[str, Any], message: str) -> None:
    content = _npz(x=X.astype("i1"), y=Y)
    _read(content, rows=4, columns=2, data_bytes=96)

    assert message in _refusal(content, **limits)


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_is_little_more_than_the_arrays(order: Any) -> None:
    content = _npz(True, x=np.ones((50_000, 20), dtype="i2", order=order), y=np.arange(50_000) % 2)
    tracemalloc.start()
    table = _read(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 1.5 * table.x.nbytes


VALID = [_npz(compressed, x=X, y=y) for compressed in (False, True) for y in (Y, np.array(["a", "b"] * 2))]


@given(
    st.one_of(
        st.binary(),
        st.tuples(st.sampled_from(VALID), st.integers(0, 2000)).map(lambda cut: cut[0][: cut[1] % len(cut[0])]),
        st.tuples(
            st.sampled_from(VALID), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4)
        ).map(lambda changed: _changed(*changed)),
        st.text(st.sampled_from("{}()'\",: descrfotan_hp<8U1TueFl\n"), max_size=80).map(
            lambda header: _zip([("x.npy", _npy(header)), ("y.npy", _saved(Y))])
        ),
    )
)
def test_any_bytes_give_a_table_or_an_error(content: bytes) -> None:
    try:
        table = _read(content)
    except BadUpload as error:
        str(error).encode()
        return
    assert np.isfinite(table.x).all()
    assert len(table.x) == len(table.y) >= 2


def _changed(content: bytes, changes: list[tuple[int, int]]) -> bytes:
    changed = bytearray(content)
    for at, byte in changes:
        changed[at % len(changed)] = byte
    return bytes(changed)
