"""Any astropy table as VOTable: what is written is read again by astropy with the same values, shapes and gaps."""

from __future__ import annotations

import io
import warnings
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miripool.pool.votable import votable_pieces


def read_back(table: Any) -> Any:
    """Read what was written, as astropy does; it warns of units that VOTable does not list."""
    from astropy.io.votable import parse_single_table

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return parse_single_table(io.BytesIO(b"".join(votable_pieces(table, "x"))))


def column_of(values: Any, **options: Any) -> tuple[Any, Any]:
    """Write one column; give its field and its values, masked."""
    from astropy.table import Table

    table = Table()
    table["c"] = values
    for name, value in options.items():
        setattr(table["c"], name, value)
    parsed = read_back(table)
    return parsed.fields[0], parsed.array["c"]


NUMBERS = {
    "b1": "boolean", "u1": "unsignedByte", "i1": "short", "i2": "short", "u2": "int", "i4": "int", "u4": "long",
    "i8": "long", "u8": "long", "f2": "float", "f4": "float", "f8": "double", "c8": "floatComplex",
    "c16": "doubleComplex",
}  # fmt: skip


@pytest.mark.parametrize("code", NUMBERS)
def test_numbers_of_every_type(code: str) -> None:
    dtype = np.dtype(code)
    ends = (
        [0, 1] if dtype.kind in "bc" else [np.iinfo(dtype).min, np.iinfo(dtype).max] if dtype.kind in "iu" else [0.1, 7]
    )
    if code == "u8":
        ends = [0, 2**63 - 1]
    values = np.array(ends, dtype)
    field, found = column_of(values)
    assert field.datatype == NUMBERS[code]
    assert not np.ma.getmaskarray(found).any()
    assert (np.asarray(found).astype(dtype) == values).all()


def test_numbers_too_large_are_text() -> None:
    field, found = column_of(np.array([2**64 - 1, 1], "u8"))
    assert (field.datatype, list(found)) == ("unicodeChar", ["18446744073709551615", "1"])


def test_nan_and_infinity_and_gaps() -> None:
    from astropy.table import MaskedColumn

    _, found = column_of(MaskedColumn([1.5, np.nan, np.inf, -np.inf, 9], mask=[0, 0, 0, 0, 1]))
    assert [float(v) for v in found[[0, 2, 3]]] == [1.5, np.inf, -np.inf]
    assert np.isnan(found.data[1])
    _, found = column_of(MaskedColumn([1, 2, 3], mask=[1, 0, 1]))
    assert list(np.ma.getmaskarray(found)) == [True, False, True]
    assert found[1] == 2
    _, found = column_of(MaskedColumn([True, False, True], mask=[0, 0, 1]))
    assert list(found[:2]) == [True, False]
    assert np.ma.getmaskarray(found)[2]


def test_arrays_keep_their_shape_in_the_order_of_the_standard() -> None:
    values = np.arange(24, dtype="f4").reshape(2, 3, 4)
    field, found = column_of(values)
    assert field.arraysize == "4x3"  # the first axis of VOTable varies fastest
    assert (np.asarray(found).reshape(2, 3, 4) == values).all()
    masked = np.ma.MaskedArray([[1, 2], [3, 4]], mask=[[0, 1], [0, 0]])
    field, found = column_of(masked)
    assert (field.datatype, field.arraysize) == ("double", "2")
    assert np.isnan(np.asarray(found)[0, 1])
    assert found[1].tolist() == [3, 4]


def test_arrays_of_several_lengths() -> None:
    ragged = np.empty(4, object)
    ragged[:] = [np.arange(3, dtype="f4"), np.arange(6, dtype="f4").reshape(2, 3), None, [1.0, 2.0]]
    field, found = column_of(ragged)
    assert (field.datatype, field.arraysize) == ("double", "*")  # Python's own numbers are doubles
    assert [list(np.ravel(row)) for row in found] == [[0, 1, 2], [0, 1, 2, 3, 4, 5], [], [1, 2]]
    gaps = np.empty(1, object)
    gaps[0] = np.ma.MaskedArray([1, 2], mask=[0, 1])
    field, found = column_of(gaps)
    assert field.datatype == "double"
    assert found[0][1] is np.ma.masked  # NaN


