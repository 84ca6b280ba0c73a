"""What commands work on: names, their beginnings, wildcards and options; and what they say before and after."""

from __future__ import annotations

import json
import re
import shlex
import socket
from pathlib import Path

import homes
import numpy as np
import pytest
from homes import call

from miripool import Home, Pool, Product, RateInts
from miripool.errors import (
    AlreadyExists,
    AmbiguousSpec,
    Conflict,
    InvalidInput,
    InvalidName,
    ProductNotFound,
    QueryError,
)
from miripool.pool.core import core_of
from miripool.store.journal import acting_as, user_name

home = homes.home

ME = f"{user_name()}@{socket.gethostname()}"
PLACE = {"SUBSTRT1": 5, "SUBSTRT2": 100, "SUBSIZE1": 8, "SUBSIZE2": 6, "DETECTOR": "MIRIMAGE"}
A, B, C = "jw01033001_a", "jw01033002_a", "jw02000001_a"


@pytest.fixture
def campaign(pool: Pool, tmp_path: Path) -> Pool:
    """Rates of A, B and C in two versions, RateInts of A; of the first versions those of A and B are tagged."""
    for number, label in enumerate(("v1", "v2")):
        for name in (A, B, C):
            path = homes.write_image(tmp_path / f"{name}_rate.fits", {"CAL_VER": label, "NGROUPS": 10}, [[number]])
            pool.save(path, name=name, kind="Rate", tag="using cal v1" if number == 0 and name != C else None)
    pool.save(RateInts(PLACE | {"NGROUPS": 20}, {"SCI": np.ones((2, 6, 8), "f4")}, name=A))
    return pool


def listed(*arguments: str) -> list[tuple[str, str, int]]:
    rows = json.loads(call("ls", "jpl8", *arguments, "--json").stdout)
    return sorted((row["kind"], row["name"], row["version"]) for row in rows)


def tags(pool: Pool) -> dict[str, list[str]]:
    core_of(pool).catch_up()
    return {f"{r.kind}/{r.name}@{r.version}": list(r.tags) for r in pool.select(all_versions=True) if r.tags}


# Who is chosen


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([f"Rate/{A}"], [("Rate", A, 1)]),
        (["Rate/jw01033*"], [("Rate", A, 1), ("Rate", B, 1)]),
        (["jw01033*"], [("Rate", A, 1), ("Rate", B, 1), ("RateInts", A, 0)]),
        (["rate*/jw01033001?a"], [("Rate", A, 1), ("RateInts", A, 0)]),
        (["Rate/*@using cal v1"], [("Rate", A, 0), ("Rate", B, 0)]),
        (["Rate/*@0"], [("Rate", A, 0), ("Rate", B, 0), ("Rate", C, 0)]),
        (["Rate/jw01033*", "--tag", "using cal v1"], [("Rate", A, 0), ("Rate", B, 0)]),
        (["Rate/jw0103300[12]*"], None),
        ([f"Rate/{A}", "--all-versions"], [("Rate", A, 0), ("Rate", A, 1)]),
        ([f"Rate/{A}", "--tag", "using cal v1"], [("Rate", A, 0)]),
        ([f"Rate/{A}@1", "--tag", "using cal v1"], []),
        (["Rate/jw02"], [("Rate", C, 1)]),
        (["Rate/jw02@0"], [("Rate", C, 0)]),
        (["*", "--where", "ngroups == 20"], [("RateInts", A, 0)]),
        (["Rate/jw01033*", "--all-versions"], [("Rate", A, 0), ("Rate", A, 1), ("Rate", B, 0), ("Rate", B, 1)]),
    ],
)
def test_what_ls_takes(campaign: Pool, arguments: list[str], expected: list[tuple[str, str, int]] | None) -> None:
    if expected is None:
        with pytest.raises(ProductNotFound):
            call("ls", "jpl8", *arguments)
        return
    assert listed(*arguments) == expected


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Product", "product"])
def test_a_kind_named_by_an_option_is_that_kind_alone(campaign: Pool, tmp_path: Path, kind: str) -> None:
    dark = homes.write_image(tmp_path / "dark.fits", {"CAL_VER": "v1"}, [[7]])
    campaign.save(dark, name="dark", kind="Product")
    alone = [("Product", "dark", 0)]
    assert listed("--kind", kind) == listed("*", "--kind", kind) == listed("Product/*") == alone
    assert listed("--where", "kind == 'Product'") == alone
    done = call("rm", "jpl8", "*", "--kind", kind, "--dry-run").stderr
    assert [line.split()[-1] for line in done.splitlines()] == ["Product/dark@0"]
    assert "newly marks 1 of 1 version" in call("tag", "jpl8", "flat", "--kind", kind).stderr
    assert json.loads(call("show", "jpl8", "--kind", kind, "--json").stdout)[0]["name"] == "dark"
    # In Python subclasses match, as in HIPE.
    assert {ref.kind for ref in campaign.select(Product)} == {"Product", "Rate", "RateInts"}


