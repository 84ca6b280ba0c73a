"""Columns of binary tables, from cards and rows to physical values."""

from __future__ import annotations

import numpy as np
import pytest
from awkward import AWKWARD, column, line, raw_line, table

from miripool.errors import FormatError, InvalidInput, ProductNotFound
from miripool.formats import read_fits
from miripool.model.cards import Card, parse_header
from miripool.model.table import TableDataset, columns_from_cards


@pytest.fixture
def every() -> TableDataset:
    found = read_fits(AWKWARD["all_column_types"]())["ALL"]
    assert isinstance(found, TableDataset)
    return found


def test_physical_values(every: TableDataset) -> None:
    assert every["flag"].tolist() == [True, False, False]
    assert every["bits"].shape == (3, 9)
    assert every["bits"][0].tolist() == [True, False, True, False, False, True, False, True, True]
    assert every["shorts"].tolist()[0] == [0, 32768, 65535]
    assert every["ints"].tolist() == [0, 1, 2]
    assert every["longs"].dtype == np.uint64
    assert every["longs"].tolist() == [0, 1, 2]
    assert np.signbit(every["single"][2])
    assert every["complex"][1] == 1 - 1j
    assert every["text"].tolist() == ["abc", "caf\xe9", ""]
    assert every["texts"].tolist()[0] == [["aa", "bb", "cc"], ["dd", "ee", "ff"]]
    assert every["cube"].shape == (3, 2, 3)
    assert np.isnan(every["scaled"][0])
    assert every["scaled"][1] == 5.5
    assert every["signed"].dtype == np.int8
    assert every["signed"].tolist() == [72, 72, 72]
    assert every["nothing"].shape == (3, 0)


def test_rows_and_descriptions(every: TableDataset) -> None:
    assert len(every) == 3
    assert every[1]["double"] == 1e300
    assert every[1:].shape == (2,)
    assert every[...].dtype.isnative
    assert every.column("SINGLE").unit == "DN/s"
    assert every.column("ints").is_unsigned
    assert not every.column("ints").is_scaled
    assert every.statistics is None
    with pytest.raises(ProductNotFound, match="did you mean single"):
        every["singel"]
    with pytest.raises(InvalidInput, match="is a table"):
        every.max()
    assert "3 rows" in repr(every)


def test_to_table(every: TableDataset) -> None:
    made = every.to_table()
    assert made.colnames == every.colnames
    assert str(made["single"].unit) == "DN / s"
    assert made["ints"].tolist() == [0, 1, 2]


def test_names_and_nulls() -> None:
    found = read_fits(AWKWARD["column_names"]())["HDU1"]
    assert isinstance(found, TableDataset)
    assert found.colnames == ["a", "col2", "a_2", "A_3", "null"]
    assert [found[name][1] for name in found.colnames[:4]] == [6, 7, 8, 9]
    assert found["null"].mask.tolist() == [False, True]
    assert found.to_table()["null"].mask.tolist() == [False, True]


def test_variable_lengths() -> None:
    found = read_fits(AWKWARD["variable_length"]())["VAR"]
    assert isinstance(found, TableDataset)
    assert [cell.tolist() for cell in found["floats"]] == [[1, 2, 3], [3, 4], []]
    assert [cell.tolist() for cell in found["shorts"]] == [[32767, 32768, 32769], [32768], []]
    assert all(cell.dtype == np.uint16 for cell in found["shorts"])
    assert found["text"].tolist() == ["text one", "text", ""]
    assert found.column("floats").variable
    assert found.to_table()["text"][0] == "text one"
    bits = read_fits(AWKWARD["variable_bits"]())["VAR"]
    assert isinstance(bits, TableDataset)
    assert [len(cell) for cell in bits["bits"]] == [9, 0, 3]


def test_no_rows() -> None:
    found = read_fits(AWKWARD["no_rows"]())["NONE"]
    assert isinstance(found, TableDataset)
    assert len(found["a"]) == len(found["b"]) == 0
    assert len(found.to_table()) == 0


def cards_of(content: bytes) -> list[Card]:
    return parse_header(content)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((line("TFIELDS", "1"), line("TFIELDS", "2")), "TFORM2"),
        ((line("TFIELDS", "1"), line("TFIELDS", "-1")), "TFIELDS"),
        ((line("TFIELDS", "1"), line("TFIELDS", "99999999999")), "TFIELDS"),
        ((line("TFORM1", "'2I'"), line("TFORM1", "'2Z'")), "TFORM1"),
        ((line("TFORM1", "'2I'"), line("TFORM1", "5")), "TFORM1"),
        ((line("TFORM1", "'2I'"), line("TFORM1", "'99999999999999I'")), "TFORM1"),
        ((line("TFORM1", "'2I'"), line("TFORM1", "'2PE(5)'")), "TFORM1"),
        ((line("TFORM1", "'2I'"), line("TFORM1", "'3I'")), "6 bytes of each row"),
    ],
)
def test_bad_columns(change: tuple[bytes, bytes], words: str) -> None:
    content = table([column(1, "a", "2I")], bytes(8), 4).replace(*change)
    with pytest.raises(FormatError, match=words):
        columns_from_cards(cards_of(content))


def test_the_dtype_is_the_row() -> None:
    content = table([column(1, "a", "2I"), column(2, "b", "PD(3)"), column(3, "c", "3A")], b"", 15)
    columns, dtype = columns_from_cards(cards_of(content))
    assert dtype.itemsize == 15
    assert dtype.isnative
    assert dtype["b"].names == ("count", "offset")
    assert [c.width for c in columns] == [4, 8, 3]
    wrong_tdim = table([column(1, "a", "6I", TDIM="'(4,2)'")], b"", 12)
    assert columns_from_cards(cards_of(wrong_tdim))[1]["a"].shape == (6,)
    assert raw_line("") == b" " * 80
