"""Predicates: what can be written, what can't, and where the error points."""

from __future__ import annotations

import ast
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miripool.errors import QueryError
from miripool.model.keywords import dictionary
from miripool.query.lexer import scan
from miripool.query.parser import MAX_LENGTH, parse
from miripool.query.text import to_text
from miripool.query.tree import (
    ALL,
    And,
    Arithmetic,
    Call,
    Compare,
    Field,
    HasDataset,
    HasKey,
    HasTag,
    In,
    IsNull,
    Keyword,
    Like,
    Literal,
    Node,
    Not,
    Or,
    PythonCall,
    Range,
    Reduce,
    Slice,
    Statistic,
    Subscript,
    Truth,
    Unit,
    WholeArray,
    walk,
)

NAMES = dictionary()


def test_image(p):
    return True


test_image.__test__ = False


def read(text, variable="p", **functions):
    return parse(text, variable, names=NAMES, functions=functions)


def key(name, hdu=None):
    return Keyword(hdu, name)


def is_(op, left, right):
    return Compare(op, left, Literal(right))


NGROUPS = key("NGROUPS")
MIRI = is_("==", key("INSTRUME"), "MIRI")
DATA = WholeArray(None)

FORMS = [
    # joining
    ("instrument=='MIRI' and ngroups>=20", And((MIRI, is_(">=", NGROUPS, 20)))),
    ("instrument=='MIRI' & ngroups>=20", And((MIRI, is_(">=", NGROUPS, 20)))),
    ("(instrument=='MIRI') & (ngroups>=20)", And((MIRI, is_(">=", NGROUPS, 20)))),
    ("instrument = 'MIRI' && ngroups >= 20", And((MIRI, is_(">=", NGROUPS, 20)))),
    ("instrument = 'MIRI' AND ngroups >= 20", And((MIRI, is_(">=", NGROUPS, 20)))),
    ("a = 1 | b = 2", Or((is_("==", key("A"), 1), is_("==", key("B"), 2)))),
    ("a = 1 || b = 2", Or((is_("==", key("A"), 1), is_("==", key("B"), 2)))),
    ("a = 1 or b = 2 and c = 3", Or((is_("==", key("A"), 1), And((is_("==", key("B"), 2), is_("==", key("C"), 3)))))),
    ("not a = 1 and b = 2", And((is_("!=", key("A"), 1), is_("==", key("B"), 2)))),
    ("!(a = 1 or b > 2)", And((is_("!=", key("A"), 1), is_("<=", key("B"), 2)))),
    ("a == 1 & (b == 2 | c == 3)", And((is_("==", key("A"), 1), Or((is_("==", key("B"), 2), is_("==", key("C"), 3)))))),
    ("a between 1 and 5 & b == 2", And((Range(key("A"), Literal(1), Literal(5)), is_("==", key("B"), 2)))),
    # comparisons
    ("ngroups <> 3", is_("!=", NGROUPS, 3)),
    ("20 <= ngroups", is_(">=", NGROUPS, 20)),
    ("5 < ngroups <= 20", Range(NGROUPS, Literal(5), Literal(20), True, False)),
    (
        "ngroups <= 20 and nints = 2 and ngroups > 5",
        And((Range(NGROUPS, Literal(5), Literal(20), True, False), is_("==", key("NINTS"), 2))),
    ),
    ("ngroups between 5 and 20", Range(NGROUPS, Literal(5), Literal(20))),
    ("ngroups not between 5 and 20", Or((is_("<", NGROUPS, 5), is_(">", NGROUPS, 20)))),
    ("ngroups > -2.5e-3", is_(">", NGROUPS, -0.0025)),
    ("ngroups > 5 and ngroups < 'x'", And((is_(">", NGROUPS, 5), is_("<", NGROUPS, "x")))),
    ("band in ('SHORT', 'LONG')", In(key("BAND"), (Literal("SHORT"), Literal("LONG")))),
    ("band IN ['SHORT', 'LONG',]", In(key("BAND"), (Literal("SHORT"), Literal("LONG")))),
    ("ngroups not in (1, -2)", Not(In(NGROUPS, (Literal(1), Literal(-2))))),
    ("ngroups in (5)", is_("==", NGROUPS, 5)),
    ("detector like 'MIRI*'", Like(key("DETECTOR"), "MIRI%")),
    ("detector LIKE '%IM_G?'", Like(key("DETECTOR"), "%IM\\_G_")),
    ("detector not like 'x'", Not(Like(key("DETECTOR"), "x"))),
    ("flag is null", IsNull(key("FLAG"))),
    ("flag IS NOT NULL", Not(IsNull(key("FLAG")))),
    ("flag is None", IsNull(key("FLAG"))),
    ("flag is true", is_("==", key("FLAG"), True)),
    ("flag == False", is_("==", key("FLAG"), False)),
    ("flag", Truth(key("FLAG"))),
    ("not flag", Not(Truth(key("FLAG")))),
    ("not not flag", Truth(key("FLAG"))),
    # names
    ("exposure.ngroups = 3", is_("==", NGROUPS, 3)),
    ("meta.exposure.ngroups = 3", is_("==", NGROUPS, 3)),
    ("p.meta.exposure.ngroups.value = 3", is_("==", NGROUPS, 3)),
    ("NGroups = 3", is_("==", NGROUPS, 3)),
    ("p.ngroups = 3", is_("==", NGROUPS, 3)),
    ("group_time > 2", is_(">", key("TGROUP"), 2)),
    ("meta['ngroups'] = 3", is_("==", NGROUPS, 3)),
    ('p.meta["ngroups"].value = 3', is_("==", NGROUPS, 3)),
    ("p.meta['ngroups'] = 3", is_("==", NGROUPS, 3)),
    ("SCI.BUNIT = 'DN'", is_("==", key("BUNIT", "SCI"), "DN")),
    ("meta['SCI.BUNIT'] = 'DN'", is_("==", key("BUNIT", "SCI"), "DN")),
    ("DATE-OBS > '2018-03-08'", is_(">", key("DATE-OBS"), "2018-03-08")),
    ("date-obs > '2018-03-08'", is_(">", key("DATE-OBS"), "2018-03-08")),
    ("date_obs > '2018-03-08'", is_(">", key("DATE-OBS"), "2018-03-08")),
    ("p.meta['DATE-OBS'].value > '2018-03-08'", is_(">", key("DATE-OBS"), "2018-03-08")),
    ("p.meta['group_time'].unit == 's'", is_("==", Unit(None, "TGROUP"), "s")),
    ("p.meta.containsKey('flag')", HasKey(None, "FLAG")),
    ("not p.meta.containsKey('flag')", Not(HasKey(None, "FLAG"))),
    ("'flag' in p.meta", HasKey(None, "FLAG")),
    ("'flag' not in p.meta", Not(HasKey(None, "FLAG"))),
    ("'cal 9001' in p.tags", HasTag("cal 9001")),
    ("'cal 9001' in tags", HasTag("cal 9001")),
    ("'ERR' in p", HasDataset("ERR")),
    ("'MI' in detector", Like(key("DETECTOR"), "%MI%")),
    # fields
    ("p.type == 'Ramp'", is_("==", Field("kind"), "Ramp")),
    ("type == 'Ramp'", is_("==", Field("kind"), "Ramp")),
    ("p.kind in ('Ramp', 'Raw')", In(Field("kind"), (Literal("Ramp"), Literal("Raw")))),
    ("p.name like 'jw*'", Like(Field("name"), "jw%")),
    ("p.version > 0", is_(">", Field("version"), 0)),
    ("p.urn = 'urn:a:Ramp:3'", is_("==", Field("urn"), "urn:a:Ramp:3")),
    ("created >= '2020-01-01T00:00:00Z'", is_(">=", Field("created"), "2020-01-01T00:00:00Z")),
    ("p.filename = 'x'", is_("==", Field("filename"), "x")),
    ("filename = 'x'", is_("==", key("FILENAME"), "x")),
    # texts
    ("detector.startswith('M_')", Like(key("DETECTOR"), "M\\_%")),
    ("detector.endswith('*')", Like(key("DETECTOR"), "%*")),
    ("detector.contains('%')", Like(key("DETECTOR"), "%\\%%")),
    ("detector.lower() == 'x'", is_("==", Call("lower", (key("DETECTOR"),)), "x")),
    ("len(detector) > 3", is_(">", Call("len", (key("DETECTOR"),)), 3)),
    (r"a == 'it\'s \x41'", is_("==", key("A"), "it's A")),
    (r"a == '\d'", is_("==", key("A"), "\\d")),
    # numbers
    ("nints * ngroups + 1 > 3", is_(">", Arithmetic("+", Arithmetic("*", key("NINTS"), NGROUPS), Literal(1)), 3)),
    ("-a ** 2 < 0", is_("<", Call("neg", (Arithmetic("**", key("A"), Literal(2)),)), 0)),
    ("a - -1 > 0", is_(">", Arithmetic("-", key("A"), Literal(-1)), 0)),
    ("a & 4 == 4", is_("==", Arithmetic("&", key("A"), Literal(4)), 4)),
    ("(a & 0x4) > 0", is_(">", Arithmetic("&", key("A"), Literal(4)), 0)),
    ("max(a, b, 3) < 5", is_("<", Call("max", (key("A"), key("B"), Literal(3))), 5)),
    (
        "abs(a) // 2 % 3 == 1",
        is_("==", Arithmetic("%", Arithmetic("//", Call("abs", (key("A"),)), Literal(2)), Literal(3)), 1),
    ),
    # datasets
    ("p.data.max() > 1.0", is_(">", Statistic(None, "max"), 1.0)),
    ("max(p.data) > 1.0", is_(">", Statistic(None, "max"), 1.0)),
    ("p['SCI'].mean() > 1", is_(">", Statistic("SCI", "mean"), 1)),
    ("p.groupdq.n_flagged > 1", is_(">", Statistic("GROUPDQ", "n_flagged"), 1)),
    ("p.avg_dark_current.std() > 1", is_(">", Statistic("AVDRKCUR", "std"), 1)),
    ("p.data.shape[0] > 1", is_(">", Statistic(None, "shape", 0), 1)),
    ("len(p.data) > 1", is_(">", Statistic(None, "shape", 0), 1)),
    (
        "p.data.size > 1 and p.data.ndim = 4",
        And((is_(">", Statistic(None, "n"), 1), is_("==", Statistic(None, "ndim"), 4))),
    ),
    ("p.data.unit = 'DN'", is_("==", Statistic(None, "unit"), "DN")),
    ("isnan(p.data).any()", is_(">", Statistic(None, "n_nan"), 0)),
    ("p.data.sum() > 1", is_(">", Reduce("sum", DATA), 1)),
    ("p.data.max(axis=0).min() > 1", is_(">", Reduce("min", Reduce("max", DATA, (0,))), 1)),
    ("p.data.max(axis=(0, -1)).min() > 1", is_(">", Reduce("min", Reduce("max", DATA, (0, -1))), 1)),
    ("ANY(p.data > 5)", is_(">", Statistic(None, "max"), 5)),
    ("ANY(p.data <= 5)", is_("<=", Statistic(None, "min"), 5)),
    ("ANY(p.data != 5)", Truth(Reduce("any", is_("!=", DATA, 5)))),
    ("ALL(p.data > 5)", is_(">", Statistic(None, "min"), 5)),
    ("ALL(1 < p.data < 5)", And((is_(">", Statistic(None, "min"), 1), is_("<", Statistic(None, "max"), 5)))),
    ("ALL(p.data == 5)", Truth(Reduce("all", is_("==", DATA, 5)))),
    ("ANY(p.data > 5, axis=0).sum() > 1", is_(">", Reduce("sum", Reduce("any", is_(">", DATA, 5), (0,))), 1)),
    (
        "ANY((p.data > 5) & (p.dq == 0))",
        And(
            (
                is_(">", Statistic(None, "max"), 5),
                is_(">=", Statistic("DQ", "max"), 0),
                is_("<=", Statistic("DQ", "min"), 0),
                Truth(Reduce("any", And((is_(">", DATA, 5), is_("==", WholeArray("DQ"), 0))))),
            )
        ),
    ),
    (
        "(p.data >= 5).sum() > 3",
        And((is_(">=", Statistic(None, "max"), 5), is_(">", Reduce("sum", is_(">=", DATA, 5)), 3))),
    ),
    ("(p.data > 5).sum() < 3", is_("<", Reduce("sum", is_(">", DATA, 5)), 3)),
    ("(p.data > 5).sum() >= 0", is_(">=", Reduce("sum", is_(">", DATA, 5)), 0)),
    ("(p.dq & 4).any()", Truth(Reduce("any", Arithmetic("&", WholeArray("DQ"), Literal(4))))),
    ("ANY(~(p.data > 5))", is_("<=", Statistic(None, "min"), 5)),
    ("ANY(ngroups > 5)", is_(">", NGROUPS, 5)),
    (
        "(p['SCI'][:, 10:20] > 5).sum() > 3",
        is_(">", Reduce("sum", is_(">", Subscript(WholeArray("SCI"), (Slice(), Slice(10, 20))), 5)), 3),
    ),
    (
        "p.data[0, ..., ::2, -1].max() > 1",
        is_(">", Reduce("max", Subscript(DATA, (0, ..., Slice(None, None, 2), -1))), 1),
    ),
    ("p.data[p.dq == 0].max() > 1", is_(">", Reduce("max", Subscript(DATA, (is_("==", WholeArray("DQ"), 0),))), 1)),
    ("p['GROUP']['bjd'].max() > 1", is_(">", Reduce("max", Subscript(WholeArray("GROUP"), ("bjd",))), 1)),
    # all
    ("1", ALL),
    ("", ALL),
    (" \n", ALL),
    ("True", ALL),
    ("1 and 1", ALL),
    ("false", Or(())),
    ("ngroups > 3 and true", is_(">", NGROUPS, 3)),
    ("test_image(p)", Truth(PythonCall("test_image", test_image))),
    ("not test_image(p) and a = 1", And((Not(Truth(PythonCall("test_image", test_image))), is_("==", key("A"), 1)))),
]


