"""FITS files that readers get wrong, each a few kilobytes, made byte by byte so that no writer smooths them out."""

from __future__ import annotations

import gzip
import io
import struct
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 2880
_BITPIX = {"u1": 8, "i2": 16, "i4": 32, "i8": 64, "f4": -32, "f8": -64}


def line(keyword: str, value: str = "", comment: str = "") -> bytes:
    """Give one card, its value written as it is given."""
    text = f"{keyword:<8}= {value:>20}" + (f" / {comment}" if comment else "")
    assert len(text) <= 80
    return text.ljust(80).encode("latin-1")


def raw_line(text: str) -> bytes:
    assert len(text) <= 80
    return text.ljust(80).encode("latin-1")


def header(*lines: bytes, padding: bytes = b" ") -> bytes:
    joined = b"".join(lines) + b"END".ljust(80)
    return joined + padding * (-len(joined) % BLOCK)


def padded(data: bytes, padding: bytes = b"\0") -> bytes:
    return data + padding * (-len(data) % BLOCK)


def primary(*lines: bytes) -> bytes:
    return header(line("SIMPLE", "T"), line("BITPIX", "8"), line("NAXIS", "0"), line("EXTEND", "T"), *lines)


def image(array: np.ndarray[Any, Any], *lines: bytes, first: bool = False) -> bytes:
    """Give an HDU of an array as it is stored."""
    bits = _BITPIX[array.dtype.str[1:]]
    cards = [line("SIMPLE", "T") if first else raw_line("XTENSION= 'IMAGE   '")]
    cards += [line("BITPIX", str(bits)), line("NAXIS", str(array.ndim))]
    cards += [line(f"NAXIS{i}", str(n)) for i, n in enumerate(reversed(array.shape), 1)]
    if not first:
        cards += [line("PCOUNT", "0"), line("GCOUNT", "1")]
    return header(*cards, *lines) + padded(array.astype(array.dtype.newbyteorder(">")).tobytes())


