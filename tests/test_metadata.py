"""MetaData: typed values, names, rows for the index, setting."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from awkward import AWKWARD, header, line, primary, raw_line
from hypothesis import given, settings
from hypothesis import strategies as st

from miripool.errors import InvalidInput, NotFound
from miripool.model.cards import parse_header
from miripool.model.metadata import MetaData, Parameter

FIRST = primary(
    line("DATE", "'2026-11-20T20:58:01.633'", "UTC date file created"),
    line("DATE-OBS", "'2018-03-08'", "[yyyy-mm-dd] UTC date"),
    line("TIME-OBS", "'01:02:30'", "[hh:mm:ss.sss] UTC time"),
    line("NGROUPS", "50"),
    line("TGROUP", "0.08512", "[s] Time between groups"),
    line("MYTEMP", "6.7", "[K] of the detector"),
    line("DETECTOR", "'MIRIMAGE'"),
    line("FLAG", "T"),
    line("EMPTY", "", "nobody knows"),
    line("MJD-BEG", "58185.04"),
    raw_line("HISTORY one"),
    raw_line("HISTORY two"),
    raw_line(""),
    raw_line("COMMENT a remark"),
    line("TWICE", "1"),
    line("TWICE", "2"),
)
SECOND = header(raw_line("XTENSION= 'IMAGE   '"), line("BUNIT", "'DN/s'"), line("NGROUPS", "7"), line("ONLY", "1"))
THIRD = header(raw_line("XTENSION= 'IMAGE   '"), line("BUNIT", "'DN'"), raw_line("HISTORY three"))


@pytest.fixture
def meta() -> MetaData:
    return MetaData([("PRIMARY", FIRST), ("SCI", SECOND), ("ERR", THIRD)])


def test_names_of_all_sorts(meta: MetaData) -> None:
    for name in ("ngroups", "NGROUPS", "exposure.ngroups", "meta.exposure.ngroups", "PRIMARY.NGROUPS"):
        assert meta[name].value == 50
    assert meta["sci.ngroups"].value == 7
    assert meta["bunit"] == meta["SCI.BUNIT"] == meta["SCI,1.BUNIT"]
    assert meta["bunit"].hdu == "SCI"
    assert meta["ERR.BUNIT"].value == "DN"
    assert meta["TWICE"].value == 1
    assert meta["history"].value == "one\ntwo"
    assert meta["ERR.HISTORY"].value == "three"


def test_values_are_typed(meta: MetaData) -> None:
    assert meta["flag"] == Parameter(True, None, None, "boolean", "FLAG", "PRIMARY")
    assert meta["empty"].value is None
    assert meta["MJD-BEG"].value == 58185.04
    assert meta["detector"].type == "string"
    assert meta["ngroups"].type == "integer"
    assert meta["mytemp"] == Parameter(6.7, "K", "of the detector", "number", "MYTEMP", "PRIMARY")
    assert meta["group_time"].unit == "s"
    assert str(meta["group_time"]) == "0.08512 s"


def test_times_are_utc(meta: MetaData) -> None:
    assert meta["date_obs"].value == datetime(2018, 3, 8, tzinfo=UTC)
    assert meta["time-obs"].value == datetime(2018, 3, 8, 1, 2, 30, tzinfo=UTC)
    assert meta["DATE"].value == datetime(2026, 11, 20, 20, 58, 1, 633000, tzinfo=UTC)
    assert meta["DATE"].type == "date-time"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2018-03-08", datetime(2018, 3, 8, tzinfo=UTC)),
        ("2018-03-08T01:02", datetime(2018, 3, 8, 1, 2, tzinfo=UTC)),
        ("2018-03-08 01:02:03.5Z", datetime(2018, 3, 8, 1, 2, 3, 500000, tzinfo=UTC)),
        ("2018-03-08T01:02:03.", datetime(2018, 3, 8, 1, 2, 3, tzinfo=UTC)),
        ("2018-03-08T01:02:03.123456789", datetime(2018, 3, 8, 1, 2, 3, 123456, tzinfo=UTC)),
        ("2018-03-08T01:02:03+02:00", datetime(2018, 3, 7, 23, 2, 3, tzinfo=UTC)),
        ("2016-12-31T23:59:60.25", datetime(2017, 1, 1, 0, 0, 0, 250000, tzinfo=UTC)),
        ("yyyy-mm-dd", None),
        ("2018-13-08", None),
        ("0000-00-00", None),
        ("9999-12-31T23:59:60", None),
        ("0001-01-01T00:00:00+10:00", None),
        ("2018-03-08T25:00:00", None),
        ("2018-03-08 and more", None),
    ],
)
def test_dates_of_all_sorts(text: str, moment: datetime | None) -> None:
    meta = MetaData([("PRIMARY", primary(raw_line(f"DATE-END= '{text}'")))])
    assert meta["date_end"].value == (moment or text)
    (row,) = [row for row in meta.rows() if row.key == "DATE-END"]
    assert (row.text, row.time) == (text, moment)


def test_times_without_their_date_stay_text() -> None:
    meta = MetaData([("PRIMARY", primary(line("TIME-OBS", "'01:02:30'"), line("DATE-OBS", "'yyyy-mm-dd'")))])
    assert meta["time_obs"].value == "01:02:30"


def test_ground_test_spelling() -> None:
    meta = MetaData([("PRIMARY", primary(line("DATE_OBS", "'2018-03-08'"), line("TIME_OBS", "'01:02:30'")))])
    assert meta["date_obs"].keyword == "DATE_OBS"
    assert meta["TIME_OBS"].value == datetime(2018, 3, 8, 1, 2, 30, tzinfo=UTC)


def test_other_time_scales_stay_text() -> None:
    lines = (line("TIMESYS", "'TDB'"), line("DATE-BEG", "'2018-03-08T01:02:30'"), line("DATE", "'2018-03-08T05:00:00'"))
    meta = MetaData([("PRIMARY", primary(*lines))])
    assert meta["date_beg"].value == "2018-03-08T01:02:30"
    assert meta["date"].value == datetime(2018, 3, 8, 5, tzinfo=UTC)


def test_missing_names_are_not_found_and_near_ones_named(meta: MetaData) -> None:
    with pytest.raises(NotFound, match="did you mean NGROUPS"):
        meta["ngrops"]
    with pytest.raises(KeyError):
        meta["SCI.DETECTOR"]
    assert meta.get("nothing") is None
    assert "nothing" not in meta
    assert 5 not in meta
    assert meta.get(5) is None  # type: ignore[call-overload]
    assert meta.containsKey("flag")


def test_iteration(meta: MetaData) -> None:
    names = list(meta)
    assert len(names) == len(set(names)) == len(meta)
    assert names.index("BUNIT") < names.index("SCI.NGROUPS")
    assert not {"", "COMMENT", "HISTORY"} & set(names)
    assert "ERR.BUNIT" in names
    assert all(name in meta for name in names)
    assert json.loads(json.dumps(meta.to_dict()))["DATE-OBS"] == "2018-03-08"
    assert list(meta.to_dict()) == names


def test_rows(meta: MetaData) -> None:
    rows = list(meta.rows())
    assert [(r.hdu_name, r.occurrence, r.first, r.number) for r in rows if r.key == "NGROUPS"] == [
        ("PRIMARY", 0, True, 50.0),
        ("SCI", 0, False, 7.0),
    ]
    assert [(r.occurrence, r.first) for r in rows if r.key == "TWICE"] == [(0, True), (1, False)]
    assert [(r.text, r.first) for r in rows if r.key == "HISTORY"] == [("one\ntwo", True), ("three", False)]
    assert not [r for r in rows if r.key == ""]
    for row in rows:
        assert sum(v is not None for v in (row.number, row.text, row.flag)) == (row.key != "EMPTY")
        if row.first:
            parameter = meta[row.key]
            assert parameter.hdu == row.hdu_name
            assert parameter.value in (row.number, row.text, row.flag, row.time)


def test_rows_hold_no_nul() -> None:
    meta = MetaData([("PRIMARY", primary(raw_line("NUL     = 'a\0b'"), raw_line("N\0L     = 'a'")))])
    assert not any("\0" in (row.text or "") + row.key for row in meta.rows())


def test_made_in_memory() -> None:
    meta = MetaData.from_mapping({"detector": "MIRIMAGE", "exposure.ngroups": 5, "SCI.BUNIT": "DN/s", "BITPIX": 8})
    assert meta["DETECTOR"].value == "MIRIMAGE"
    assert meta["ngroups"].value == 5
    assert meta["bunit"].hdu == "SCI"
    assert list(meta) == ["DETECTOR", "NGROUPS", "BUNIT"]
    assert not meta.changed
    assert len(MetaData()) == 0
    assert MetaData().get("x") is None
    assert list(MetaData.from_mapping(meta)) == list(meta)
    assert MetaData.from_mapping(meta).headers == meta.headers


def test_setting_values(meta: MetaData) -> None:
    before = meta.copy()
    meta["ngroups"] = np.int32(9)
    meta["lamp"] = Parameter("ON", None, "state of the lamp")
    meta["SCI.bunit"] = "MJy/sr"
    meta["new"] = Parameter(1.5, "K", "a temperature")
    assert meta["ngroups"].value == 9
    assert meta["new"].unit == "K"
    assert meta["SCI.BUNIT"].value == "MJy/sr"
    assert meta["SCI.NGROUPS"].value == 7
    assert meta.changed
    assert not before.changed
    assert before["ngroups"].value == 50
    assert all(len(raw) % 2880 == 0 for _, raw in meta.headers)
    del meta["new"]
    assert "new" not in meta
    old = [c for c in parse_header(FIRST) if c.keyword != "NGROUPS"]
    assert [c for c in parse_header(meta.headers[0][1]) if c.keyword not in ("NGROUPS", "LAMP")] == old


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("BITPIX", 8, InvalidInput),
        ("SCI.NAXIS1", 8, InvalidInput),
        ("x", [1, 2], InvalidInput),
        ("x", {"a": 1}, InvalidInput),
        ("x", float("nan"), InvalidInput),
        ("x", datetime(2020, 1, 1), InvalidInput),  # noqa: DTZ001, RUF100
        ("NOHDU.X", 1, NotFound),
    ],
)
def test_what_can_not_be_set(meta: MetaData, name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        meta[name] = value
    assert not meta.changed


def test_deleting_structure_is_refused(meta: MetaData) -> None:
    with pytest.raises(InvalidInput):
        del meta["BITPIX"]


def test_setting_times() -> None:
    moment = datetime(2020, 5, 1, 12, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    meta = MetaData.from_mapping({"date_beg": moment, "date_obs": datetime(2020, 5, 1, tzinfo=UTC)})
    assert meta["date_beg"].value == moment
    assert meta.to_dict() == {"DATE-BEG": "2020-05-01T10:00:30", "DATE-OBS": "2020-05-01"}


SAFE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100)


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"Q[A-Z0-9]{0,7}", fullmatch=True),
        st.one_of(st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False), SAFE),
    )
)
def test_any_mapping_round_trips(values: dict[str, Any]) -> None:
    meta = MetaData.from_mapping(values)
    expected = {k: v.rstrip(" ") if isinstance(v, str) else v for k, v in values.items()}
    assert meta.to_dict() == expected
    again = MetaData.from_mapping(meta.to_dict())
    assert again.headers == meta.headers


def test_representations(meta: MetaData) -> None:
    assert "NGROUPS=50" in repr(meta)
    assert "<td>NGROUPS</td><td>50</td>" in meta._repr_html_()
    assert pickle.loads(pickle.dumps(meta)).to_dict() == meta.to_dict()


def test_odd_headers() -> None:
    meta = MetaData([("PRIMARY", AWKWARD["odd_headers"]())])
    assert meta["ESO DET NAME"].value == "hawk"
    assert meta["long"].value.endswith("next one")  # type: ignore[union-attr]
    json.dumps(meta.to_dict(), allow_nan=False)