@pytest.mark.slow
def test_a_kind_named_by_an_option_is_that_kind_alone_in_the_trash(campaign: Pool, tmp_path: Path) -> None:
    dark = homes.write_image(tmp_path / "dark.fits", {"CAL_VER": "v1"}, [[7]])
    campaign.save(dark, name="dark", kind="Product")
    call("rm", "jpl8", "Product/dark", f"Rate/{A}")
    alone = [("Product", "dark", 0)]
    assert listed("--trash", "--kind", "Product") == listed("--trash", "*", "--kind", "Product") == alone
    assert listed("--trash", "--kind", "Product", "--limit", "1") == alone
    assert "restored 1 of 1 version" in call("restore", "jpl8", "--kind", "Product").stderr
    assert listed("--trash") == [("Rate", A, 1)]


def test_a_beginning_must_be_clear(campaign: Pool) -> None:
    with pytest.raises(AmbiguousSpec, match=rf"'Rate/jw01' is ambiguous: Rate/{A}, Rate/{B} begin with it"):
        call("show", "jpl8", "Rate/jw01")
    with pytest.raises(ProductNotFound, match="no Rate 'jw9'"):
        call("show", "jpl8", "Rate/jw9")


def test_an_exact_name_wins(pool: Pool, tmp_path: Path) -> None:
    for name in ("a", "ab", "a*", "50%_a"):
        pool.save(homes.write_image(tmp_path / "x.fits", {"TARGNAME": name}), name=name, kind="Rate")
    assert json.loads(call("show", "jpl8", "a", "--json").stdout)["name"] == "a"
    assert json.loads(call("show", "jpl8", "a*", "--json").stdout)["name"] == "a*"
    assert listed("50%*") == [("Rate", "50%_a", 0)]
    assert listed("5?%_a") == [("Rate", "50%_a", 0)]


@pytest.mark.parametrize("verb", ["rm", "untag", "restore"])
def test_what_takes_away_wants_whole_names(campaign: Pool, verb: str) -> None:
    arguments = ["untag", "jpl8", "using cal v1"] if verb == "untag" else [verb, "jpl8"]
    before = listed("--all-versions"), tags(campaign)
    with pytest.raises(ProductNotFound, match="no Rate 'jw02'"):
        call(*arguments, "Rate/jw02")
    assert (listed("--all-versions"), tags(campaign)) == before