@pytest.mark.parametrize(("text", "tree"), FORMS, ids=[text for text, _ in FORMS])
def test_form(text, tree):
    assert read(text, test_image=test_image) == tree


@pytest.mark.parametrize("text", [text for text, _ in FORMS])
def test_normal_form_reads_back(text):
    tree = read(text, test_image=test_image)
    assert read(to_text(tree), test_image=test_image) == tree


def test_other_variable():
    assert read("i.type == 'Ramp' and i.meta['ngroups'].value > 2", "i") == And(
        (is_("==", Field("kind"), "Ramp"), is_(">", NGROUPS, 2))
    )


def test_true_is_not_one():
    assert Literal(1) != Literal(True)
    assert len(read("a == 1 and a == True").parts) == 2


FORBIDDEN = [
    ("lambda: 3", 0, "lambda"),
    ("[x for x in y]", 0, "expected a value"),
    ("ANY(x for x in y)", 6, "'for'"),
    ("(a := 3)", 3, "is an assignment"),
    ("f'{a}' == 1", 1, "prefix"),
    ("a == b'x'", 6, "prefix"),
    ("p.__class__ == 1", 2, "names that begin with '_'"),
    ("p.meta.__dict__ == 1", 7, "names that begin with '_'"),
    ("__import__('os')", 0, "not allowed"),
    ("p._datasets == 1", 2, "names that begin with '_'"),
    ("import os", 0, "not allowed"),
    ("open('x')", 0, "no function"),
    ("eval('1')", 0, "no function"),
    ("p.data.tofile('x')", 7, "no method"),
    ("p.data.dump == 1", 7, "there is no"),
    ("p.data.max == 1", 7, "is a method"),
    ("p.data.max(out=3) > 1", 7, "takes no argument"),
    ("p.data.max(*a) > 1", 11, "write each argument out"),
    ("max(**a) > 1", 4, "write each argument out"),
    ("p.data.max(axis='x') > 1", 16, "whole number"),
    ("f(p)", 0, "no function"),
    ("known(3)", 0, "takes the product"),
    ("known(p, p)", 0, "takes the product"),
    ("p(3)", 0, "no function"),
    ("p.meta['a'](3)", 11, "can't be called"),
    ("a if b else c", 2, "'if'"),
    ("a, b", 1, "unexpected"),
    ("{1: 2}", 0, "can't contain the character '{'; a list"),
    ("a == 1; b == 2", 6, "can't contain the character ';'; write only one"),
    ("a @ b", 2, "can't contain the character '@'"),
    ("a << 2 > 1", 2, "shifts"),
    ("a == 'x", 5, "no closing quote"),
    ("a == 1 2", 7, "unexpected"),
    ("a ==", 4, "the end"),
    ("(a == 1", 7, "expected '.'"),
    ("a == 1)", 6, "unexpected"),
    ("== 1", 0, "expected a value"),
    ("a == null", 5, "is null"),
    ("null", 0, "is null"),
    ("a == 'it''s'", 9, "quote"),
    ("a ** b > 1", 5, "exponent"),
    ("a ** 17 > 1", 5, "exponent"),
    ("2 ** 2 ** 2 > 1", 5, "exponent"),
    ("a == 1e999", 5, "too large"),
    ("a == 12ab", 5, "not a number"),
    ("a == 1j", 5, "not a number"),
    ("a + 1", 0, "compare"),
    ("a + 'x' > 1", 4, "numbers"),
    ("a + (b > 1) > 1", 4, "condition"),
    ("a > (b > 1)", 4, "condition"),
    ("(a > 1) & b", 0, "join conditions"),
    ("(a > 1) ^ (b > 1)", 0, "does not join"),
    ("3", 0, "not a condition"),
    ("'x'", 0, "not a condition"),
    ("p", 0, "the whole product"),
    ("p.meta", 0, "not a single value"),
    ("p.tags == 'x'", 0, "in p.tags"),
    ("p.version", 0, "compare"),
    ("p.data > 5", 0, "ANY"),
    ("p.data", 0, "ANY"),
    ("p.vesion == 3", 0, "VESION"),
    ("p.data like 'x'", 0, "array"),
    ("p.data in (1, 2)", 0, "array"),
    ("p.data.shape == (1, 2)", 0, "shape"),
    ("p.data[a] > 1", 6, "constant"),
    ("p.data[1.5].max() > 1", 7, "whole number"),
    ("p.data[::0].max() > 1", 9, "zero"),
    ("p.data[].max() > 1", 6, "subscript"),
    ("p.meta[3] == 1", 6, "string"),
    ("p[0].max() == 1", 1, "string"),
    ("ngroups.max() > 1", 8, "no method"),
    ("ngroups[0] > 1", 7, "elements"),
    ("a in b", 0, "write"),
    ("a in (b, c)", 6, "constants"),
    ("'x' in 'xyz'", 7, "list"),
    ("a like b", 7, "takes a string"),
    ("a == not b", 5, "brackets"),
    ("i.type == 'Ramp'", 0, "called 'p'"),
    ("exposure.ngroup > 2", 0, "no keyword has the name or path"),
    ("a.b.c > 2", 0, "no keyword has the name or path"),
    ("p.meta[''] > 2", 6, "missing"),
    ("a == '\\x00'", 5, "a FITS header can't hold"),
    ("a == '\\ud800'", 5, "a FITS header can't hold"),
    ("a.startswith(3)", 2, "one string"),
    ("a.startswith(('b', 'c'))", 17, "list"),
    ("sum(a) > 1", 0, "of one value is the value itself"),
    ("ä == 1", 0, "can't contain the character 'ä'"),
    ("a ≥ 1", 2, "can't contain the character '≥'"),
    ("ANY(p.version)", 0, "compare it"),
    ("ALL(ngroups.unit)", 0, "compare it"),
    ("created > now - 'x' day", 16, r"write e\.g\. now - 1 day"),
]


