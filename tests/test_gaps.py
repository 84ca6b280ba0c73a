"""What answers in SQL leave out is said: versions without pixel rows, with each question, whatever it asks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import homes
import numpy as np
import pytest
from homes import call
from postgresql import reachable_folder

from miripool import Home, Pool, Product, Ramp, Rate, RateInts, Raw
from miripool.errors import IncompleteAnswer, InvalidInput
from miripool.pixels.gaps import notice_of_gaps
from miripool.pool.core import core_of

home = homes.home
PLACE = {"SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": 4, "SUBSIZE2": 3, "DETECTOR": "MIRIMAGE"}
COUNT = "SELECT count(*) FROM ramps"


def raw(name: str, **cards: Any) -> Raw:
    return Raw(PLACE | cards, {"SCI": np.ones((1, 2, 3, 4), "u2")}, name=name)


def rates(name: str, **cards: Any) -> RateInts:
    return RateInts(PLACE | cards, {"SCI": np.ones((1, 3, 4), "f4")}, name=name)


@pytest.fixture(scope="module")
def own() -> Iterator[Home]:
    """A home with an embedded server of its own: there questions come from the role that can only read."""
    with pytest.MonkeyPatch.context() as patch, reachable_folder() as folder:
        patch.delenv("MIRIPOOL_DATABASE_URL", raising=False)
        patch.setenv("MIRIPOOL_HOME", str(folder / "home"))
        home = Home(folder / "home")
        yield home
        home.server.remove()


@pytest.fixture
def pool(own: Home) -> Iterator[Pool]:
    """A pool with a blank in its name, one version of which has no rows."""
    with own.create("my pool") as made:
        made.save(raw("whole"))
        made.save(raw("left out"), pixels=False)
        yield made
    own.delete("my pool")


def ask(home: Home, statement: str) -> list[tuple[Any, ...]]:
    with home.sql("my pool", statement) as answer:
        return list(answer)


def missing(home: Home) -> list[tuple[Any, ...]]:
    with pytest.warns(IncompleteAnswer):
        return ask(home, "SELECT urn, kind, reason FROM missing_pixel_rows ORDER BY urn")


@pytest.mark.slow
def test_python_warns(own: Home, pool: Pool) -> None:
    words = r"pool my pool: 1 version has no pixel rows.*\(1: left out when it was saved\).*index pixels 'my pool'`"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with own.sql("my pool", COUNT) as answer:
            assert list(answer) == [(12,)]
    assert re.search(words, answer.notice or "")
    assert [str(warning.message) for warning in told] == [answer.notice]
    assert [warning.filename for warning in told] == [__file__]
    with pytest.warns(IncompleteAnswer):
        assert ask(own, "SELECT 1") == [(1,)]  # the question is not read for it
    core_of(pool).pixel_rows.make_pending([pool.ref("Raw/left out").serial])
    with own.sql("my pool", COUNT) as answer:  # a warning would be an error
        assert list(answer) == [(24,)]
        assert answer.notice is None


@pytest.mark.slow
def test_the_command_says_so_on_stderr(own: Home, pool: Pool) -> None:
    for form in ((), ("--json",), ("--csv",)):
        done = call("sql", "my pool", COUNT, *form)
        assert "1 version has no pixel rows" in done.stderr
        assert "miripool index pixels 'my pool'" in done.stderr
        assert "IncompleteAnswer" not in done.stderr
        assert "pixel rows" not in done.stdout
    assert json.loads(call("sql", "my pool", COUNT, "--json").stdout) == [{"count": 12}]
    assert call("index", "pixels", "my pool", "Raw/left out").exit_code == 0
    done = call("sql", "my pool", COUNT, "--json")
    assert (json.loads(done.stdout), done.stderr) == ([{"count": 24}], "")


@pytest.mark.slow
def test_the_command_says_so_with_each_call(own: Home, pool: Pool) -> None:
    warnings.resetwarnings()  # as it is for a user, whom Python tells once what comes from the same line
    assert all("no pixel rows" in call("sql", "my pool", COUNT).stderr for _ in range(2))


@pytest.mark.slow
def test_psql_is_opened_with_the_notice(own: Home, pool: Pool) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "miripool", "--home", own.path, "sql", "my pool"],
        input=f"\\pset tuples_only\n{COUNT};\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout.split()[-1]) == (0, "12")
    assert "1 version has no pixel rows" in done.stderr


@pytest.mark.slow
def test_the_view_lists_them_with_the_reason(own: Home, pool: Pool) -> None:
    pool.save(rates("dropped"))
    core_of(pool).pixel_rows.drop([pool.ref("dropped").serial])
    pool.save(RateInts({}, {"SCI": np.ones((1, 3, 4), "f4")}, name="nowhere"))
    pool.save(Product({}, {"A": np.ones(3)}, name="no pixels at all"))
    pool.remove(pool.save(raw("in the trash"), pixels=False))
    found = missing(own)
    assert [(kind, reason) for _, kind, reason in found] == [
        ("RateInts", "dropped"),
        ("RateInts", "the header names no place on the detector"),
        ("Raw", "left out when it was saved"),
    ]
    assert [pool.ref(urn).name for urn, _, _ in found] == ["dropped", "nowhere", "left out"]
    with pytest.warns(IncompleteAnswer, match="3 versions have"):
        ask(own, "SELECT 1")


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["none", "tagged"])
def test_what_the_policy_leaves_out(own: Home, pool: Pool, policy: str) -> None:
    core_of(pool).pixel_rows.make_pending([pool.ref("Raw/left out").serial])
    pool.set_pixel_policy(policy)
    first = pool.save(rates("r"))
    pool.save(rates("r").replace(SCI=np.zeros((1, 3, 4), "f4")))
    core_of(pool).pixel_rows.tidy()
    urns = [urn for urn, _, _ in missing(own)]
    assert first.urn in urns
    assert len(urns) == {"none": 2, "tagged": 1}[policy]
    told = f"2: not wanted by the pool's policy, which is '{policy}'" if policy == "none" else "1: not wanted by"
    assert told in str(notice_of_gaps(pool))
    if policy == "tagged":
        with pytest.raises(InvalidInput, match=r"RateInts/r@0 is neither the newest of its product nor tagged"):
            call("index", "pixels", "my pool", *urns)
        pool.tag(first, "good")
        assert "1: not made yet" in str(notice_of_gaps(pool))
    assert "pixel rows of" in call("index", "pixels", "my pool", *urns).stderr
    core_of(pool).pixel_rows.tidy()
    assert notice_of_gaps(pool) is None


@pytest.mark.slow
def test_a_new_index_has_gaps_until_they_are_filled(own: Home, pool: Pool) -> None:
    pool.reindex()
    with pytest.warns(IncompleteAnswer, match=r"2 versions have.*not made yet"):
        assert ask(own, COUNT) == [(0,)]
    assert call("index", "pixels", "my pool").exit_code == 0
    assert ask(own, COUNT) == [(24,)]


@pytest.mark.slow
def test_a_folder_into_which_another_home_writes(own: Home, tmp_path: Path, database_url: str) -> None:
    """The index is caught up before each question; rows of what came from elsewhere are missing, and that is said."""
    with homes.empty_home(tmp_path / "theirs", database_url, "gaps") as theirs, theirs.create("my pool") as writer:
        writer.save(raw("first"))
        link = own.path / "pools" / "my pool"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(theirs.path / "pools" / "my pool")
        with pytest.warns(IncompleteAnswer, match="1 version has"):
            assert ask(own, "SELECT count(*) FROM product") == [(1,)]
        call("index", "pixels", "my pool")
        assert ask(own, COUNT) == [(12,)]
        late = writer.save(raw("second"))
        with pytest.warns(IncompleteAnswer, match="1 version has"):
            assert ask(own, "SELECT count(*) FROM product") == [(2,)]
        assert [urn for urn, _, _ in missing(own)] == [late.urn]
        done = call("sql", "my pool", COUNT)
        assert (done.stdout.split(), "index pixels" in done.stderr) == (["count", "12"], True)
        call("index", "pixels", "my pool")
        assert ask(own, COUNT) == [(24,)]
        with own.pool("my pool") as pool:
            core_of(pool).catalog.drop()
        link.unlink()


@pytest.mark.slow
def test_versions_of_a_pair(own: Home, pool: Pool) -> None:
    core_of(pool).pixel_rows.make_pending([pool.ref("Raw/left out").serial])
    ramp = Ramp(PLACE, {"SCI": np.ones((1, 2, 3, 4), "f4")}, name="whole")
    pool.save(ramp)
    pool.save(rates("whole"), pixels=False)
    with pytest.warns(IncompleteAnswer, match=r"1 version has.*correctedramps"):
        assert ask(own, "SELECT count(*), count(slope_value) FROM correctedramps") == [(12, 0)]
    assert re.fullmatch(r"urn:my pool:RateInts:\d+", missing(own)[0][0])


@pytest.mark.slow
def test_verify_says_it(own: Home, pool: Pool) -> None:
    done = call("--home", own.path, "verify", "my pool")
    assert "whole" in done.stderr
    assert "without pixel rows in the index: 1" in done.stderr
    assert json.loads(call("--home", own.path, "verify", "my pool", "--json").stdout)["without_pixel_rows"] == 1
    core_of(pool).pixel_rows.make_pending([ref.serial for ref in pool.select(Raw)])
    assert "without pixel rows" not in call("--home", own.path, "verify", "my pool").stderr


@pytest.mark.slow
def test_pending_rows_of_none_say_why(own: Home, pool: Pool) -> None:
    pool.save(Rate({}, {"SCI": np.ones((3, 4), "f4")}, name="nowhere"))
    assert call("--home", own.path, "index", "pixels", "my pool", "--all-versions").exit_code == 0
    done = call("--home", own.path, "index", "pixels", "my pool")
    assert "pixel rows of 0 versions made" in done.stderr
    assert "1 version has none (1: the header names no place on the detector)" in done.stderr
    assert "--all-versions" not in done.stderr


@pytest.mark.slow
def test_a_kind_that_the_pool_lacks(own: Home, pool: Pool) -> None:
    done = call("--home", own.path, "pixel", "my pool", "100", "5", "--kind", "Ramp")
    assert "nothing found: no Ramp in pool my pool" in done.stderr
    done = call("--home", own.path, "pixel", "my pool", "100", "5", "--kind", "Raw", "--where", "NGROUPS > 1000")
    assert "nothing found: no Raw in pool my pool satisfies all conditions" in done.stderr