@pytest.mark.parametrize("verb", ["rm", "show", "tag", "reprocess", "restore", "diff"])
def test_nothing_is_chosen_by_saying_nothing(campaign: Pool, verb: str) -> None:
    with pytest.raises(InvalidInput, match="say which versions"):
        call(verb, "jpl8", *(["x"] if verb == "tag" else []))


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ("p.dta.max() > 1", r"no product of pool jpl8 has a dataset DTA; did you mean p.data"),
        ("p['NIX'].max() > 1", "no product of pool jpl8 has a dataset NIX; there are SCI$"),
        ("ANY(p['SCJ'][0, 0] > 1)", r"no product of pool jpl8 has a dataset SCJ; did you mean SCI"),
        (
            "ngroups == 10 and p.groupqd.shape[0] > 1",
            r"no product of pool jpl8 has a dataset GROUPQD; did you mean GROUPDQ",
        ),
    ],
)
def test_a_misspelt_dataset(campaign: Pool, condition: str, hint: str) -> None:
    with pytest.raises(QueryError, match=hint):
        call("ls", "jpl8", "--where", condition)
    with pytest.raises(QueryError, match=hint):
        campaign.select(condition)


def test_a_dataset_that_may_be_missing(campaign: Pool) -> None:
    for condition in ("p.groupdq.max() > 1", "p['err'].max() > 1", "'NIX' in p"):
        assert campaign.select(condition).size() == 0
    assert campaign.select("p['sci'].max() >= 1").size() == 4


@pytest.mark.parametrize("text", ["29.11.2026", "2026-11-29T10:00:00 CET"])
def test_a_time_that_can_not_be_read(campaign: Pool, text: str) -> None:
    told = f"p.created is a time, and {text!r} can't be read as one; write p.created > '2018-03-08'"
    with pytest.raises(QueryError, match=re.escape(told)):
        call("ls", "jpl8", "--where", f"created > '{text}'")
    assert listed("--where", "created > '2018-03-08T01:02:30+01:00'", "--kind", "RateInts") == [("RateInts", A, 0)]


@pytest.mark.slow
def test_arguments_that_can_not_be_meant(campaign: Pool, tmp_path: Path) -> None:
    for statement in ("", " \n"):
        with pytest.raises(InvalidInput, match="the statement is empty; write one such as 'SELECT"):
            call("sql", "jpl8", statement)
    done = call("pixels", "jpl8", "--limit", "99999999999999999999")
    assert done.exit_code == 2
    assert "Invalid value for '--limit'" in done.stderr
    assert call("pixels", "jpl8", "--limit", 2**63 - 1, "--json").exit_code == 0
    make = ("simulate", tmp_path / "made", "--nints", "1", "--ngroups", "2")
    call(*make)
    with pytest.raises(AlreadyExists, match="--overwrite"):
        call(*make)


# What commands do with a selection


def test_tagging_a_selection(campaign: Pool) -> None:
    done = call("tag", "jpl8", "good", "Rate/*", "--where", "cal_ver == 'v2'")
    assert "tagging 3 versions" in done.stderr
    assert "'good' newly marks 3 of 3 versions" in done.stderr
    assert [name for name, labels in tags(campaign).items() if "good" in labels] == [
        f"Rate/{name}@1" for name in (A, B, C)
    ]
    assert "removing the tag from 2 versions" in call("untag", "jpl8", "good", "Rate/jw01033*").stderr
    assert [name for name, labels in tags(campaign).items() if "good" in labels] == [f"Rate/{C}@1"]


def test_untag_chooses_among_what_is_marked(campaign: Pool) -> None:
    call("untag", "jpl8", "using cal v1", "Rate/*")  # the marked versions are not the newest
    assert tags(campaign) == {}


def test_an_empty_selection_is_not_tagged(campaign: Pool) -> None:
    before = tags(campaign)
    done = call("tag", "jpl8", "good", "--where", "cal_ver == 'v9'")
    assert done.stderr == "no version in pool jpl8 satisfies all conditions\n"
    with pytest.raises(InvalidName, match="'a/b'"):  # before anything is selected
        call("tag", "jpl8", "a/b", "--where", "cal_ver == 'v9'")
    assert tags(campaign) == before