@pytest.mark.parametrize(("text", "column", "message"), FORBIDDEN, ids=[text for text, _, _ in FORBIDDEN])
def test_forbidden(text, column, message):
    with pytest.raises(QueryError, match=message) as caught:
        read(text, known=test_image)
    assert caught.value.column == column, str(caught.value)


def test_the_error_shows_the_place():
    with pytest.raises(QueryError) as caught:
        read("ngroups > 3 and\n detector = = 'x'")
    assert str(caught.value).splitlines()[-1].index("^") - 2 == caught.value.column == 28


def test_too_long():
    with pytest.raises(QueryError, match="10000 characters"):
        read("a == 1 or " * (MAX_LENGTH // 10) + "a == 1")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 101 + "a == 1" + ")" * 101,
        "not " * 2000 + "a",
        "-" * 5000 + "1 == a",
        "a" + "[0]" * 3000 + " > 1",
        "p.data" + "[0]" * 300 + ".max() > 1",
        "abs(" * 1000 + "a" + ")" * 1000 + " > 1",
        "1" + "+1" * 4000 + " == a",
        "1" + "**1" * 3000 + " == a",
        "a" + ".lower()" * 1000 + " == 'x'",
        " or ".join(["a==1"] * 1200),
    ],
    ids=lambda text: text[:12],
)
def test_too_deep_or_too_many(text):
    with pytest.raises(QueryError):
        read(text)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "text", ["a-" * 4900, "DATE-" * 1990, "a" + "-OBS" * 2400, "a.b" * 3000, "&" * 9999, "'" * 9999]
)
def test_long_texts_do_not_hang(text):
    with pytest.raises(QueryError):
        read(text)