def table(columns: list[tuple[bytes, ...]], rows: bytes, width: int, heap: bytes = b"", *lines: bytes) -> bytes:
    cards = [raw_line("XTENSION= 'BINTABLE'"), line("BITPIX", "8"), line("NAXIS", "2"), line("NAXIS1", str(width))]
    cards += [line("NAXIS2", str(len(rows) // width if width else 0)), line("PCOUNT", str(len(heap)))]
    cards += [line("GCOUNT", "1"), line("TFIELDS", str(len(columns))), *(c for column in columns for c in column)]
    return header(*cards, *lines) + padded(rows + heap)


def column(i: int, name: str | None, form: str, **more: str) -> tuple[bytes, ...]:
    cards = [] if name is None else [line(f"TTYPE{i}", f"'{name}'")]
    return (*cards, line(f"TFORM{i}", f"'{form}'"), *(line(f"{key}{i}", value) for key, value in more.items()))


def _ramp(kind: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    size = int(np.prod(shape))
    return (
        np.random.default_rng(size).integers(0, 256, size * np.dtype(kind).itemsize, np.uint8).view(kind).reshape(shape)
    )


def unsigned() -> bytes:
    parts = [image(_ramp("i2", (5, 7)), line("BZERO", "32768"), line("BSCALE", "1"), first=True)]
    parts.append(image(_ramp("i4", (3, 4)), line("BZERO", "2147483648"), line("EXTNAME", "'DQ'")))
    parts.append(image(_ramp("i8", (3, 4)), line("BZERO", "9223372036854775808"), line("EXTNAME", "'WIDE'")))
    parts.append(image(_ramp("u1", (3, 5)), line("BZERO", "-128"), line("EXTNAME", "'SIGNED'")))
    return b"".join(parts)


def scaled() -> bytes:
    values = np.array([[-32768, 0, 5], [7, 32767, -1]], "i2")
    blank = (line("BSCALE", "0.5"), line("BZERO", "100.0"), line("BLANK", "-32768"))
    wide = np.array([1, -2, 3], "i4")
    return image(values, *blank, first=True) + image(wide, line("BSCALE", "2.5E0"), line("EXTNAME", "'WIDE'"))


def unsigned_blank() -> bytes:
    values = np.array([-32768, 0, 5], "i2")
    return image(values, line("BZERO", "32768"), line("BLANK", "-32768"), first=True)


def scaled_floats() -> bytes:
    values = np.array([1.5, np.nan, -2.0], "f4")
    return image(values, line("BSCALE", "3.0"), line("BZERO", "1.0"), first=True)


def floats() -> bytes:
    bits = [0x7FF8000000000001, 0x7FF0000000000001, 0xFFF8DEADBEEF0000, 0x8000000000000000, 0x7FF0000000000000, 1]
    small = [0x7FC00001, 0x7F800001, 0xFFC12345, 0x80000000, 0x7F800000, 1]
    doubles, singles = np.array(bits, "u8").view("f8"), np.array(small, "u4").view("f4")
    return image(doubles, first=True) + image(singles, line("EXTNAME", "'SCI'"))


def signed_64() -> bytes:
    return image(_ramp("i8", (2, 3, 4)), first=True)


def no_data() -> bytes:
    return primary()


def empty_axes() -> bytes:
    cards = (line("SIMPLE", "T"), line("BITPIX", "16"), line("NAXIS", "2"), line("NAXIS1", "0"), line("NAXIS2", "7"))
    return header(*cards) + image(np.arange(3, dtype="i2"))


def one_and_five_axes() -> bytes:
    return image(_ramp("i2", (11,)), first=True) + image(_ramp("i4", (2, 3, 1, 2, 4)), line("EXTNAME", "'FIVE'"))


def variable_length() -> bytes:
    """P and Q columns, with a gap before the heap, parts used twice, and parts nobody uses."""
    heap = b"GAPGAP" + struct.pack(">5f", 1, 2, 3, 4, 5) + b"text one\0\0" + struct.pack(">3h", -1, 0, 1) + b"unused!"
    rows = b""
    for i, (p, q, text) in enumerate(
        [((3, 0), (3, 30), (8, 20)), ((2, 8), (1, 32), (4, 20)), ((0, 0), (0, 0), (0, 0))]
    ):
        rows += struct.pack(">h2i2q2i", i, *p, *q, *text)
    columns = [
        column(1, "n", "I"),
        column(2, "floats", "1PE(3)", TUNIT="'s'"),
        column(3, "shorts", "QI(3)", TZERO="32768"),
        column(4, "text", "PA(8)"),
    ]
    theap = line("THEAP", str(len(rows) + 6))
    return primary() + table(columns, rows, 34, heap, line("EXTNAME", "'VAR'"), theap)


def variable_bits() -> bytes:
    rows = struct.pack(">6i", 9, 0, 0, 0, 3, 1)
    return primary() + table([column(1, "bits", "PX(9)")], rows, 8, b"\xa5\x80", line("EXTNAME", "'VAR'"))


def all_column_types() -> bytes:
    rows = b""
    for i in range(3):
        rows += b"TF\0"[i : i + 1] + bytes([0xA5 ^ i, 0x80]) + bytes([i, 255, 7])
        rows += struct.pack(">3hiqfd", -32768, i, 32767, i - 2**31, i - 2**63, [1.5, np.nan, -0.0][i], 1e300 * i)
        rows += struct.pack(">2f2d", i, -i, 0.5, i) + [b"abc\0zz", "caf\xe9  ".encode("latin-1"), b"      "][i]
        rows += b"aabbccddeeff" + struct.pack(">6h", *range(6)) + struct.pack(">hB", [-99, 5, 6][i], 200)
    columns = [
        column(1, "flag", "L"),
        column(2, "bits", "9X"),
        column(3, "bytes", "3B"),
        column(4, "shorts", "3I", TZERO="32768"),
        column(5, "ints", "J", TZERO="2147483648"),
        column(6, "longs", "1K", TZERO="9223372036854775808"),
        column(7, "single", "E", TUNIT="'DN/s'"),
        column(8, "double", "D"),
        column(9, "complex", "C"),
        column(10, "complex2", "M"),
        column(11, "text", "6A"),
        column(12, "texts", "12A", TDIM="'(2,3,2)'"),
        column(13, "cube", "6I", TDIM="'(3,2)'"),
        column(14, "scaled", "I", TSCAL="0.1", TZERO="5.0", TNULL="-99"),
        column(15, "signed", "B", TZERO="-128"),
        column(16, "nothing", "0J"),
    ]
    return primary() + table(columns, rows, len(rows) // 3, b"", line("EXTNAME", "'ALL'"))


def column_names() -> bytes:
    """Nameless, doubled, and doubled by case; nulls of unscaled integers."""
    rows = struct.pack(">5h", 1, 2, 3, 4, 5) + struct.pack(">5h", 6, 7, 8, 9, -1)
    columns = [column(1, "a", "I"), column(2, None, "I"), column(3, "a", "I"), column(4, "A", "I")]
    columns.append(column(5, "null", "I", TNULL="-1"))
    return primary() + table(columns, rows, 10)


def no_rows() -> bytes:
    return primary() + table([column(1, "a", "E"), column(2, "b", "4A")], b"", 8, b"", line("EXTNAME", "'NONE'"))


def no_columns() -> bytes:
    return primary() + table([], b"", 0)


def slack_rows() -> bytes:
    """Rows longer than their columns."""
    return primary() + table([column(1, "a", "I")], bytes(range(12)), 4)


def _compressed(kind: str, array: np.ndarray[Any, Any]) -> bytes:
    from astropy.io import fits

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compressed = fits.CompImageHDU(array, name="SCI", compression_type=kind)
        fits.HDUList([fits.PrimaryHDU(), compressed]).writeto(buffer)
    return buffer.getvalue()


def rice() -> bytes:
    return _compressed("RICE_1", np.arange(2000, dtype=np.int16).reshape(40, 50))


def rice_unsigned() -> bytes:
    return _compressed("RICE_1", np.arange(64000, 66000, dtype=np.int32).reshape(40, 50).astype(np.uint16))


def gzipped_tiles() -> bytes:
    return _compressed("GZIP_1", np.random.default_rng(1).normal(size=(20, 30)).astype(np.float32))


def random_groups() -> bytes:
    cards = (line("SIMPLE", "T"), line("BITPIX", "-32"), line("NAXIS", "3"), line("NAXIS1", "0"), line("NAXIS2", "4"))
    more = (line("NAXIS3", "2"), line("GROUPS", "T"), line("PCOUNT", "2"), line("GCOUNT", "3"))
    return header(*cards, *more) + padded(np.arange(30, dtype=">f4").tobytes())


def ascii_table() -> bytes:
    cards = (raw_line("XTENSION= 'TABLE   '"), line("BITPIX", "8"), line("NAXIS", "2"), line("NAXIS1", "10"))
    more = (line("NAXIS2", "2"), line("PCOUNT", "0"), line("GCOUNT", "1"), line("TFIELDS", "1"), line("TBCOL1", "1"))
    columns = (line("TTYPE1", "'x'"), line("TFORM1", "'F10.3'"))
    return primary() + header(*cards, *more, *columns) + padded(b"     1.500    -2.250", b" ")


def unknown_extension() -> bytes:
    cards = (raw_line("XTENSION= 'A3DTABLE'"), line("BITPIX", "16"), line("NAXIS", "1"), line("NAXIS1", "3"))
    return primary() + header(*cards, line("PCOUNT", "2"), line("GCOUNT", "2")) + padded(bytes(range(20)))


def odd_headers() -> bytes:
    lines = [
        *[raw_line("")] * 40,
        raw_line("COMMENT = 'not a value'"),
        raw_line("HISTORY caf\xe9"),
        line("WIDTH", "1.5D3", "m\xe8tres"),
        raw_line("HIERARCH ESO DET NAME = 'hawk' / a name"),
        raw_line("LONG    = 'It''s a string that goes on and on, to be continued on the next ca&'"),
        raw_line("CONTINUE  'rd and the next&'"),
        raw_line("CONTINUE  ' one' / with a comment"),
        raw_line("BAD     = 1 2 3 / three values"),
        raw_line("OPEN    = 'no closing quote"),
        raw_line("UNDEF   ="),
        raw_line("EMPTY   = ''"),
        raw_line("COMPLEX = (1.5, -2D0)"),
        raw_line("NODELIM   just words"),
        raw_line("lower   =                    3"),
        raw_line("HUGE    = " + "9" * 70),
        raw_line("HUGEF   = 1E999"),
        raw_line("TWICE   = 1"),
        raw_line("TWICE   = 2"),
        raw_line("CONTINUE  'an orphan'"),
    ]
    return primary(*lines)


def padding_after_end() -> bytes:
    cards = (line("SIMPLE", "T"), line("BITPIX", "8"), line("NAXIS", "0"))
    return header(*cards, padding=b"\0") + image(np.arange(4, dtype="i2"))


def padding_after_data() -> bytes:
    whole = bytearray(image(np.arange(4, dtype="i2"), first=True))
    whole[-100:] = b"x" * 100
    return bytes(whole) + image(np.arange(5, dtype="f4"))


def duplicate_names() -> bytes:
    one = np.arange(3, dtype="i2")
    names = [("'SCI'", "1"), ("'SCI'", "2"), ("'sci'", "2"), ("'SCI'", None), (None, None), ("'PRIMARY'", None)]
    parts = [primary()]
    for name, version in names:
        lines = [line(k, v) for k, v in (("EXTNAME", name), ("EXTVER", version)) if v is not None]
        parts.append(image(one, *lines))
    return b"".join(parts)


def junk_at_the_end() -> bytes:
    return image(np.arange(4, dtype="i2"), first=True) + b"junk" * 1000 + b"!"


def zeros_at_the_end() -> bytes:
    return image(np.arange(4, dtype="i2"), first=True) + bytes(BLOCK + 17)


def missing_final_padding() -> bytes:
    return image(np.arange(4, dtype="i2"), first=True)[: BLOCK + 8]


def partial_final_padding() -> bytes:
    return (primary() + image(np.arange(4, dtype="i2")))[:-3]


def missing_header_padding() -> bytes:
    return primary()[: 5 * 80]


def compressed_file() -> bytes:
    return gzip.compress(unsigned(), mtime=0)


AWKWARD: dict[str, Callable[[], bytes]] = {
    made.__name__: made
    for made in (
        unsigned, scaled, unsigned_blank, scaled_floats, floats, signed_64, no_data, empty_axes, one_and_five_axes,
        variable_length, variable_bits, all_column_types, column_names, no_rows, no_columns, slack_rows, rice,
        rice_unsigned, gzipped_tiles, random_groups, ascii_table, unknown_extension, odd_headers, padding_after_end,
        padding_after_data, duplicate_names, junk_at_the_end, zeros_at_the_end, missing_final_padding,
        partial_final_padding, missing_header_padding, compressed_file,
    )
}  # fmt: skip
"""The content of each file, by what is awkward about it."""
