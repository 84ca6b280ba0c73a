from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest
import sqlalchemy as sa
from homes import ask
from manifests import Chain, make_manifest
from postgresql import throwaway_server

from miripool.errors import (
    AlreadyExists,
    Conflict,
    DiskFull,
    IntegrityError,
    InvalidInput,
    PoolNotFound,
    ReadOnly,
    ServerError,
    ServerUnavailable,
)
from miripool.index import schema as tables
from miripool.index.catalog import Catalog
from miripool.index.connection import Database, schema_name
from miripool.index.engine import engine_url
from miripool.index.rows import ProductRow
from miripool.index.sqlerrors import translate
from miripool.store.journal import Remove, Restore, Tag, Untag

P = tables.product.c


@pytest.fixture
def chain() -> Chain:
    """Two kinds, three names, tags, a removal.

    =======  ====  =====  =========================
    serial   kind  name   state
    =======  ====  =====  =========================
    0        Ramp  a      tagged v1
    1        Ramp  a      tagged v2, in the trash
    2        Ramp  a      head, tagged 'x'
    3        Rate  a      head, tagged v1 and v2
    4        Ramp  b_c    head
    5        Ramp  bxc    in the trash: no head
    =======  ====  =====  =========================
    """
    made = Chain()
    detectors = ["MIRIMAGE", "MIRIMAGE", "MIRIFULONG", "MIRIFUSHORT", "MIRIMAGE", "NRS1"]
    tracks = [("a", "Ramp")] * 3 + [("a", "Rate"), ("b_c", "Ramp"), ("bxc", "Ramp")]
    for i, ((name, kind), detector) in enumerate(zip(tracks, detectors, strict=True)):
        cards = {"DETECTOR": detector, "NGROUPS": 10 + i, "LAMP": i % 2 == 0}
        manifest = make_manifest(cards, sci={"EXTNAME": "SCI", "BUNIT": "DN", "NGROUPS": -1}, filename=f"f{i}.fits")
        made.add(made.save(name, kind, manifest))
    made.add(Tag("v1", (0, 3)), Tag("v2", (1, 3)), Tag("x", (0, 2)))
    made.add(Remove((1, 5)))
    return made


@pytest.fixture
def catalog(any_database_url: str, schema: str, chain: Chain) -> Iterator[Catalog]:
    with Catalog.open(any_database_url, schema=schema, pool_id="pool-a") as made:
        made.apply(chain.entries, chain.manifest)
        yield made
        made.drop()


def serials(rows: list[ProductRow]) -> list[int]:
    return [row.serial for row in rows]


def test_rows_have_the_columns_of_the_table() -> None:
    assert list(ProductRow._fields) == [*(column.name for column in tables.product.c), "tags"]


@pytest.mark.slow
def test_select(catalog: Catalog) -> None:
    assert serials(catalog.select()) == [2, 3, 4]
    assert serials(catalog.select(all_versions=True)) == [0, 2, 3, 4]
    assert serials(catalog.select(kinds=["Rate", "Raw"])) == [3]
    assert serials(catalog.select(kinds=[])) == []
    assert serials(catalog.select(tag="v1")) == [0, 3]
    assert serials(catalog.select(tag="v2")) == [3]
    assert serials(catalog.select(tag="none such")) == []
    assert serials(catalog.select(removed=True)) == [1, 5]
    assert serials(catalog.select(where=P.ngroups >= 13)) == [3, 4]
    assert serials(catalog.select(where=P.ngroups < 13, all_versions=True)) == [0, 2]
    assert serials(catalog.select(among=[4, 0, 2, 1, 99])) == [2, 4]
    assert serials(catalog.select(among=[4, 0, 2, 1, 99], all_versions=True)) == [0, 2, 4]
    assert serials(catalog.select(among=[])) == []
    assert serials(catalog.select(order_by=[P.ngroups.desc()], limit=2)) == [4, 3]
    assert serials(catalog.select(order_by=[P.kind.desc()], limit=2, offset=1)) == [2, 4]
    assert catalog.select(limit=0) == []


@pytest.mark.slow
def test_count_agrees_with_select(catalog: Catalog) -> None:
    assert catalog.count() == 3
    assert catalog.count(all_versions=True, where=P.detector == "MIRIMAGE") == 2
    assert catalog.count(tag="v1", kinds=["Ramp"]) == 1
    assert catalog.count(among=list(range(100_000)), all_versions=True) == 4
    assert catalog.count(removed=True) == 2


