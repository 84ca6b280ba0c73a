"""Anything may be typed, and any file may be given: an error that is documented, soon, and in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

PARSER = """
import json, random, sys, time
sys.path.insert(0, sys.argv[3])
from peaks import peak_memory
from miripool.errors import InvalidInput, QueryError
from miripool.model.keywords import dictionary
from miripool.model.names import Urn, parse_spec
from miripool.query import parser, pixelwhere
from miripool.query.text import to_text

chance = random.Random(int(sys.argv[1]))
number = int(sys.argv[2])
WORDS = (
    "ngroups exposure meta p i data .data .meta .tags .max() .any() SCI.BUNIT DATE-OBS 'x' 'a*' 1 2.5 -3 0x4 1e400 "
    "( ) [ ] { } , : . ... == = != <> < <= > >= & | && || ! ~ ^ + - * / // % ** @ and or not in is like between null "
    "true ANY( ALL( abs( isnan( max( f( p) axis=0 .value .unit .lower() .containsKey('x') ['SCI'] [0] [:,1:2] "
    ".shape[0] __class__ lambda: import has(groupdq,'JUMP_DET') rate sci dq x y pixel_id rate[2] "
    "rate[integration==2] [group==1] integration group \\u00e9 \\u2028 '"
).split()
ALPHABET = [chr(c) for c in range(32, 127)] + list("\\t\\n\\0\\u00e9\\u2028\\U0001f600\\ud800'\\"\\\\")
VALUES = ["ngroups", "p.meta['flag'].value", "SCI.BUNIT", "p.version", "p.data.max()", "p['ERR'].shape[0]",
          "abs(nints)", "(p.data > 1).sum()", "p.data[0].median()", "nints * 3 - 1", "DATE-OBS",
          "tags", "(p.dq & 4).any()"]
CONSTANTS = ["3", "-2.5", "'x'", "'2018-03-08'", "True", "null", "1e308", "9" * 40, "'" + "a" * 200 + "'"]
OPERATORS = ["==", "!=", "<", "<=", ">", ">=", "=", "<>", "in", "like", "is", "between"]

def grammar(depth):
    kind = chance.randrange(8 if depth else 3)
    if kind <= 2:
        return f"{chance.choice(VALUES)} {chance.choice(OPERATORS)} {chance.choice(CONSTANTS)}"
    if kind == 3:
        return f"{chance.choice(VALUES)} in ({', '.join(chance.choice(CONSTANTS) for _ in range(chance.randrange(9)))})"
    if kind == 4:
        return f"not ({grammar(depth - 1)})"
    if kind == 5:
        return f"{chance.choice(VALUES)} between {chance.choice(CONSTANTS)} and {chance.choice(CONSTANTS)}"
    return f"({grammar(depth - 1)}) {chance.choice(['and', 'or', '&', '&&', '|'])} ({grammar(depth - 1)})"

def mutate(text):
    letters = list(text)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(letters) + 1)
        what = chance.randrange(4)
        if what == 0:
            letters.insert(place, chance.choice(ALPHABET))
        elif what == 1 and letters:
            del letters[min(place, len(letters) - 1)]
        elif what == 2:
            letters[place:place] = letters[max(0, place - chance.randint(1, 20)):place] * chance.randint(1, 30)
        else:
            letters.insert(place, chance.choice(WORDS))
    return "".join(letters)

def case():
    kind = chance.randrange(5)
    if kind == 0:
        return "".join(chance.choice(ALPHABET) for _ in range(chance.randrange(80)))
    if kind == 1:
        return chance.choice(["", " "]).join(chance.choice(WORDS) for _ in range(chance.randrange(20)))
    if kind == 2:
        return chance.choice(["(", "not ", "[", "-", "p.", "ANY("]) * chance.choice([9, 200, 5000]) + grammar(1)
    return grammar(3) if kind == 3 else mutate(grammar(3))

slowest, told = 0.0, {"accepted": 0, "refused": 0}
for _ in range(number):
    text = case()
    begin = time.process_time()
    try:
        tree = parser.parse(text, names=dictionary())
        assert parser.parse(to_text(tree), names=dictionary()) == tree
        told["accepted"] += 1
    except QueryError as error:
        assert error.column is None or 0 <= error.column <= len(text)
        assert str(error)
        told["refused"] += 1
    kind = chance.choice(["Ramp", "RateInts", "Rate", "Raw"])
    for other in (pixelwhere.parse_pixels, lambda text, _: parse_spec(text), lambda text, _: Urn.parse(text)):
        try:
            other(text, kind)
        except (QueryError, InvalidInput) as error:
            assert str(error)
    took = time.process_time() - begin
    if took > slowest:
        slowest, worst = took, text
    assert took < 2, (took, text[:300])