def test_hyphens():
    assert read("DATE-OBS-1 > a") == read("(date_obs - 1) > a")
    assert read("DATE-OBSX > a") == read("(DATE - OBSX) > a")
    assert read("DATE - OBS > a") == read("DATE-(OBS) > a")


def test_deep_but_not_too_deep():
    text = "a == 1"
    for i in range(90):
        text = f"(b == {i} {'or' if i % 2 else 'and'} {text})"
    assert isinstance(read(text), And | Or)


def test_long_list():
    items = ", ".join(map(str, range(1500)))
    assert len(read(f"ngroups in ({items})").items) == 1500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a==1 & b", "&"),
        ("a==1 & b==2", "and"),
        ("(a==1) & (b==2)", "and"),
        ("not (a==1) | b==2", "or"),
        ("f(a==1) & b", "&"),
        ("p.dq & 4 == 0", "&"),
        ("a==1 & 'x' in p.tags", "and"),
        ("a is null | b==2", "or"),
    ],
)
def test_ampersand(text, words):
    assert [t.text for t in scan(text, ()) if t.text in ("&", "|", "and", "or")] == [words]


def test_now_is_the_time_of_asking():
    """Text that was read before is not read again; this text means something else each time."""
    first = read("created > now - 1 hour")
    time.sleep(0.001)
    later = read("created > now - 1 hour")
    assert first.right.value < later.right.value
    assert isinstance(read("created > now - 0x2 hours"), Compare)


