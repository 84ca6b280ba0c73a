"""What is counted is what is listed; what is kept as another kind than its name says is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import homes
import pytest
from astropy.io import fits
from homes import call

from miripool import Context, Home, Pool
from miripool.pool.ingest import find_files, ingest

home = homes.home

NAME = "jw01033005001_03103_00001_mirimage"


def rows(*arguments: Any) -> list[dict[str, Any]]:
    found = json.loads(call(*arguments, "--json").stdout)
    assert isinstance(found, list)
    return found


@pytest.mark.slow
def test_pools_and_tags_count_what_ls_lists(pool: Pool, simulated: Path) -> None:
    for folders in ((simulated / "uncal", simulated / "v1"), (simulated / "v2",)):
        assert {o.error for o in ingest(pool, find_files(folders), tag=folders[-1].name, pixels=False)} == {None}
    pool.save(Context({"a": f"Ramp/{NAME}@0"}, name="mine"), tag="mine")
    pool.tag([f"Exposure/{NAME}@1"], "all of it")
    (told,) = rows("pools")
    assert told["products"] == len(rows("ls", "jpl8")) == 4
    assert told["versions"] == len(rows("ls", "jpl8", "--all-versions")) == 7
    contexts = [row for kind in ("Context", "Exposure") for row in rows("ls", "jpl8", "--kind", kind)]
    assert told["contexts"] == len(contexts) == 2
    assert (told["bytes"], told["tags"]) == (Home().summary("jpl8").bytes, 4)
    for tag in rows("tags", "jpl8"):
        assert tag["count"] == len(rows("ls", "jpl8", "--tag", tag["label"])), tag["label"]
        assert tag["count"] + tag["contexts"] == pool.tagged(tag["label"]).size()
    assert {tag["label"]: (tag["count"], tag["contexts"]) for tag in rows("tags", "jpl8")} == {
        "all of it": (4, 1),
        "mine": (1, 1),
        "v1": (4, 0),
        "v2": (3, 0),
    }
    assert call("tags", "jpl8", "--csv").stdout.splitlines()[0] == "label,count,first,last"


@pytest.mark.slow
def test_the_trash_lists_contexts_too(pool: Pool, simulated: Path) -> None:
    assert {o.error for o in ingest(pool, find_files([simulated / "v1"]), pixels=False)} == {None}
    pool.save(Context({"a": f"Ramp/{NAME}"}, name="mine"))
    assert call("rm", "jpl8", f"Ramp/{NAME}", "--cascade").exit_code == 0
    listed = rows("ls", "jpl8", "--trash")
    assert sorted(row["kind"] for row in listed) == ["Context", "Exposure", "Ramp"]
    assert [row["kind"] for row in rows("ls", "jpl8", "--trash", "--kind", "Ramp")] == ["Ramp"]
    assert [row["kind"] for row in rows("ls", "jpl8", "--trash", "--kind", "Exposure")] == ["Exposure"]


def without(path: Path, folder: Path, *keywords: str, **values: object) -> Path:
    with fits.open(path) as hdus:
        for keyword in keywords:
            del hdus["SCI"].header[keyword]
        hdus["SCI"].header.update(values)
        hdus.writeto(folder / path.name)
    return folder / path.name


def test_a_rate_without_a_unit_is_told(pool: Pool, simulated: Path, tmp_path: Path) -> None:
    words = "kept as a Product, although its name says Rate: SCI has no unit, and a rate needs BUNIT = 'DN/s'"
    bad = without(simulated / "v1" / f"{NAME}_rate.fits", tmp_path, "BUNIT")
    added = call("add", "jpl8", bad)
    assert added.stdout.startswith("added        urn:jpl8:Product:0")
    assert words in added.stdout
    (row,) = rows("add", "jpl8", bad, "--force")
    assert row["message"] == words
    assert words in call("add", "jpl8", bad, "--force", "--json").stderr
    assert pool.save(bad, name="other").notice == words
    assert pool.save(simulated / "v1" / f"{NAME}_rate.fits").notice is None


@pytest.mark.parametrize(
    ("kind", "unit", "words"),
    [
        ("rate", "MJy/sr", "SCI is in MJy/sr, and a rate must be in DN/s"),
        ("rateints", "DN", "SCI is in DN, and a rate must be in DN/s"),
    ],
)
def test_a_rate_in_another_unit_is_told(
    pool: Pool, simulated: Path, tmp_path: Path, kind: str, unit: str, words: str
) -> None:
    bad = without(simulated / "v1" / f"{NAME}_{kind}.fits", tmp_path, BUNIT=unit)
    assert words in str(pool.save(bad).notice)


def test_an_image_that_is_called_a_ramp_is_told(pool: Pool, tmp_path: Path) -> None:
    path = homes.write_image(tmp_path / "x_ramp.fits")
    assert "DATAMODL None) and the 2 axes of SCI say otherwise" in str(pool.save(path).notice)
    empty = tmp_path / "y_ramp.fits"
    fits.PrimaryHDU().writeto(empty)
    assert "it has no image SCI" in str(pool.save(empty).notice)
    assert pool.save(homes.write_image(tmp_path / "flat.fits")).notice is None
