from __future__ import annotations

import time
from pathlib import Path

import homes
import pytest
from homes import write_image
from replay import assert_index_is_journal

from miripool import Pool
from miripool.errors import Conflict, FileMissing, FormatError
from miripool.pool import save as saving
from miripool.pool.ingest import ingest
from miripool.store.manifest import Manifest

home = homes.home


def images(folder: Path, count: int = 4) -> list[Path]:
    """Files of one track, the first ones much larger than the last."""
    paths = []
    for i in range(count):
        size = 400 if i < count // 2 else 4
        data = [[float(i * x + y) for x in range(size)] for y in range(size)]
        paths.append(write_image(folder / str(i) / "a.fits", {"NGROUPS": i}, data))
    return paths


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(3))
def test_versions_count_in_the_order_of_the_files(pool: Pool, tmp_path: Path, attempt: int) -> None:
    files = images(tmp_path)
    for force in (False, True):
        outcomes = list(ingest(pool, files, jobs=4, force=force, tag="t"))
        first = 4 if force else 0
        assert [o.path for o in outcomes] == files
        assert [o.version for o in outcomes] == list(range(first, first + 4))
        assert [o.urn for o in outcomes] == [f"urn:jpl8:Product:{first + i}" for i in range(4)]
    assert [ref.meta["NGROUPS"].value for ref in pool.versions("a")] == [0, 1, 2, 3] * 2
    assert [ref.version for ref in pool.tagged("t")] == [7]
    for ref, path in zip(pool.versions("a"), files * 2, strict=True):
        assert ref.to_fits(tmp_path / "out.fits", overwrite=True).read_bytes() == path.read_bytes()
    assert_index_is_journal(pool)
    assert list((pool.path / "pending").glob("*")) == []


@pytest.mark.slow
def test_two_calibrations_of_one_exposure_at_once(pool: Pool, simulated: Path) -> None:
    files = [path for label in ("v1", "v2") for path in sorted((simulated / label).glob("*.fits"))]
    outcomes = list(ingest(pool, files, jobs=4))
    assert [(o.path, o.status) for o in outcomes] == [
        (path, "new" if i < len(files) // 2 else "version") for i, path in enumerate(files)
    ]
    contexts = [ref.meta["CRDS_CTX"].value for ref in pool.versions(pool.ref(str(outcomes[0].urn)))]
    assert contexts == ["jwst_9001.pmap", "jwst_9002.pmap"]
    assert {o.status for o in ingest(pool, files[::-1], jobs=4)} == {"unchanged"}


def test_the_same_data_twice_in_one_call(pool: Pool, tmp_path: Path) -> None:
    first = write_image(tmp_path / "1" / "a.fits", {"DATE": "2026-01-01T00:00:00"})
    again = write_image(tmp_path / "2" / "a.fits", {"DATE": "2026-01-02T00:00:00"})
    outcomes = list(ingest(pool, [first, again, first], jobs=3))
    assert [(o.status, o.version) for o in outcomes] == [("new", 0), ("unchanged", 0), ("unchanged", 0)]
    assert [o.message for o in outcomes] == [
        None,
        "unchanged: version 0; this file's own timestamps were not kept",
        "unchanged: version 0",
    ]


def test_errors_stand_in_their_place(pool: Pool, tmp_path: Path) -> None:
    files = images(tmp_path)
    (tmp_path / "bad.fits").write_text("nonsense")
    other = write_image(tmp_path / "x" / "a.fits", {"DETECTOR": "MIRIFULONG", "OBS_ID": "1"})
    another = write_image(tmp_path / "y" / "a.fits", {"DETECTOR": "MIRIMAGE", "OBS_ID": "2"})
    outcomes = list(ingest(pool, [files[0], tmp_path / "bad.fits", other, another, files[1]], jobs=4))
    assert [o.status for o in outcomes] == ["new", "failed", "version", "failed", "version"]
    assert isinstance(outcomes[1].error, FormatError)
    assert isinstance(outcomes[3].error, Conflict)


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_mistake_of_ours_with_one_file_does_not_stop_the_others(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    files = images(tmp_path, 3)
    manifest_of = Manifest.to_bytes

    def fail(manifest: Manifest) -> bytes:
        if b"NGROUPS =                    1" in manifest.hdus[0].header:
            raise ValueError("not foreseen")
        return manifest_of(manifest)

    monkeypatch.setattr(Manifest, "to_bytes", fail)
    outcomes = list(ingest(pool, files, jobs=jobs))
    assert [outcome.status for outcome in outcomes] == ["new", "failed", "version"]
    assert str(outcomes[1].error) == f"{files[1]}: internal error, please report it: ValueError: not foreseen"
    assert list((pool.path / "pending").glob("*")) == []


def test_an_interruption_leaves_no_note(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    outcomes = ingest(pool, images(tmp_path), jobs=2)
    assert next(outcomes).version == 0
    monkeypatch.setattr(saving, "commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    monkeypatch.undo()
    assert list((pool.path / "pending").glob("*")) == []
    assert pool.select(all_versions=True).size() == 1
    # Given up after the first.
    outcomes = ingest(pool, images(tmp_path), jobs=2, force=True)
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    assert list((pool.path / "pending").glob("*")) == []


def test_a_pattern_without_files_stops_no_other(pool: Pool, tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.fits")
    (tmp_path / "empty").mkdir()
    outcomes = pool.ingest([tmp_path / "none*.fits", image, tmp_path / "empty"])
    assert [outcome.status for outcome in outcomes] == ["failed", "new", "failed"]
    assert outcomes[0].message == f"no FITS file matches {tmp_path}/none*.fits; check the name"
    assert outcomes[2].message == f"no FITS file matches {tmp_path}/empty/*.fits; check the name"
    assert isinstance(outcomes[0].error, FileMissing)


def test_a_large_file_that_is_no_fits_is_refused_by_its_first_card(pool: Pool, tmp_path: Path) -> None:
    """Its digest would take minutes."""
    with (tmp_path / "large.fits").open("wb") as file:
        file.truncate(60 << 30)
    began = time.monotonic()
    (outcome,) = pool.ingest(tmp_path / "large.fits")
    assert "does not begin with SIMPLE" in str(outcome.message)
    assert time.monotonic() - began < 5