def test_adding_two_calibrations_says_that_the_tag_moves(pool: Pool, tmp_path: Path) -> None:
    for number in (1, 2):
        homes.write_image(tmp_path / str(number) / "a.fits", {"CAL_VER": f"v{number}"}, [[number, 2]])
    done = call("add", "jpl8", tmp_path / "1", tmp_path / "2", "--tag", "first look")
    assert "Product/a: 'first look' moved from version 0 to 1" in done.stderr
    again = call("add", "jpl8", tmp_path / "2", "--tag", "first look")
    assert "moved" not in again.stderr


def test_a_moved_tag_is_told_and_can_be_taken_back(campaign: Pool) -> None:
    before = tags(campaign)
    done = call("tag", "jpl8", "using cal v1", "Rate/*")
    assert f"Rate/{A}: 'using cal v1' moved from version 0 to 1" in done.stderr
    assert f"Rate/{C}" not in done.stderr
    assert tags(campaign) != before
    back = [line.partition(": ")[2] for line in done.stderr.splitlines() if line.startswith("to undo this: ")]
    assert len(back) == 2
    for line in back:
        call(*shlex.split(line)[1:])
    assert tags(campaign) == before


@pytest.mark.slow
def test_an_untag_can_be_taken_back(campaign: Pool) -> None:
    before = tags(campaign)
    (line,) = (
        line.partition(": ")[2]
        for line in call("untag", "jpl8", "using cal v1").stderr.splitlines()
        if line.startswith("to undo this: ")
    )
    assert tags(campaign) == {}
    call(*shlex.split(line)[1:])
    assert tags(campaign) == before


def test_a_new_tag_can_be_taken_back_from_the_first_version_of_all(campaign: Pool) -> None:
    done = call("tag", "jpl8", "fresh", f"Rate/{A}@0", f"Rate/{B}@0")
    assert f"untag jpl8 fresh urn:jpl8:Rate:0 {campaign.ref(f'Rate/{B}@0').urn}" in done.stderr


def test_keep_refuses_to_move(campaign: Pool) -> None:
    before = tags(campaign)
    with pytest.raises(Conflict, match=rf"'using cal v1' already marks Rate/{A}@0 and was not moved"):
        call("tag", "jpl8", "using cal v1", "--keep", f"Rate/{A}", f"Rate/{C}")
    with pytest.raises(Conflict, match="was not moved"):
        campaign.tag(f"Rate/{A}", "using cal v1", keep=True)
    assert tags(campaign) == before
    call("tag", "jpl8", "using cal v1", "--keep", f"Rate/{A}@0", f"Rate/{C}")
    assert tags(campaign) == {**before, f"Rate/{C}@1": ["using cal v1"]}


@pytest.mark.slow
def test_rm_of_a_selection_asks(campaign: Pool) -> None:
    before = listed("--all-versions")
    with pytest.raises(InvalidInput, match="2 versions of 2 products will be put into the trash"):
        call("rm", "jpl8", "Rate/jw01033*")
    assert listed("--all-versions") == before
    shown = call("rm", "jpl8", "Rate/jw01033*", "--dry-run").stderr
    assert shown.count("would remove") == 2
    assert listed("--all-versions") == before
    assert "2 versions went into the trash" in call("rm", "jpl8", "Rate/jw01033*", "--yes").stderr
    assert listed("Rate/jw01033*") == [("Rate", A, 0), ("Rate", B, 0)]
    assert listed("--trash", "Rate/*2_a") == [("Rate", B, 1)]
    assert "restored 2 of 2 versions" in call("restore", "jpl8", "Rate/jw01033*").stderr
    assert listed("--all-versions") == before
    call("rm", "jpl8", f"Rate/{A}@0")  # named one by one, nothing is asked
    assert "restored 1 of 1 version" in call("restore", "jpl8", "--kind", "Rate").stderr


