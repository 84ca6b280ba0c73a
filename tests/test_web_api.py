"""The HTTP API: the same answers as the command line, and one clear error for whatever is wrong."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner
from web import Served

from miripool import Home
from miripool.cli.app import app

PRODUCTS = "api/pools/jpl8/products"


def run(home: Home, *arguments: str) -> object:
    done = CliRunner().invoke(app, ["--home", str(home.path), *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def serial(shown: Served, kind: str, **asked: object) -> int:
    (row, *_) = shown.get(PRODUCTS, kind=kind, order="name", where="name like 'jw*'", **asked)["rows"]
    return int(row["urn"].rpartition(":")[2])


def array(shown: Served, path: str, **parameters: object) -> np.ndarray:
    answer = shown.ask(path, **parameters)
    assert answer.status == 200, answer.body
    shape = tuple(map(int, answer.headers["x-shape"].split(",")))
    return np.frombuffer(answer.body, np.dtype(answer.headers["x-dtype"]).newbyteorder("<")).reshape(shape)


# The same as on the command line


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        ({}, ()),
        ({"kind": "RateInts", "all_versions": "true"}, ("--kind", "RateInts", "--all-versions")),
        ({"tag": "using cal v1"}, ("--tag", "using cal v1")),
        ({"where": "ngroups >= 5 and name like 'jw*'"}, ("--where", "ngroups >= 5 and name like 'jw*'")),
        ({"columns": "NGROUPS,crds_ctx"}, ("--columns", "NGROUPS,crds_ctx")),
        ({"order": "name", "limit": 3}, ("--sort", "name", "--limit", "3")),
        ({"where": "ngroups > 1000"}, ("--where", "ngroups > 1000")),
        (
            {"where": "kind == 'RateInts' and p.data.max() > 10"},
            ("--where", "kind == 'RateInts' and p.data.max() > 10"),
        ),
    ],
)
def test_lists(shown: Served, shown_home: Home, asked: dict[str, object], options: tuple[str, ...]) -> None:
    found = shown.get(PRODUCTS, **asked)
    assert found["rows"] == run(shown_home, "ls", "jpl8", *options)
    assert found["exact"]
    if "limit" not in asked:
        assert found["total"] == len(found["rows"])
    assert (found["reason"] is None) == bool(found["rows"])


def test_the_lines_that_give_the_same(shown: Served, shown_home: Home) -> None:
    asked = {"where": "ngroups >= 5 and name like 'jw*'", "kind": "Ramp", "tag": "using cal v1", "order": "name"}
    found = shown.get(PRODUCTS, **asked)
    with shown_home.pool("jpl8") as pool:

        class PoolManager:
            @staticmethod
            def getPool(name: str) -> object:
                assert name == "jpl8"
                return pool

        refs = eval(found["python"], {"PoolManager": PoolManager})
        assert [ref.urn for ref in refs] == [row["urn"] for row in found["rows"]]
    import shlex

    words = shlex.split(found["command"])
    assert words[:3] == ["miripool", "ls", "jpl8"]
    assert [row["urn"] for row in run(shown_home, *words[1:])] == [row["urn"] for row in found["rows"]]


def test_pages(shown: Served) -> None:
    whole = shown.get(PRODUCTS, order="name,kind", limit=1000)["rows"]
    parts = [
        row
        for offset in range(0, len(whole) + 3, 3)
        for row in shown.get(PRODUCTS, order="name,kind", limit=3, offset=offset)["rows"]
    ]
    assert parts == whole
    assert shown.get(PRODUCTS, offset=10**9)["rows"] == []
    assert shown.get(PRODUCTS, limit=0)["rows"] == []


def test_versions(shown: Served, shown_home: Home) -> None:
    number = serial(shown, "RateInts")
    urn = f"urn:jpl8:RateInts:{number}"
    path = f"{PRODUCTS}/{number}"
    assert shown.get(path) == run(shown_home, "show", "jpl8", urn)
    assert shown.get(f"{path}/lineage") == run(shown_home, "lineage", "jpl8", urn)
    assert shown.get(f"{path}/uses") == run(shown_home, "uses", "jpl8", urn)
    told = shown.get(f"{path}/track")
    assert {key: told[key] for key in ("kind", "name", "versions", "tags", "trash")} == run(
        shown_home, "log", "jpl8", urn
    )
    assert [one["version"] for one in shown.get(f"{path}/versions")] == [0, 1]


def test_pools_tags_and_monitors(shown: Served, shown_home: Home) -> None:
    here = run(shown_home, "pools")
    assert [pool["name"] for pool in shown.get("api/pools")] == [pool["name"] for pool in here]  # type: ignore[attr-defined]
    assert shown.get("api/pools/jpl8/tags") == run(shown_home, "tags", "jpl8")
    assert shown.get("api/pools/jpl8/monitors") == run(shown_home, "monitor", "list", "jpl8")
    path = "api/pools/jpl8/monitors/darks"
    assert shown.get(f"{path}/trends") == run(shown_home, "monitor", "trends", "jpl8", "darks")
    assert shown.get(f"{path}/population") == run(shown_home, "monitor", "population", "jpl8", "darks")
    states = shown.get(f"{path}/states", limit=2000)
    listed = run(shown_home, "monitor", "states", "jpl8", "darks")
    assert states["total"] == len(listed)  # type: ignore[arg-type]
    assert sorted(map(str, states["rows"])) == sorted(map(str, listed))  # type: ignore[call-overload]


def test_pixels(shown: Served, shown_home: Home) -> None:
    asked = {"x": 41, "y": 809, "where": "name like 'jw*'"}
    command = ("pixel", "jpl8", "41", "809", "--where", "name like 'jw*'")
    assert shown.get("api/pools/jpl8/pixel", **asked) == run(shown_home, *command)
    everything = shown.get("api/pools/jpl8/pixel", **asked, kind="Ramp", all_versions="true", dq_names="true")
    assert everything == run(shown_home, *command, "--kind", "Ramp", "--all-versions", "--dq-names")
    life = shown.get("api/pools/jpl8/life", x=41, y=809)
    assert life["exposures"] == run(shown_home, "pixel", "jpl8", "41", "809", "--life")
    found = shown.get("api/pools/jpl8/pixels", kind="RateInts", condition="rate > 20", limit=5)
    options = ("--kind", "RateInts", "--where", "rate > 20", "--limit", "5", "--dq-names")
    assert found["rows"] == run(shown_home, "pixels", "jpl8", *options)
    assert found["more"]


# Pictures


@pytest.mark.parametrize(("kind", "index"), [("Raw", (1, 3)), ("Ramp", (2, 7)), ("RateInts", (1,)), ("Rate", ())])
def test_frames(shown: Served, shown_home: Home, kind: str, index: tuple[int, ...]) -> None:
    number = serial(shown, kind)
    text = ",".join(map(str, index))
    with shown_home.pool("jpl8") as pool:
        product = pool.ref(f"urn:jpl8:{kind}:{number}").product
        expected = np.asarray(product["SCI"][index], np.float32)
        np.testing.assert_array_equal(array(shown, f"{PRODUCTS}/{number}/frame", index=text), expected)
        if index:
            other = np.asarray(product["SCI"][(*index[:-1], 0)], np.float32)
            minus = ",".join(map(str, (*index[:-1], 0)))
            difference = array(shown, f"{PRODUCTS}/{number}/frame", index=text, minus=minus)
            np.testing.assert_array_equal(difference, expected - other)


def test_flags_come_as_they_are(shown: Served, shown_home: Home) -> None:
    number = serial(shown, "Ramp")
    flags = array(shown, f"{PRODUCTS}/{number}/frame", dataset="PIXELDQ")
    assert flags.dtype == np.uint32
    with shown_home.pool("jpl8") as pool:
        np.testing.assert_array_equal(flags, pool.ref(f"urn:jpl8:Ramp:{number}").product["PIXELDQ"][...])


def test_two_calibrations(shown: Served, shown_home: Home) -> None:
    new, old = (serial(shown, "RateInts", tag=f"using cal {v}") for v in ("v2", "v1"))
    found = array(shown, f"{PRODUCTS}/{new}/frame", index="0", other=old)
    with shown_home.pool("jpl8") as pool:
        one, two = (np.asarray(pool.ref(f"urn:jpl8:RateInts:{n}").product["SCI"][0]) for n in (new, old))
    np.testing.assert_array_equal(found, one - two)
    assert np.nanmax(np.abs(found)) > 0


def test_what_there_is_to_see(shown: Served) -> None:
    view = shown.get(f"{PRODUCTS}/{serial(shown, 'Ramp')}/view")
    expected = {"x": 1, "y": 779, "columns": 72, "rows": 64, "detector_columns": 1032, "detector_rows": 1024}
    assert expected.items() <= view["place"].items()
    datasets = {one["name"]: one for one in view["datasets"]}
    assert datasets["SCI"]["axes"] == ["integration", "group", "y", "x"]
    assert datasets["GROUPDQ"]["flags"]
    assert not datasets["INT_TIMES"]["image"]
    assert view["flags_of"]["SCI"] == ["GROUPDQ", "PIXELDQ"] or set(view["flags_of"]["SCI"]) == {"GROUPDQ", "PIXELDQ"}
    assert [one["version"] for one in view["versions"]] == [0, 1]


def test_neighbours(shown: Served) -> None:
    rows = shown.get(PRODUCTS, kind="RateInts", where="name like 'dark*'", order="start_time")["rows"]
    serials = [int(row["urn"].rpartition(":")[2]) for row in rows]
    middle, last = (shown.get(f"{PRODUCTS}/{serials[i]}/view") for i in (5, -1))
    assert (middle["previous"], middle["next"], last["next"]) == (serials[4], serials[6], None)


def test_thumbnail_and_histogram(shown: Served) -> None:
    number = serial(shown, "RateInts")
    assert max(array(shown, f"{PRODUCTS}/{number}/thumbnail").shape) <= 40
    told = shown.get(f"{PRODUCTS}/{number}/histogram", index="0")
    frame = array(shown, f"{PRODUCTS}/{number}/frame", index="0")
    assert sum(told["counts"]) == np.isfinite(frame).sum()
    assert told["nan"] == np.isnan(frame).sum()


def test_a_frame_is_asked_for_again(shown: Served) -> None:
    path = f"{PRODUCTS}/{serial(shown, 'RateInts')}"
    for asked in ("frame?index=0", "thumbnail"):
        first = shown.ask(f"{path}/{asked}")
        assert first.headers["cache-control"] == "private, no-cache"
        again = shown.ask(f"{path}/{asked}", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status, again.body) == (304, b"")
    assert shown.ask(f"{path}/frame?index=1").headers["etag"] != shown.ask(f"{path}/frame?index=0").headers["etag"]


def test_answers_are_not_kept(shown: Served) -> None:
    for path in ("api/session", "api/pools", PRODUCTS):
        assert shown.ask(path).headers["cache-control"] == "no-store"


def test_maps_of_a_monitor(shown: Served) -> None:
    path = "api/pools/jpl8/monitors/darks"
    known = shown.get(path)
    codes = array(shown, f"{path}/map")
    assert codes.dtype == np.uint8
    counts = {state: int((codes == 1 + i).sum()) for i, state in enumerate(known["known_states"])}
    now = shown.get(f"{path}/states", at=known["strata"][0]["times"][-1], state="hot", limit=2000)["total"]
    assert counts["hot"] == now > 0
    assert array(shown, f"{path}/map", what="rate").shape == codes.shape


# Lists as files, completion, explanation


def test_lists_as_files(shown: Served, tmp_path: Path) -> None:
    asked = {"kind": "Ramp", "columns": "urn,NGROUPS,tags,start_time", "all_versions": "true", "order": "created"}
    rows = list(csv.DictReader(io.StringIO(shown.ask("api/pools/jpl8/list.csv", **asked).body.decode())))
    assert [row["NGROUPS"] for row in rows] == ["8", "8"]
    assert [row["tags"] for row in rows] == ["using cal v1", "using cal v2"]
    assert [row["urn"] for row in shown.get("api/pools/jpl8/list.json", **asked)] == [row["urn"] for row in rows]
    file = tmp_path / "list.vot"
    file.write_bytes(shown.ask("api/pools/jpl8/list.vot", **asked).body)
    assert list(Table.read(file, format="votable")["urn"]) == [row["urn"] for row in rows]


def test_completion(shown: Served) -> None:
    assert "NGROUPS" in [one["keyword"].upper() for one in shown.get("api/pools/jpl8/keywords", prefix="ngr")]
    assert shown.get("api/pools/jpl8/keywords", prefix="zzzz") == []
    assert "MIRIMAGE" in shown.get("api/pools/jpl8/keywords/DETECTOR/values", prefix="MIR")


def test_facets(shown: Served) -> None:
    kinds = {one["column"]: one for one in shown.get("api/pools/jpl8/facets")}["kind"]
    counts = {one["value"]: one["count"] for one in kinds["values"]}
    assert counts["RateInts"] == shown.get(PRODUCTS, kind="RateInts")["total"]
    assert kinds["exact"]


def test_explain(shown: Served, shown_home: Home) -> None:
    where = "ngroups > 1000 and detector == 'MIRIMAGE'"
    steps = shown.get("api/pools/jpl8/explain", where=where)
    assert steps == run(shown_home, "ls", "jpl8", "--where", where, "--explain")
    assert steps[-1]["left"] == 0


def test_observations(shown: Served) -> None:
    found = shown.get("api/pools/jpl8/observations", where="name like 'jw*'")
    (row,) = found["rows"]
    assert [level["level"] for level in row["levels"]] == ["raw", "ramp", "rateints", "rate"]
    assert "using cal v2" in row["tags"]
    (dark, *_) = shown.get("api/pools/jpl8/observations", where="name like 'dark*'", columns="TARGNAME")["rows"]
    assert dark["TARGNAME"] == "SIMULATED"


# Changes


def undo(shown: Served, steps: list[dict[str, object]]) -> list[int]:
    return [shown.post(f"api/pools/jpl8/{step['path']}", step["body"]).status for step in steps]


def test_tag_and_back(shown: Served) -> None:
    old, new = (serial(shown, "Ramp", tag=f"using cal {v}") for v in ("v1", "v2"))
    label = "it's <b>mine %2f 😀"
    first = shown.post("api/pools/jpl8/tag", {"label": label, "serials": [old]}).json
    assert (first["changed"], first["moves"]) == (1, [])
    moved = shown.post("api/pools/jpl8/tag", {"label": label, "serials": [new]}).json
    assert moved["moves"] == [{"from": old, "to": new}]
    assert label in shown.get(f"{PRODUCTS}/{new}")["tags"]
    assert undo(shown, first["undo"]) == [409]  # it was moved since
    assert label in shown.get(f"{PRODUCTS}/{new}")["tags"]
    assert undo(shown, moved["undo"]) == [200]
    assert label in shown.get(f"{PRODUCTS}/{old}")["tags"]
    assert undo(shown, moved["undo"]) == [409]  # not twice
    off = shown.post("api/pools/jpl8/untag", {"label": label, "serials": [old]}).json
    assert undo(shown, off["undo"]) == [200]
    assert label in shown.get(f"{PRODUCTS}/{old}")["tags"]
    assert undo(shown, first["undo"]) == [200]
    assert label not in [tag["label"] for tag in shown.get("api/pools/jpl8/tags")]


def test_undo_leaves_alone_what_was_not_changed(shown: Served) -> None:
    one, two = (serial(shown, "RateInts", tag=f"using cal {v}") for v in ("v1", "v2"))
    gone = shown.post("api/pools/jpl8/remove", {"serials": [one], "cascade": True}).json
    back = shown.post("api/pools/jpl8/restore", {"serials": [one, two]}).json
    assert back["changed"] == gone["changed"]
    assert undo(shown, back["undo"]) == [200]
    living = shown.get(PRODUCTS, kind="RateInts", all_versions="true", where="name like 'jw*'")["rows"]
    assert f"urn:jpl8:RateInts:{two}" in [row["urn"] for row in living]
    assert undo(shown, gone["undo"]) == [200]
    made = shown.post("api/pools/jpl8/context", {"serials": [one], "name": "twice"}).json
    again = shown.post("api/pools/jpl8/context", {"serials": [one], "name": "twice"}).json
    assert (made["changed"], again["changed"], again["undo"]) == (1, 0, [])
    assert undo(shown, made["undo"]) == [200]


def test_remove_and_restore(shown: Served) -> None:
    number = serial(shown, "Rate")
    kept = shown.post("api/pools/jpl8/context", {"serials": [number], "name": "keeps it"}).json
    before = shown.get(PRODUCTS, trash="true")["total"]
    refused = shown.post("api/pools/jpl8/remove", {"serials": [number]})
    assert refused.status == 409
    assert "keeps it" in refused.error
    would = shown.post("api/pools/jpl8/remove", {"serials": [number], "cascade": True, "dry_run": True}).json
    assert (would["changed"], len(would["rows"]), would["undo"]) == (0, 3, [])
    done = shown.post("api/pools/jpl8/remove", {"serials": [number], "cascade": True}).json
    assert [row["urn"] for row in done["rows"]] == [row["urn"] for row in would["rows"]]
    assert done["changed"] == 3  # with its exposure
    assert shown.get(PRODUCTS, trash="true")["total"] == before + 3
    for step in done["undo"]:
        assert shown.post(f"api/pools/jpl8/{step['path']}", step["body"]).status == 200
    assert shown.get(PRODUCTS, trash="true")["total"] == before
    assert shown.post("api/pools/jpl8/remove", kept["undo"][0]["body"]).status == 200


def test_copy_and_context(shown: Served) -> None:
    number = serial(shown, "RateInts")
    done = shown.post("api/pools/jpl8/copy", {"serials": [number], "to": "other one", "tag": "from jpl8"}).json
    assert done["changed"] == 1
    (row,) = shown.get(f"api/pools/{quote('other one')}/products", tag="from jpl8", kind="RateInts")["rows"]
    assert row["name"].startswith("jw")
    made = shown.post("api/pools/jpl8/context", {"serials": [number], "name": "my selection"}).json
    assert made["saved"]["kind"] == "Context"
    for step in made["undo"]:
        assert shown.post(f"api/pools/jpl8/{step['path']}", step["body"]).status == 200


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("tag", {"label": "x", "serials": []}, 400),
        ("tag", {"label": "x", "serials": [10**6]}, 404),
        ("tag", {"label": "x", "serials": [-1]}, 404),
        ("tag", {"label": "x", "serials": ["1"]}, 400),
        ("tag", {"label": "x", "serials": [1.5]}, 400),
        ("tag", {"label": "", "serials": [0]}, 400),
        ("tag", {"label": "a\nb", "serials": [0]}, 400),
        ("tag", {"label": "x", "serials": [0], "more": 1}, 400),
        ("tag", [], 400),
        ("untag", {"label": "none", "serials": [0]}, 404),
        ("copy", {"serials": [0], "to": "jpl8"}, 400),
        ("copy", {"serials": [0], "to": "../.."}, 400),
        ("copy", {"serials": [0], "to": "none"}, 404),
        ("context", {"serials": [0], "name": ""}, 400),
        ("undo-tag", {"label": "x", "moves": []}, 400),
        ("undo-tag", {"label": "x", "moves": [{"before": None, "after": None}]}, 400),
        ("undo-tag", {"label": "x", "moves": [{"before": 0, "after": 10**6}]}, 404),
        ("undo-tag", {"label": "x", "moves": [{"before": None, "after": 0}]}, 409),
        ("nothing", {}, 404),
    ],
)
def test_changes_that_can_not_be(shown: Served, path: str, content: object, status: int) -> None:
    answer = shown.post(f"api/pools/jpl8/{path}", content)
    assert answer.status == status, answer.body
    assert answer.error


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"null", b'{"serials": [' + b"1," * 10])
def test_a_body_that_is_no_json(shown: Served, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = shown.ask("api/pools/jpl8/tag", method="POST", headers=headers, body=body)
    assert answer.status == 400
    assert answer.error


def test_a_body_without_end(shown: Served) -> None:
    answer = shown.post("api/pools/jpl8/tag", {"label": "x" * (3 << 20), "serials": [0]})
    assert answer.status == 400


# Whatever is not there


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("api/pools/none/products", 404),
        ("api/pools/..%2f..%2fetc/products", 404),
        ("api/pools/%00/products", 400),
        ("api/pools/jpl8/products/999999", 404),
        ("api/pools/jpl8/products/-1", 404),
        ("api/pools/jpl8/products/99999999999999999999", 404),
        ("api/pools/jpl8/products/x", 400),
        ("api/pools/jpl8/products/0/frame?dataset=NONE", 404),
        ("api/pools/jpl8/products/0/frame?dataset=<script>", 404),
        ("api/pools/jpl8/products/0/frame?index=99,0", 400),
        ("api/pools/jpl8/products/0/frame?index=-1,0", 400),
        ("api/pools/jpl8/products/0/frame?index=0", 400),
        ("api/pools/jpl8/products/0/frame?index=a,b", 400),
        ("api/pools/jpl8/products/0/frame?index=0,0&minus=9,9", 400),
        ("api/pools/jpl8/products/0/frame?index=0,0&other=999999", 404),
        ("api/pools/jpl8/products/0/diff/999999", 404),
        ("api/pools/jpl8/pixel?x=0&y=1", 400),
        ("api/pools/jpl8/pixel?x=5000&y=1", 400),
        ("api/pools/jpl8/pixel?x=1", 400),
        ("api/pools/jpl8/pixel?x=1&y=1&detector=NONE", 400),
        ("api/pools/jpl8/pixel?x=41&y=809&kind=Product", 400),
        ("api/pools/jpl8/pixels?condition=nonsense%20%3E", 400),
        ("api/pools/jpl8/monitors/none", 404),
        ("api/pools/jpl8/monitors/darks/map?at=never", 400),
        ("api/pools/jpl8/monitors/darks/map?at=1990-01-01", 400),
        ("api/pools/jpl8/monitors/darks/map?stratum=7", 400),
        ("api/pools/jpl8/monitors/darks/states?state=sad", 400),
        ("api/pools/jpl8/products?where=NONE%20%3D%3D%201", 400),
        ("api/pools/jpl8/products?where=__import__('os')", 400),
        ("api/pools/jpl8/products?kind=None", 400),
        ("api/pools/jpl8/products?tag=none", 404),
        ("api/pools/jpl8/products?order=nonsense", 400),
        ("api/pools/jpl8/products?columns=NONSENSE1", 400),
        ("api/pools/jpl8/products?limit=-1", 400),
        ("api/pools/jpl8/products?limit=100000", 400),
        ("api/pools/jpl8/products?offset=-1", 400),
        ("api/pools/jpl8/products?trash=true&where=ngroups%3E1", 400),
        ("api/pools/jpl8/products?were=ngroups%3E1", 400),
        ("api/pools?x=1", 400),
        ("api/pools/jpl8/products?columns=%00", 400),
        ("api/pools/jpl8/products?order=a%00", 400),
        ("api/pools/jpl8/explain?tag=%00", 400),
        ("api/pools/jpl8/keywords/%00/values", 400),
        ("api/pools/jpl8/list.xls", 400),
        ("api/nothing", 404),
        ("nothing", 404),
        ("static/../../pyproject.toml", 404),
        ("static/%2e%2e/app.py", 404),
        ("api/pools/jpl8/products/", 404),
    ],
)
def test_what_is_not_there(shown: Served, path: str, status: int) -> None:
    answer = shown.ask(path)
    assert answer.status == status, answer.body
    assert answer.error
    assert "Traceback" not in answer.error


def test_an_error_points_at_its_column(shown: Served) -> None:
    answer = shown.ask(PRODUCTS, where="ngroups >> 3")
    told = answer.json["error"]
    assert (answer.status, told["kind"], told["column"], told["text"]) == (400, "query", 8, "ngroups >> 3")


def test_other_methods(shown: Served) -> None:
    assert shown.ask("api/pools", method="DELETE").status == 405
    assert shown.ask("api/pools", method="HEAD").status in (200, 405)


def test_the_description(shown: Served) -> None:
    api = shown.get("api/openapi.json")
    assert {
        "/api/pools",
        "/api/pools/{pool}/products",
        "/api/pools/{pool}/pixel",
        "/files/{pool}/{serial}.fits",
    } <= set(api["paths"])
    for path, methods in api["paths"].items():
        for method, told in methods.items():
            assert told["description"].strip(), (path, method)
            for one in told.get("parameters", ()):
                assert one["in"] == "path" or one.get("description"), (path, one["name"])
    assert "Traceback" not in shown.log()
    assert "Warning" not in shown.log()


def test_monitors_that_follow_a_pixel(shown: Served) -> None:
    path = "api/pools/jpl8/monitors"
    assert [one["name"] for one in shown.get(path, x=41, y=809)] == ["darks"]
    assert [one["name"] for one in shown.get(path, x=41, y=809, detector="mirimage")] == ["darks"]
    assert shown.get(path, x=1000, y=1000) == []
    assert shown.get(path, x=41, y=809, detector="MIRIFULONG") == []
    assert shown.ask(path, x=41).status == 400


def test_parameters_without_a_value_are_as_if_left_out(shown: Served) -> None:
    asked = "where=&kind=&tag=&order=&columns=&all_versions=&limit=&offset="
    assert shown.get(f"{PRODUCTS}?{asked}") == shown.get(PRODUCTS)
    pixel = "api/pools/jpl8/pixel?x=41&y=809&detector=&kind=&where=&tag="
    assert shown.get(pixel) == shown.get("api/pools/jpl8/pixel?x=41&y=809")