@pytest.mark.slow
def test_rows_come_in_the_order_asked_for(catalog: Catalog) -> None:
    rows = catalog.rows([4, 99, 1, 0, 4])
    assert serials(rows) == [4, 1, 0, 4]
    assert [row.tags for row in rows] == [(), (), ("v1",), ()]
    assert catalog.rows([]) == []


def test_tracks_and_names(catalog: Catalog) -> None:
    track = catalog.track("Ramp", "a")
    assert [(r.serial, r.version, r.head, r.removed is None) for r in track] == [
        (0, 0, False, True),
        (1, 1, False, False),
        (2, 2, True, True),
    ]
    assert catalog.track("Ramp", "none such") == []
    assert serials(catalog.by_name("a")) == [2, 3]
    assert serials(catalog.by_name("a", "Rate")) == [3]
    assert serials(catalog.by_name("bxc")) == []
    assert catalog.names_like("") == ["a", "b_c"]
    assert catalog.names_like("b_") == ["b_c"]
    assert catalog.names_like("%") == []
    digest = catalog.rows([0])[0].file_digest
    assert digest is not None
    assert serials([row for row in catalog.living(["a", "b_c"]) if row.file_digest == digest]) == [0]


def test_tags_and_their_history(catalog: Catalog, chain: Chain) -> None:
    assert [(t.label, t.count) for t in catalog.tags()] == [("v1", 2), ("v2", 1), ("x", 1)]
    assert catalog.rows([3])[0].tags == ("v1", "v2")
    chain.add(Tag("v1", (2,)), Untag("v1", (3,)), Untag("x", (0,)))
    chain.add(Restore((1,)))
    catalog.apply(chain.entries, chain.manifest)
    first = catalog.tags()[0]
    assert (first.label, first.count) == ("v1", 1)
    assert (first.first, first.last) == (chain.entries[6].time, chain.entries[8].time)
    assert catalog.rows([1])[0].tags == ("v2",)
    moves = [(e.name, e.kind, e.serial, e.previous) for e in catalog.tag_events(label="v1")]
    assert moves == [("a", "Ramp", 0, None), ("a", "Rate", 3, None), ("a", "Ramp", 2, 0), ("a", "Rate", None, 3)]
    assert [e.label for e in catalog.tag_events(kind="Ramp", name="a", limit=2)] == ["x", "v1"]


def test_keywords(catalog: Catalog) -> None:
    assert catalog.has_keyword("NGROUPS")
    assert catalog.has_keyword("NGROUPS", "SCI")
    assert not catalog.has_keyword("DETECTOR", "SCI")
    assert not catalog.has_keyword("DETECTR")
    assert catalog.keywords() == ["BUNIT", "DETECTOR", "EXTNAME", "LAMP", "NGROUPS"]
    asked = [(None, "NGROUPS"), ("SCI", "NGROUPS"), (None, "LAMP"), ("PRIMARY", "BUNIT"), (None, "BUNIT")]
    assert catalog.keyword_values([0, 3, 99], asked) == {
        0: {(None, "NGROUPS"): 10.0, ("SCI", "NGROUPS"): -1.0, (None, "LAMP"): True, (None, "BUNIT"): "DN"},
        3: {(None, "NGROUPS"): 13.0, ("SCI", "NGROUPS"): -1.0, (None, "LAMP"): False, (None, "BUNIT"): "DN"},
    }
    assert catalog.keyword_values([0], [(None, "NGROUPS")]) == {0: {(None, "NGROUPS"): 10.0}}
    assert catalog.keyword_values([], asked) == {}
    assert catalog.keyword_values([0], []) == {}


def test_near_values_are_suggested(catalog: Catalog) -> None:
    assert catalog.values_near("DETECTOR", "mirimgae")[0] == "MIRIMAGE"
    assert catalog.values_near("DETECTOR", "zzz", limit=2) == ["MIRIFULONG", "MIRIFUSHORT"]
    assert catalog.values_near("NGROUPS", "x") == []
    assert catalog.values_near("NONE", "x") == []