def check(text):
    try:
        tree = read(text, f=test_image)
    except QueryError as error:
        column = error.column
        tree = None
    if tree is None:
        assert column is None or 0 <= column <= len(text)
        return
    assert isinstance(tree, Node)
    assert read(to_text(tree), f=test_image) == tree


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60))
def test_any_text(text):
    check(text)


WORDS = """
ngroups exposure meta p i data .data .meta .tags .max() .any() SCI.BUNIT DATE-OBS 'x' 'a*' "MIRI" 1 2.5 -3 0x4
( ) [ ] , : . ... == = != <> < <= > >= & | && || ! ~ ^ + - * / // % ** and or not in is like between null true
ANY( ALL( abs( isnan( max( f( p) axis=0 .value .unit .lower() .containsKey('x') ['SCI'] [0] [:,1:2] .shape[0]
"""


@pytest.mark.slow
@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(WORDS.split()), max_size=14), st.sampled_from(["", " "]))
def test_any_words(words, blank):
    check(blank.join(words))


values = st.sampled_from(
    [
        "ngroups",
        "p.meta['flag'].value",
        "SCI.BUNIT",
        "p.version",
        "p.data.max()",
        "p['ERR'].shape[0]",
        "abs(nints)",
        "(p.data > 1).sum()",
        "p.data[0].median()",
        "nints * 3 - 1",
    ]
)
constants = st.sampled_from(["3", "-2.5", "'x'", "'2018-03-08'", "True", r"'\'%_*\\'"])
leaves = st.one_of(
    st.builds("{} {} {}".format, values, st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "="]), constants),
    st.builds("{} in ({}, {})".format, values, constants, constants),
    st.builds(
        "{} {} {} {} {}".format, constants, st.sampled_from(["<", "<="]), values, st.sampled_from(["<", ">"]), constants
    ),
    st.builds("{} like 'a*_?'".format, values),
    st.builds("{} is null".format, values),
    st.builds("ANY(p.data {} {})".format, st.sampled_from(["<", "!="]), st.sampled_from(["3", "p.err"])),
    st.sampled_from(["flag", "'t' in p.tags", "'k' in p.meta", "'SCI' in p", "f(p)", "1", "False"]),
)
predicates = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds("({}) and ({})".format, inner, inner),
        st.builds("({}) or ({})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(predicates)
def test_any_predicate(text):
    tree = read(text, f=test_image)
    assert read(to_text(tree), f=test_image) == tree
    for node in walk(tree):
        if isinstance(node, Not):
            assert not isinstance(node.part, (And, Or, Not, Compare, Range))


@settings(max_examples=200, deadline=None)
@given(st.text(string.printable, max_size=20))
def test_strings_are_what_python_reads(text):
    written = repr(text)
    assert read(f"a == {written}") == is_("==", key("A"), ast.literal_eval(written))