def test_text_of_any_alphabet() -> None:
    from astropy.table import MaskedColumn

    texts = ["é<&>\"'", "日本 😀", "a\tb", "bad\x01", ""]
    _, found = column_of(MaskedColumn(texts, mask=[0, 0, 0, 0, 1]))
    assert list(found[:4]) == ["é<&>\"'", "日本 😀", "a\tb", "bad\ufffd"]
    assert list(column_of(np.array([b"ab", b"\xff"]))[1]) == ["ab", "\ufffd"]
    assert list(column_of(np.array([["a", "b"], ["", "d"]]))[1]) == ["a, b", ", d"]


def test_objects() -> None:
    def objects(*values: Any) -> Any:
        made = np.empty(len(values), object)
        made[:] = values
        return column_of(made)

    assert list(objects(["using cal v1", "paper"], ["x"], None)[1]) == ["using cal v1, paper", "x", ""]
    field, found = objects(1, None, 3)
    assert field.datatype == "long"
    assert (found[0], bool(np.ma.getmaskarray(found)[1]), found[2]) == (1, True, 3)
    assert objects(1, 2.5, None)[0].datatype == "double"
    assert list(objects(2**70, 1)[1]) == [str(2**70), "1"]
    assert list(objects({"a": 1}, "b")[1]) == ["{'a': 1}", "b"]
    assert list(objects(None, None)[1]) == ["", ""]


def test_times_are_utc() -> None:
    from astropy.time import Time

    east = timezone(timedelta(hours=2))
    made = np.empty(3, object)
    made[:] = [datetime(2026, 1, 1, 2, tzinfo=east), datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC), None]
    field, found = column_of(made)
    assert (field.xtype, list(found)) == ("timestamp", ["2026-01-01T00:00:00.000", "2026-01-01T00:00:01.000", ""])
    times = Time(["2026-01-01T00:00:00", "2026-01-02T00:00:00"], scale="utc")
    times[1] = np.ma.masked
    assert list(column_of(times)[1]) == ["2026-01-01T00:00:00.000", ""]
    assert list(column_of(Time(["2026-01-01T00:00:37"], scale="tai"))[1]) == ["2026-01-01T00:00:00.000"]
    dates = np.array(["2026-01-01T12:00", "NaT"], "datetime64[s]")
    assert list(column_of(dates)[1]) == ["2026-01-01T12:00:00", ""]


def test_units_descriptions_and_quantities() -> None:
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    assert str(column_of([1.0], unit="DN/s")[0].unit) == "DN / s"
    assert str(column_of([1.0], unit="bananas")[0].unit) == "bananas"
    assert column_of([1.0], description="a <b> & c")[0].description == "a <b> & c"
    field, found = column_of([1.0, 2.0] * u.km)
    assert (str(field.unit), list(found)) == ("km", [1, 2])
    from astropy.table import QTable

    sky = QTable({"c": SkyCoord([1.0], [2.0], unit="deg")})
    assert "(1., 2.)" in read_back(sky).array["c"][0]


def test_empty_tables() -> None:
    from astropy.table import Table

    assert (
        len(read_back(Table({"a": np.array([], float), "b": np.array([], str), "c": np.array([], object)})).array) == 0
    )
    assert b"<TABLEDATA>" in b"".join(votable_pieces(Table()))


def test_many_rows_are_written_in_pieces() -> None:
    from astropy.table import Table

    table = Table({"n": np.arange(10_000)})
    pieces = list(votable_pieces(table, 'a "name" <é>'))
    assert len(pieces) == 5
    assert (read_back(table).array["n"] == np.arange(10_000)).all()
    assert "name='a \"name\" &lt;é&gt;'".encode() in pieces[0]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3),
            st.lists(st.integers(-9, 9), max_size=3), st.datetimes(), st.lists(st.text(max_size=2), max_size=2),
        ),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_any_mixture_is_written_and_read(values: list[Any]) -> None:
    made = np.empty(len(values), object)
    for number, value in enumerate(values):
        made[number] = value
    _, found = column_of(made)
    assert len(found) == len(values)