def test_statistics(catalog: Catalog) -> None:
    found = catalog.statistics()
    assert list(found.kinds) == ["Ramp", "Rate"]
    assert found.tags == 3
    total = found.total
    assert (total.products, total.removed, total.heads, total.tracks) == (4, 2, 3, 4)
    assert (total.bytes, total.stored_bytes) == (4 * 5760, 600)
    ramp = found.kinds["Ramp"]
    assert (ramp.products, ramp.heads, ramp.tracks) == (3, 2, 3)


def test_empty_pool(database_url: str, schema: str) -> None:
    with Catalog.open(database_url, schema=schema, pool_id="e", first_serial=5) as catalog:
        assert catalog.position() == dataclasses.replace(catalog.position(), n=-1, digest=None, next_serial=5)
        assert (catalog.select(), catalog.count(), catalog.tags(), catalog.tag_events()) == ([], 0, [], [])
        assert (catalog.keywords(), catalog.statistics().kinds, catalog.datasets([])) == ([], {}, {})
        assert catalog.statistics().total.products == 0
        catalog.drop()


def test_connections_have_the_settings_that_results_rely_on(catalog: Catalog) -> None:
    with catalog.database.read() as connection:
        shown = [
            connection.exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in ("jit", "timezone", "application_name", "client_encoding")
        ]
    assert shown == ["off", "UTC", "miripool", "UTF8"]


def test_a_users_options_are_kept(database_url: str) -> None:
    database = Database(f"{database_url}&options=-c%20work_mem%3D77MB", "s")
    with database.read() as connection:
        assert connection.exec_driver_sql("SHOW work_mem").scalar_one() == "77MB"
        assert connection.exec_driver_sql("SHOW jit").scalar_one() == "off"
    database.close()


def test_read_only(catalog: Catalog, chain: Chain) -> None:
    url = str(catalog.database._base.url.render_as_string(False))
    with Catalog.open(url, schema=catalog.schema, pool_id="pool-a", read_only=True) as reader:
        assert reader.count() == 3
        chain.add_saves(["z"])
        with pytest.raises(ReadOnly):
            reader.apply(chain.entries, chain.manifest)
        with pytest.raises(ReadOnly):
            reader.drop()
        with pytest.raises(ReadOnly):
            reader.rename("other")
    with pytest.raises(PoolNotFound):
        Catalog.open(url, schema="none such", pool_id="pool-a", read_only=True)


def test_rename(catalog: Catalog, schema: str, chain: Chain) -> None:
    url = str(catalog.database._base.url.render_as_string(False))
    with Catalog.open(url, schema=f"{schema} other", pool_id="pool-b") as other:
        with pytest.raises(AlreadyExists):
            catalog.rename(other.schema)
        assert catalog.count() == 3
        other.drop()
    stale = Catalog.open(url, schema=schema, pool_id="pool-a")
    catalog.rename(f'{schema} "new" %s {{product}} %%')
    assert catalog.count() == 3
    serials = catalog.serials()
    assert [row.serial for row in catalog.rows(serials)] == serials == [2, 3, 4]
    assert catalog.serials(limit=2, kinds=["Ramp", "Raw", "Rate"]) == serials[:2]
    assert catalog.position().next_serial == 6
    heads = catalog.by_name(catalog.rows([2])[0].name)
    assert all(head in catalog.track(head.kind, head.name) for head in heads)
    chain.add_saves(["z"])
    assert catalog.apply(chain.entries, chain.manifest) == 1
    with stale, pytest.raises(ServerError, match="Open the pool again"):
        stale.count()
    Catalog.open(url, schema=catalog.schema, pool_id="pool-a").close()


def test_drop_spares_another_pools_schema(catalog: Catalog) -> None:
    with catalog.database.write() as connection:
        connection.execute(sa.update(tables.state).values(pool_id="pool-b"))
    with pytest.raises(Conflict, match="pool-b"):
        catalog.drop()
    with catalog.database.write() as connection:
        connection.execute(sa.update(tables.state).values(pool_id="pool-a"))


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 1.1])
@pytest.mark.parametrize(
    "use", [lambda c: c.count(), lambda c: len(c.serials()), lambda c: c.position().next_serial - 3]
)
def test_a_lost_connection_is_made_anew(catalog: Catalog, use: Callable[[Catalog], int], seconds: float) -> None:
    assert use(catalog) == 3
    with catalog.database.read() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    ask(
        catalog.database._base.url.set(drivername="postgresql").render_as_string(False),
        f"SELECT pg_terminate_backend({pid}, 5000)",
    )
    time.sleep(seconds)
    assert use(catalog) == 3