def test_exporting_a_selection(campaign: Pool, tmp_path: Path) -> None:
    folder = tmp_path / "out put"
    with pytest.raises(InvalidInput, match=r"there is no folder .*out put for 4 versions; create it first"):
        call("export", "jpl8", "Rate/jw01033*", "--all-versions", folder)
    folder.mkdir()
    done = call("export", "jpl8", "Rate/jw01033*", "--all-versions", folder)
    files = sorted(path.name for path in folder.iterdir())
    assert files == sorted(f"{name}_rate-v{version}.fits" for name in (A, B) for version in (0, 1))
    assert all(f"wrote {folder / file}" in done.stderr for file in files)
    for name in (A, B):
        for version in (0, 1):
            single = campaign.export(f"Rate/{name}@{version}", tmp_path / "single.fits", overwrite=True)
            assert (folder / f"{name}_rate-v{version}.fits").read_bytes() == single.read_bytes()
    (folder / files[0]).unlink()
    with pytest.raises(AlreadyExists, match="nothing was written"):
        call("export", "jpl8", "Rate/jw01033*", "--all-versions", folder)
    assert not (folder / files[0]).exists()
    call("export", "jpl8", "Rate/jw01033*", "--all-versions", "--overwrite", folder)
    assert sorted(path.name for path in folder.iterdir()) == files


def test_showing_several(campaign: Pool) -> None:
    shown = json.loads(call("show", "jpl8", "--tag", "using cal v1", "--json").stdout)
    assert [(row["name"], row["version"], row["saved_by"]) for row in shown] == [(A, 0, ME), (B, 0, ME)]
    text = call("show", "jpl8", "Rate/jw01033*").stdout
    assert text.count("stored_bytes") == 2
    assert json.loads(call("show", "jpl8", "--where", "ngroups == 99", "--json").stdout) == []


@pytest.mark.slow
def test_comparing_several(campaign: Pool) -> None:
    pairs = json.loads(call("diff", "jpl8", "Rate/jw01033*", "--json").stdout)
    named = [tuple(campaign.ref(pair[side]).version for side in ("old", "new")) for pair in pairs]
    assert named == [(0, 1), (0, 1)]
    same = json.loads(call("diff", "jpl8", "Rate/jw01033*@using cal v1", "Rate/jw01033*@1", "--json").stdout)
    assert same == pairs
    alone = call("diff", "jpl8", "Rate/*@using cal v1", "Rate/*@1")
    assert f"Rate/{C}@1 has no other version in 'Rate/*@using cal v1'" in alone.stderr
    assert "RateInts" not in alone.stdout
    with pytest.raises(AmbiguousSpec, match="several versions of one product"):
        call("diff", "jpl8", "Rate/*", "Rate/*@0", "--all-versions")
    assert "is the first version" in call("diff", "jpl8", "*", "--kind", "RateInts").stderr


def test_copying_and_packing_a_selection(campaign: Pool, home: Home, tmp_path: Path) -> None:
    with home.create("other"):
        assert "copying 2 versions" in call("copy", "jpl8", "Rate/jw01033*", "other").stderr
        rows = json.loads(call("ls", "other", "--json").stdout)
        assert sorted((row["kind"], row["name"]) for row in rows) == [("Rate", A), ("Rate", B)]
    packed = call("pack", "jpl8", tmp_path / "p.tar", "--where", "ngroups == 20")
    assert "1 version," in packed.stderr


def test_pixel_rows_of_a_selection(campaign: Pool) -> None:
    assert "1 set of pixel rows dropped" in call("index", "drop", "jpl8", "--kind", "RateInts").stderr
    made = call("index", "pixels", "jpl8", "RateInts/*").stderr
    assert "pixel rows of 1 version made, 0 failed" in made


# Who did it


