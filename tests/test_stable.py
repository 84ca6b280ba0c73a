"""What counts as the same data with new timestamps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xxhash
from awkward import AWKWARD, column, image, line, primary, table
from test_fits import REAL, SHARED

from miripool.formats import read_fits, stable_content

if TYPE_CHECKING:
    from pathlib import Path

needs_real = pytest.mark.skipif(not REAL, reason=f"no real data in {SHARED}; set MIRIPOOL_SHARED_DATA")


def content_of(source: Path | bytes) -> dict[str, Any]:
    layout = read_fits(source).layout
    assert layout is not None

    def digest_of(hdu: int, part: str) -> str:
        array = layout.trailer if hdu < 0 else getattr(layout.hdus[hdu], part)
        return xxhash.xxh3_128_hexdigest(np.ascontiguousarray(array[...]).tobytes())

    found = stable_content(layout, digest_of)
    assert json.loads(json.dumps(found)) == found
    return found


def real(context: str, suffix: str) -> Path:
    return next(p for p in REAL if p.parent.name == context and p.stem.endswith(f"_{suffix}"))


@needs_real
def test_new_timestamps_and_logs_do_not_count() -> None:
    old = real("9001", "ramp").read_bytes()
    new = old.replace(b"'2026-11-20T20:58:01.633' / UTC", b"'2027-01-01T00:00:00.000' / UTC")
    new = new.replace(b"date: '2026-11-20T20:58:01.633'", b"date: '2027-01-01T00:00:00.000'")
    new = new.replace(b"2026-11-20T20:57:57.935 - stpipe", b"2027-01-01T20:57:57.935 - stpipe")
    new = new.replace(b"_fits_hash: 38f5", b"_fits_hash: 1234").replace(b"version: 5.4.0}", b"version: 5.5.0}")
    assert old != new
    assert content_of(old) == content_of(new)


@needs_real
@pytest.mark.parametrize("suffix", ["ramp", "rateints", "rate"])
def test_another_context_counts(suffix: str) -> None:
    assert content_of(real("9001", suffix)) != content_of(real("9002", suffix))


@needs_real
def test_changes_of_data_cards_and_tree_count() -> None:
    old = real("9001", "ramp").read_bytes()
    known = content_of(old)
    for change in (
        (b"'MIRIMAGE'", b"'MIRIFULO'"),
        (b"detector: MIRIMAGE", b"detector: MIRIFULO"),
        (b"frame_time: 0.08512", b"frame_time: 0.08513"),
        (b"!core/ndarray-1.1.0", b"!core/ndarray-1.2.0"),
    ):
        new = old.replace(*change)
        assert new != old
        assert content_of(new) != known
    changed = bytearray(old)
    changed[20 * 2880] ^= 1
    assert content_of(bytes(changed)) != known


def asdf_file(tree: bytes, blocks: bytes = b"") -> bytes:
    stream = tree + blocks
    return primary() + table(
        [column(1, "ASDF_METADATA", f"{len(stream)}B")], stream, len(stream), b"", line("EXTNAME", "'ASDF'")
    )


HEAD = b"#ASDF 1.0.0\n#ASDF_STANDARD 1.6.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n--- !core/asdf-1.1.0\n"
TREE = HEAD + b"meta: {a: 1, date: x}\nhistory: [1, 2]\n...\n"


def test_trees() -> None:
    known = content_of(asdf_file(TREE))
    assert "asdf" in known["hdus"][1]
    same = [
        HEAD + b"meta: {date: some other, a: 1}\nhistory: {entries: []}\ncal_logs: {x: 1}\n...\n",
        HEAD + b"asdf_library: !core/software-1.0.0 {name: asdf}\nmeta:\n  a: 1\n_fits_hash: 5\n...\n",
    ]
    other = [
        HEAD + b"meta: {a: 2, date: x}\n...\n",
        HEAD + b"meta: {a: '1'}\n...\n",
        HEAD + b"meta: !tagged {a: 1}\n...\n",
        HEAD + b"meta: {a: 1}\nb: {date: x}\n...\n",
        HEAD + b"meta: [a, 1]\n...\n",
    ]
    assert all(content_of(asdf_file(tree)) == known for tree in same)
    assert all(content_of(asdf_file(tree)) != known for tree in other)


def test_binary_blocks_count_and_their_index_does_not() -> None:
    block = b"\xd3BLK" + bytes(50) + b"data"
    index = b"#ASDF BLOCK INDEX\n%%YAML 1.1\n---\n- %d\n...\n"
    known = content_of(asdf_file(TREE, block + index % 300))
    assert content_of(asdf_file(TREE, bytes(20) + block + index % 320)) == known
    assert content_of(asdf_file(TREE, block[:-1] + b"!" + index % 300)) != known
    assert content_of(asdf_file(TREE)) != known
    assert content_of(asdf_file(TREE, bytes(40))) == content_of(asdf_file(TREE))


@pytest.mark.parametrize(
    "tree",
    [
        b"",
        b"no asdf at all",
        HEAD + b"meta: {a: 1}\n",
        HEAD + b"meta: {a: [1\n...\n",
        HEAD + b"meta: \xff\xfe\n...\n",
        HEAD + b"a: *nowhere\n...\n",
        HEAD + b"[" * 20000 + b"\n...\n",
    ],
)
def test_broken_trees_count_as_bytes(tree: bytes) -> None:
    tree = tree or b"x"
    found = content_of(asdf_file(tree))["hdus"][1]
    assert "data" in found
    assert "asdf" not in found
    assert content_of(asdf_file(tree)) != content_of(asdf_file(tree + b" "))


def test_hostile_trees_build_nothing_and_stay_small() -> None:
    bomb = (
        HEAD
        + b"a0: &a0 [x, x]\n"
        + b"".join(b"a%d: &a%d [*a%d, *a%d, *a%d]\n" % (i, i, i - 1, i - 1, i - 1) for i in range(1, 60))
    )
    assert len(json.dumps(content_of(asdf_file(bomb + b"...\n")))) < 20000
    loop = HEAD + b"a: &a [*a]\n...\n"
    assert content_of(asdf_file(loop)) == content_of(asdf_file(loop))
    evil = HEAD + b"a: !!python/object/apply:os.system ['exit 1']\n...\n"
    assert "os.system" in json.dumps(content_of(asdf_file(evil)))


def test_paddings_trailers_and_raw_bytes_count() -> None:
    known = {name: content_of(AWKWARD[name]()) for name in AWKWARD}
    one = content_of(image(np.arange(4, dtype="i2"), first=True))
    for name in ("junk_at_the_end", "zeros_at_the_end", "missing_final_padding"):
        assert known[name] != one
    assert {"data", "raw"} <= set(known["rice"]["hdus"][1])
    behind = bytearray(AWKWARD["padding_after_end"]())
    behind[2879] = 65
    assert content_of(bytes(behind)) != known["padding_after_end"]


def test_dates_and_checksums_of_any_hdu_do_not_count() -> None:
    def made(date: str, checksum: str) -> bytes:
        lines = (line("DATE", f"'{date}'"), line("CHECKSUM", f"'{checksum}'"), line("DATASUM", f"'{checksum}'"))
        return primary(*lines) + image(np.arange(4, dtype="i2"), *lines)

    assert content_of(made("2020", "a")) == content_of(made("2021", "b"))


@pytest.mark.parametrize(
    "tree",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b"? [a, b]\n: 1\nmeta: {? [c] : 2}",
        b"a: " + b"x" * (5 << 20),
    ],
    ids=["deep", "odd keys", "large"],
)
def test_odd_trees_are_content_too(tree: bytes) -> None:
    known = content_of(asdf_file(HEAD + tree + b"\n...\n"))
    assert content_of(asdf_file(HEAD + tree + b"\n...\n")) == known
    assert content_of(asdf_file(HEAD + tree.replace(b"2", b"3") + b"\n...\n", b"more")) != known