def test_a_connection_that_is_lost_while_it_is_asked_is_given_up(catalog: Catalog) -> None:
    end_myself = "SELECT pg_terminate_backend(pg_backend_pid())"
    with pytest.raises(ServerError):
        catalog.database.ask(end_myself)
    assert catalog.position().next_serial == 6
    with pytest.raises(ServerError, match="no_such_table"):
        catalog.database.ask("SELECT * FROM no_such_table")
    assert catalog.database.ask("SELECT %s, %s", (1, "two")) == [(1, "two")]


def test_a_forked_child_and_its_parent_do_not_share_a_connection(catalog: Catalog) -> None:
    assert catalog.count() == 3
    child = os.fork()
    if child == 0:
        try:
            os._exit(catalog.count())
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 3
    assert catalog.count() == 3


@pytest.mark.slow
def test_pools_of_a_process_share_their_connections(database_url: str, schema: str) -> None:
    url = f"{database_url}&options=-c%20work_mem%3D78MB"  # of this test alone
    opened = [Catalog.open(url, schema=f"{schema} {i}", pool_id=f"pool {i}") for i in range(25)]
    pids = set()
    for catalog in opened:
        assert catalog.count() == 0
        with catalog.database.read() as connection:
            pids.add(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
    assert len(pids) == 1
    left = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
    for catalog in opened:
        assert ask(database_url, left, *pids) == [(1,)]  # the last of them closes it
        catalog.drop()
        catalog.close()
    for _ in range(100):
        if ask(database_url, left, *pids) == [(0,)]:
            return
        time.sleep(0.05)
    pytest.fail("the connection is still open")


def test_a_lock_that_is_held_too_long_is_told(database_url: str, schema: str, chain: Chain) -> None:
    url = f"{database_url}&options=-c%20lock_timeout%3D200ms"
    with Catalog.open(url, schema=schema, pool_id="p") as catalog:
        with closing(psycopg2.connect(database_url, application_name="somebody's psql")) as link:
            link.cursor().execute(f'LOCK TABLE "{schema}".product')
            for use in (catalog.count, lambda: catalog.apply(chain.entries, chain.manifest)):
                with pytest.raises(ServerError, match=r"lock timeout; .*somebody's psql of .*process .* try again"):
                    use()
        assert catalog.apply(chain.entries, chain.manifest) == len(chain.entries)
        catalog.drop()


def test_nobody_waits_for_a_lock_for_ever(catalog: Catalog) -> None:
    with catalog.database.read() as connection:
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "5min"


@pytest.mark.slow
@pytest.mark.server
def test_a_server_without_a_free_connection_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with throwaway_server() as owner:
        with closing(psycopg2.connect(owner)) as link:
            link.cursor().execute(
                "CREATE ROLE few LOGIN PASSWORD 'f' CONNECTION LIMIT 1; GRANT CREATE ON DATABASE postgres TO few"
            )
            link.commit()
        start, _, end = owner.partition("owner:")
        url = f"{start}few:f@{end.partition('@')[2]}"
        link = psycopg2.connect(url)
        with monkeypatch.context() as patched:
            patched.setattr("miripool.index.driver._SLOT_SECONDS", 0.5)
            with pytest.raises(ServerUnavailable, match=r"has no connection left .*max_connections, and try again"):
                Catalog.open(url, schema="s", pool_id="p")
        threading.Timer(1.0, link.close).start()
        with Catalog.open(url, schema="s", pool_id="p") as catalog:
            assert catalog.count() == 0


def test_threads(catalog: Catalog) -> None:
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(catalog.count())) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [3] * 12


# Names and addresses.


@pytest.mark.parametrize("name", ["jpl8", "My pool.v-1", "Ünï", "x" * 63])
def test_pool_names_are_schema_names(name: str) -> None:
    assert schema_name(name) == name


@pytest.mark.parametrize("name", ["pg_x", "PG_toast", "public", "information_schema", "pool x"])
def test_reserved_names_get_a_prefix(name: str) -> None:
    assert schema_name(name) == f"pool {name}"