memory = peak_memory() / 1e9
assert memory < 1, memory
print(json.dumps({**told, "slowest case, s": round(slowest, 3), "memory, GB": round(memory, 2)}))
"""

READER = """
import json, random, sys, time
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[4])
from awkward import AWKWARD
from peaks import peak_memory
from miripool.errors import MiripoolError
from miripool.formats import iter_bytes, read_fits, stable_content

chance = random.Random(int(sys.argv[1]))
number = int(sys.argv[2])
files = [made() for made in AWKWARD.values()]
files += [path.read_bytes() for path in sorted(Path(sys.argv[3]).rglob("*.fits")) if path.stat().st_size < 12e6]
NUMBERS = [b"0", b"-1", b"1", b"7", b"32", b"1000", b"99999999999999999999", b"4294967296", b"-2147483648", b"T",
           b"'x'", b"1E400", b"NaN", b"", b"9223372036854775807", b"1073741824"]

KEYWORDS = (b"NAXIS NAXIS1 NAXIS2 BITPIX PCOUNT GCOUNT TFIELDS TFORM1 THEAP BZERO BSCALE XTENSION END ZNAXIS1 ZTILE1 "
            b"NINTS NGROUPS EXTNAME ZCMPTYPE BLANK GROUPS SIMPLE").split()

def mutate(data):
    data = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 5, 20])):
        what = chance.randrange(7)
        place = chance.randrange(len(data)) if data else 0
        if what == 0 and data:
            data[place] ^= 1 << chance.randrange(8)
        elif what == 1:
            del data[place:]
        elif what == 2:
            del data[place:place + chance.choice([1, 80, 2880])]
        elif what == 3:
            data[place:place] = bytes(chance.randrange(256) for _ in range(chance.choice([1, 80, 2880])))
        elif what == 4:
            card = place // 80 * 80
            data[card + 10:card + 30] = chance.choice(NUMBERS).rjust(20)
        elif what == 5:
            one, two = (chance.randrange(max(1, len(data) // 80)) * 80 for _ in range(2))
            data[one:one + 80], data[two:two + 80] = data[two:two + 80], data[one:one + 80]
        else:
            keyword = chance.choice(KEYWORDS)
            found = data.find(keyword.ljust(8))
            if found >= 0:
                data[found + 10:found + 30] = chance.choice(NUMBERS).rjust(20)
    return bytes(data)

slowest, told = 0.0, {"read": 0, "refused": 0}
for case in range(number):
    data = mutate(chance.choice(files))
    begin = time.process_time()
    try:
        product = read_fits(data, filename="a_uncal.fits", name="a")
        product.meta.to_dict()
        for dataset in product.values():
            try:
                np.asarray(dataset[...])
                dataset.statistics
            except MiripoolError:
                pass
        if product.layout is not None and data[:2] != b"\\x1f\\x8b":
            stable_content(product.layout, lambda hdu, part: "0" * 32)
            assert b"".join(iter_bytes(product.layout)) == data, case
        told["read"] += 1
    except MiripoolError as error:
        assert str(error)
        told["refused"] += 1
    took = time.process_time() - begin
    slowest = max(slowest, took)
    assert took < 2 or case == 0, (took, case)  # the first one imports what it needs
memory = peak_memory() / 1e9
assert memory < 1, memory
print(json.dumps({**told, "slowest case, s": round(slowest, 3), "memory, GB": round(memory, 2)}))
"""


def run(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=7200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.strip()


def test_the_parsers(scale: Callable[[int, int], int], figure: Callable[[str], None]) -> None:
    number = scale(3000, 100_000)
    told = run(PARSER, 1, number, TESTS)
    figure(f"{number} texts: {told}")
    assert json.loads(told)["accepted"] > number / 20


@pytest.mark.parametrize("source", ["simulated", "real"])
def test_the_fits_reader(
    source: str, request: pytest.FixtureRequest, scale: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    folder = request.getfixturevalue("simulated" if source == "simulated" else "shared_data")
    number = scale(150, 2000)
    told = run(READER, 1, number, folder, TESTS)
    figure(f"{number} mutated files, {source}: {told}")
    assert json.loads(told)["read"] > number / 20