def test_who_did_what(campaign: Pool) -> None:
    call("rm", "jpl8", f"Rate/{B}@1")
    text = call("log", "jpl8", f"Rate/{B}").stdout
    assert text.count(f"UTC by {ME}") == 3  # two versions saved, one removed
    assert f"tag 'using cal v1' marks version 0 by {ME}" in text
    told = json.loads(call("log", "jpl8", f"Rate/{B}", "--json").stdout)
    assert [version["saved_by"] for version in told["versions"]] == [ME, ME]
    assert [version["removed_by"] for version in told["versions"]] == [None, ME]
    assert [tag["by"] for tag in told["tags"]] == [ME]
    call("restore", "jpl8", f"Rate/{B}")
    again = json.loads(call("log", "jpl8", f"Rate/{B}", "--json").stdout)
    assert [version["removed_by"] for version in again["versions"]] == [None, None]
    assert {row["saved_by"] for row in json.loads(call("ls", "jpl8", "--columns", "saved_by", "--json").stdout)} == {ME}


@pytest.mark.slow
def test_log_tells_what_went_into_the_trash_and_came_back(campaign: Pool) -> None:
    before = json.loads(call("log", "jpl8", f"Rate/{B}", "--json").stdout)
    call("rm", "jpl8", f"Rate/{B}@1")
    call("restore", "jpl8", f"Rate/{B}@1")
    lines = call("log", "jpl8", f"Rate/{B}").stdout.splitlines()
    assert f"version 1 was put into the trash by {ME}" in lines[-2]
    assert f"version 1 came back from the trash by {ME}" in lines[-1]
    call("rm", "jpl8", f"Rate/{B}@1")
    call("gc", "jpl8", "--grace", "0")
    told = json.loads(call("log", "jpl8", f"Rate/{B}", "--json").stdout)
    moves = [(event["what"], event["version"], event["by"]) for event in told["trash"]]
    assert moves == [("removed", 1, ME), ("restored", 1, ME), ("removed", 1, ME), ("purged", 1, ME)]
    assert told["versions"][0] == before["versions"][0]
    last = told["trash"][-1]["time"]
    later = json.loads(call("log", "jpl8", f"Rate/{B}", "--since", last, "--json").stdout)
    assert [event["what"] for event in later["trash"]] == ["purged"]
    assert [version["version"] for version in later["versions"]] == [1]
    assert json.loads(call("log", "jpl8", f"Rate/{A}", "--json").stdout)["trash"] == []


@pytest.mark.slow
def test_log_of_a_whole_pool(campaign: Pool) -> None:
    call("tag", "jpl8", "good", "Rate/*")
    call("untag", "jpl8", "good", f"Rate/{A}")
    call("rm", "jpl8", f"Rate/{B}@1")
    call("restore", "jpl8", f"Rate/{B}@1")
    lines = call("log", "jpl8").stdout.splitlines()
    assert [line.split("UTC  ")[1] for line in lines[-4:]] == [
        f"tagged 'good' Rate/{A}@1, Rate/{B}@1, Rate/{C}@1 by {ME}",
        f"untagged 'good' Rate/{A}@1 by {ME}",
        f"removed Rate/{B}@1 by {ME}",
        f"restored Rate/{B}@1 by {ME}",
    ]
    told = json.loads(call("log", "jpl8", "--json").stdout)
    assert [event["what"] for event in told].count("saved") == 7
    assert told[0] == told[0] | {"entry": 0, "what": "saved", "tag": None, "versions": [f"Rate/{A}@0"], "by": ME}
    assert json.loads(call("log", "jpl8", "--limit", "2", "--json").stdout) == told[-2:]
    assert json.loads(call("log", "jpl8", "--since", told[-3]["time"], "--json").stdout) == told[-3:]
    assert "nothing since 2999-01-01 00:00:00 UTC" in call("log", "jpl8", "--since", "2999-01-01").stderr
    assert call("log", "jpl8", "--limit", "0").stdout == ""
    with pytest.raises(InvalidInput, match="--limit applies to the log of a whole pool only"):
        call("log", "jpl8", f"Rate/{A}", "--limit", "1")