def test_long_names_stay_different() -> None:
    names = ["ü" * 40, "ü" * 41, "x" * 64, "x" * 65]
    schemas = [schema_name(name) for name in names]
    assert len(set(schemas)) == 4
    assert all(len(schema.encode()) <= 63 for schema in schemas)


@pytest.mark.parametrize("name", ["a.b", "100 %", '"q"', "it's", "[x]", "pg_catalog", "$user", "x" * 70, "a:b"])
def test_any_name_works_as_a_schema(database_url: str, name: str, chain: Chain) -> None:
    with Catalog.open(database_url, schema=schema_name(name), pool_id=name) as catalog:
        catalog.apply(chain.entries, chain.manifest)
        assert catalog.count() == 3
        catalog.drop()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://u@h/d", "postgresql+psycopg2://u@h/d"),
        ("postgres://u@h:5433/d", "postgresql+psycopg2://u@h:5433/d"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg2://h/d"),
        ("postgresql+psycopg2:///d?host=/run/x", "postgresql+psycopg2:///d?host=%2Frun%2Fx"),
        ("postgresql://u@%2Frun%2Fx/d", "postgresql+psycopg2://u@/d?host=%2Frun%2Fx"),
    ],
)
def test_urls(given: str, expected: str) -> None:
    assert engine_url(given).render_as_string(hide_password=False) == expected


@pytest.mark.parametrize(
    "url", ["", "nonsense s3cret", "sqlite:///x?password=s3cret", "postgresql://u:s3cret@h:port/d"]
)
def test_bad_urls_are_refused_without_their_secrets(url: str) -> None:
    with pytest.raises(InvalidInput, match="MIRIPOOL_DATABASE_URL") as caught:
        engine_url(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cret%2Fx@127.0.0.1:1/db",
        "postgresql:///db?host=/nowhere&user=s&password=s3cret/x",
        "postgresql://user:s3cret%2Fx@no-such-host.invalid/db",
    ],
)
def test_unreachable_server(url: str) -> None:
    with pytest.raises(ServerUnavailable, match="Start it, or correct") as caught:
        Catalog.open(url, schema="s", pool_id="p")
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in f"{error} {error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("async=1", '"async"'),
        ("cursor_factory=x", '"cursor_factory"'),
        ("dsn=host%3Dx", '"dsn"'),
        ("service=a%00b", "zero byte"),
        ("nonsense=1", "nonsense"),
    ],
)
def test_what_is_no_parameter_of_libpq(query: str, words: str) -> None:
    url = f"postgresql://user:s3cret@127.0.0.1:1/db?{query}"
    with pytest.raises(InvalidInput, match=words) as caught:
        Catalog.open(url, schema="s", pool_id="p")
    assert "s3cret" not in str(caught.value)


def test_missing_database(database_url: str) -> None:
    url = engine_url(database_url).set(database="none_such").render_as_string(hide_password=False)
    with pytest.raises(ServerUnavailable, match="none_such"):
        Catalog.open(url, schema="s", pool_id="p")


def test_repr_hides_the_password() -> None:
    database = Database("postgresql://user:s3cret@host:1/db?sslpassword=s3cret2", "s")
    assert "s3cret" not in f"{database!r} {Catalog(database, 'p')!r} {database.where}"
    database.close()


class _ServerSaid(Exception):
    def __init__(self, pgcode: str | None, words: str = "words") -> None:
        super().__init__(words)
        self.pgcode = pgcode


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("53100", DiskFull),
        ("25006", ReadOnly),
        ("42501", ReadOnly),
        ("57P01", ServerUnavailable),
        ("08006", ServerUnavailable),
        ("53300", ServerUnavailable),
        ("28P01", ServerUnavailable),
        ("XX001", IntegrityError),
        ("42P06", AlreadyExists),
        ("40P01", ServerError),
        ("22012", InvalidInput),
        ("42703", ServerError),
        (None, ServerError),
    ],
)
def test_errors_by_sqlstate(code: str | None, meaning: type[Exception]) -> None:
    translated = translate(_ServerSaid(code), "somewhere")
    assert type(translated) is meaning
    assert "words" in str(translated)


def test_arithmetic_of_a_condition_is_the_users(catalog: Catalog) -> None:
    with pytest.raises(InvalidInput, match="division by zero"):
        catalog.select(where=P.version / (P.version - P.version) > 1)