@pytest.mark.slow
def test_log_of_one_user(campaign: Pool) -> None:
    with acting_as("Anna B"):
        call("tag", "jpl8", "good", "Rate/*")
        call("rm", "jpl8", f"Rate/{B}@1")
    host = ME.rpartition("@")[2]
    both = [f"tagged 'good' Rate/{A}@1, Rate/{B}@1, Rate/{C}@1", f"removed Rate/{B}@1"]
    for name in ("Anna B", f"Anna B@{host}"):
        lines = call("log", "jpl8", "--by", name).stdout.splitlines()
        assert [line.split("UTC  ")[1] for line in lines] == [f"{line} by 'Anna B'@{host}" for line in both]
    assert "removed" in call("log", "jpl8", "--by", "Anna B", "--limit", "1").stdout
    for name in ("Anna", "anna b", "Anna B@"):
        done = call("log", "jpl8", "--by", name, "--since", "2020-01-01")
        assert (done.stdout, done.stderr) == ("", f"nothing by {name!r} since 2020-01-01 00:00:00 UTC\n")
    assert json.loads(call("log", "jpl8", "--by", ME, "--json").stdout) == [
        event for event in json.loads(call("log", "jpl8", "--json").stdout) if event["by"] == ME
    ]
    told = json.loads(call("log", "jpl8", f"Rate/{B}", "--by", "Anna B", "--json").stdout)
    assert [version["version"] for version in told["versions"]] == [1]  # which went into the trash
    assert [event["by"] for event in (*told["tags"], *told["trash"])] == [f"Anna B@{host}"] * 2
    assert "nothing by 'zoë'" in call("log", "jpl8", f"Rate/{B}", "--by", "zoë").stderr


@pytest.mark.parametrize("command", ["log", "ls", "pixels"])
def test_limits_have_no_range_in_the_help(command: str) -> None:
    text = call(command, "--help").stdout
    assert "--limit N" in text
    assert "<=" not in text[text.index("--limit N") :].split("--json")[0]


def test_log_without_a_whole_journal_tells_the_rest(campaign: Pool) -> None:
    journal = core_of(campaign).archive.journal
    path = campaign.path / journal.key(core_of(campaign).catch_up().n - 1)
    path.write_bytes(b"{}")
    done = call("log", "jpl8", f"Rate/{A}")
    assert "earlier moves into and out of the trash are not listed" in done.stderr
    assert "version 1 " in done.stdout


@pytest.mark.slow
def test_log_since(campaign: Pool) -> None:
    whole = json.loads(call("log", "jpl8", f"Rate/{A}", "--json").stdout)
    for since in ("1h", "2 days", "1w", "30m", "2026-01-01", whole["versions"][0]["created"]):
        found = json.loads(call("log", "jpl8", f"Rate/{A}", "--since", since, "--json").stdout)
        assert (len(found["versions"]), len(found["tags"])) == (2, 1), since
    (event,) = whole["tags"]
    later = json.loads(call("log", "jpl8", f"Rate/{A}", "--since", whole["versions"][1]["created"], "--json").stdout)
    assert [version["version"] for version in later["versions"]] == [1]
    assert event["time"] < whole["versions"][1]["created"]
    assert later["tags"] == []
    done = call("log", "jpl8", f"Rate/{A}", "--since", "2999-01-01")
    assert "nothing since 2999-01-01 00:00:00 UTC" in done.stderr
    for wrong in ("yesterday", "1 fortnight", "-1d", "99999999999w", ""):
        with pytest.raises(InvalidInput, match="is not a time"):
            call("log", "jpl8", f"Rate/{A}", "--since", wrong)


def test_a_selection_of_nothing_is_told(campaign: Pool) -> None:
    for words in (
        ("rm", "jpl8", "--kind", "Product", "*", "--dry-run"),
        ("tag", "jpl8", "x", "--where", "ngroups > 999"),
    ):
        assert "no version in pool jpl8 satisfies all conditions" in call(*words).stderr
