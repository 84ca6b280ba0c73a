from __future__ import annotations

from pathlib import Path

import homes
import pytest
from replay import assert_index_is_journal, files, folder_of

from miripool import Home, Pool, ProductRef, Ramp, Rate
from miripool.errors import InvalidInput, InvalidName, NotFound, ProductNotFound, TagNotFound

home = homes.home
NAME = "jw01033005001_03103_00001_mirimage"


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Two small files."""
    return [homes.write_image(tmp_path / f"{label}.fits", {"CAL_VER": label}) for label in ("v1", "v2")]


@pytest.fixture
def versions(pool: Pool, images: list[Path]) -> list[ProductRef]:
    """Rate 0 and 1, then RateInts 2 and 3."""
    return [pool.save(path, name=NAME, kind=kind) for kind in ("Rate", "RateInts") for path in images]


def labels(pool: Pool) -> list[tuple[str, ...]]:
    return [ref.tags for ref in pool.select(all_versions=True)]


# Tags


def test_a_tag_moves_inside_its_track(pool: Pool, versions: list[ProductRef]) -> None:
    first, second, third, _ = versions
    assert pool.tag([first, third], "using cal v1") == 2
    assert labels(pool) == [("using cal v1",), (), ("using cal v1",), ()]
    assert pool.tag(second, "using cal v1") == 1
    assert labels(pool) == [(), ("using cal v1",), ("using cal v1",), ()]
    # The reference that was made before knows.
    assert (first.tags, second.tags) == ((), ("using cal v1",))
    assert pool.tag([second, third], "using cal v1") == 0
    assert pool.tag([second.urn, f"RateInts/{NAME}@1"], "using cal v1") == 1
    assert labels(pool) == [(), ("using cal v1",), (), ("using cal v1",)]
    assert_index_is_journal(pool)


def test_moves_are_kept(pool: Pool, versions: list[ProductRef]) -> None:
    for ref in (versions[0], versions[1], versions[0]):
        pool.tag(ref, "a")
    pool.tag(versions[2], "b")
    pool.untag("a")
    assert [(e.label, e.kind, e.serial, e.previous) for e in pool.tag_events()] == [
        ("a", "Rate", 0, None),
        ("a", "Rate", 1, 0),
        ("a", "Rate", 0, 1),
        ("b", "RateInts", 2, None),
        ("a", "Rate", None, 0),
    ]
    assert [e.label for e in pool.tag_events("b")] == ["b"]
    assert [e.label for e in pool.tag_events(kind="RateInts", name=NAME)] == ["b"]
    times = [e.time for e in pool.tag_events()]
    assert times == sorted(times)
    assert_index_is_journal(pool)


def test_a_tag_on_many_products_is_one_entry(pool: Pool, versions: list[ProductRef]) -> None:
    before = files(folder_of(pool) / "journal")
    assert pool.tag(pool.select(), "all heads") == 2
    assert len(files(folder_of(pool) / "journal") - before) == 1
    assert [ref.version for ref in pool.tagged("all heads")] == [1, 1]


def test_two_versions_of_a_track_at_once_are_refused(pool: Pool, versions: list[ProductRef]) -> None:
    before = files(folder_of(pool))
    for both in (versions[:2], versions, pool.select(all_versions=True), [f"Rate/{NAME}@0", f"Rate/{NAME}"]):
        with pytest.raises(InvalidInput, match=f"versions 0 and 1 of Rate/{NAME} were given"):
            pool.tag(both, "x")
    # The same version twice is no such thing.
    assert pool.tag([versions[0], versions[0].urn], "y") == 1
    assert len(files(folder_of(pool)) - before) == 1


def test_several_tags_on_one_version(pool: Pool, versions: list[ProductRef]) -> None:
    for label in ("z", "a", "M", "é"):
        pool.tag(versions[0], label)
    assert versions[0].tags == ("M", "a", "z", "é")
    assert [(t.label, t.count) for t in pool.tags()] == [("M", 1), ("a", 1), ("z", 1), ("é", 1)]
    summary = pool.tags()[0]
    assert summary.first == summary.last == pool.tag_events("M")[0].time


def test_untag(pool: Pool, versions: list[ProductRef]) -> None:
    pool.tag([versions[0], versions[2]], "a")
    assert pool.untag("a", versions[0]) == 1
    assert labels(pool) == [(), (), ("a",), ()]
    # One that it does not mark.
    assert pool.untag("a", f"Rate/{NAME}@1") == 0
    assert pool.untag("a") == 1
    assert labels(pool) == [(), (), (), ()]
    assert not pool.tag_exists("a")
    assert pool.tags() == []
    for act in (lambda: pool.untag("a"), lambda: pool.tagged("a"), lambda: pool.select(tag="a")):
        with pytest.raises(TagNotFound, match="'a'"):
            act()
    # As if it had never been there.
    pool.tag(versions[1], "a")
    assert [ref.version for ref in pool.tagged("a")] == [1]
    assert_index_is_journal(pool)


def test_an_unknown_tag_suggests_the_nearest(pool: Pool, versions: list[ProductRef]) -> None:
    pool.tag(versions[0], "using cal v1")
    with pytest.raises(TagNotFound, match="did you mean 'using cal v1'"):
        pool.untag("using cal v2")
    with pytest.raises(TagNotFound, match="did you mean 'using cal v1'"):
        pool.tagged("using cal")


BAD = ["", " ", " a", "a ", "a/b", "..", "a\\b", "a@b", "a\nb", "a\x00", "12", "urn:jpl8:Ramp:0", "x" * 300]
GOOD = ["using cal v1", "v1.2", "Ünïcode 'tag' \"x\"", "1a", "100 %", "a:b", "x" * 100, "-", "%s"]


def test_labels(pool: Pool, versions: list[ProductRef]) -> None:
    before = files(folder_of(pool))
    for label in BAD:
        with pytest.raises(InvalidName, match="tag") as caught:
            pool.tag(versions[0], label)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200
    assert files(folder_of(pool)) == before
    for label in GOOD:
        pool.tag(versions[0], label)
        assert pool.load(label) == versions[0]
        assert pool.ref(f"Rate/{NAME}@{label}") == versions[0]
        assert pool.select(tag=label).size() == 1
    assert versions[0].tags == tuple(sorted(GOOD))


def test_tagging_nothing(pool: Pool, versions: list[ProductRef]) -> None:
    before = files(folder_of(pool))
    assert pool.tag([], "a") == 0
    assert pool.tag(pool.select("ngroups > 1000"), "a") == 0
    assert files(folder_of(pool)) == before
    with pytest.raises(ProductNotFound):
        pool.tag([versions[0], "urn:jpl8:Rate:99"], "a")
    assert files(folder_of(pool)) == before


def test_tags_follow_their_version_not_the_head(pool: Pool, images: list[Path]) -> None:
    first = pool.save(images[0], name=NAME, tag="x")
    second = pool.save(images[1], name=NAME)
    assert (first.tags, second.tags) == (("x",), ())
    assert pool.load("x") == first


# Trash


def test_removal_hides(pool: Pool, versions: list[ProductRef]) -> None:
    pool.tag(versions[1], "x")
    assert pool.remove(versions[1]) == 1
    assert [ref.serial for ref in pool.select(all_versions=True)] == [0, 2, 3]
    assert [ref.serial for ref in pool.select()] == [0, 3]
    assert not pool.tag_exists("x")
    assert pool.tags() == []
    assert versions[1].tags == ()
    assert [ref.version for ref in pool.versions(f"Rate/{NAME}")] == [0]
    assert [(r.version, r.removed is None) for r in pool.versions(f"Rate/{NAME}", removed=True)] == [
        (0, True),
        (1, False),
    ]
    assert pool.head(versions[1]) == versions[0]
    assert pool.ref(f"Rate/{NAME}").version == 0
    # Nothing is deleted.
    assert pool.ref("urn:jpl8:Rate:1", removed=True).product.data.shape == (2, 3)
    assert_index_is_journal(pool)


def test_the_urn_of_a_removed_version_says_so(pool: Pool, versions: list[ProductRef]) -> None:
    pool.remove(versions[1])
    for spec in ("urn:jpl8:Rate:1", f"Rate/{NAME}@1", versions[1]):
        for find in (pool.ref, pool.load, pool.remove, lambda ref: pool.tag(ref, "x"), lambda r: pool.export(r, "no")):
            if find == pool.load and not isinstance(spec, str):
                continue
            if isinstance(spec, ProductRef) and find not in (pool.ref, pool.remove):
                continue
            with pytest.raises(ProductNotFound, match=r"urn:jpl8:Rate:1 was put into the trash on 20.*restore"):
                find(spec)
    with pytest.raises(ProductNotFound, match=r"has versions 0, 1 \(in the trash\)"):
        pool.ref(f"Rate/{NAME}@7")


def test_restore(pool: Pool, versions: list[ProductRef]) -> None:
    pool.tag(versions[1], "x")
    pool.remove(versions[1])
    assert pool.restore(versions[1]) == 1
    assert versions[1].tags == ("x",)
    assert pool.head(versions[0]) == versions[1]
    assert pool.restore(versions[1]) == 0
    assert_index_is_journal(pool)


def test_a_label_that_moved_meanwhile_does_not_come_back(pool: Pool, versions: list[ProductRef]) -> None:
    for label in ("moved", "stays", "taken off"):
        pool.tag(versions[1], label)
    pool.remove(versions[1])
    pool.tag(versions[0], "moved")
    pool.tag(versions[2], "taken off")
    pool.untag("taken off")
    pool.restore(versions[1])
    assert versions[0].tags == ("moved",)
    assert versions[1].tags == ("stays", "taken off")
    assert_index_is_journal(pool)


def test_restore_by_name_takes_the_newest_in_the_trash(pool: Pool, versions: list[ProductRef]) -> None:
    pool.remove(f"Rate/{NAME}")
    assert pool.ref(f"Rate/{NAME}").version == 0
    # Also where older versions live, and where the name has products of another kind.
    assert pool.restore(NAME) == 1
    assert pool.ref(f"Rate/{NAME}").version == 1
    with pytest.raises(ProductNotFound, match=r"no version of .* is in the trash"):
        pool.restore(f"Rate/{NAME}")


def test_a_track_all_in_the_trash(pool: Pool, versions: list[ProductRef]) -> None:
    assert pool.remove(versions[:2]) == 2
    assert pool.select(Rate, all_versions=True).size() == 0
    assert pool.versions(f"Rate/{NAME}") == []
    for find in (pool.ref, pool.load):
        with pytest.raises(ProductNotFound, match="trash"):
            find(f"Rate/{NAME}")
    with pytest.raises(ProductNotFound, match=r"all versions of .* are in the trash"):
        pool.head(f"Rate/{NAME}")
    assert [r.version for r in pool.versions(f"Rate/{NAME}", removed=True)] == [0, 1]
    # A bare name means what lives.
    assert pool.ref(NAME).kind == "RateInts"
    assert pool.restore([f"Rate/{NAME}@0", f"Rate/{NAME}@1"]) == 2
    assert [r.version for r in pool.versions(f"Rate/{NAME}")] == [0, 1]


def test_numbers_are_never_used_again(pool: Pool, versions: list[ProductRef], images: list[Path]) -> None:
    pool.remove(versions[0:2])
    again = pool.save(images[0], name=NAME, kind="Rate")
    assert (again.version, again.urn) == (2, "urn:jpl8:Rate:4")
    assert pool.select(Rate, all_versions=True).size() == 1
    pool.remove(again)
    other = pool.save(images[1])
    assert other.serial == 5
    assert_index_is_journal(pool)


def test_removing_several_is_one_entry(pool: Pool, versions: list[ProductRef]) -> None:
    before = files(folder_of(pool) / "journal")
    assert pool.remove(pool.select(all_versions=True)) == 4
    assert pool.restore([ref.urn for ref in versions]) == 4
    assert len(files(folder_of(pool) / "journal") - before) == 2
    before = files(folder_of(pool))
    for removed in ("urn:jpl8:Rate:99", [versions[0], f"Ramp/{NAME}"]):
        with pytest.raises(NotFound):
            pool.remove(removed)  # type: ignore[arg-type]
    assert files(folder_of(pool)) == before
    assert pool.select(all_versions=True).size() == 4


def test_another_pool_sees_it(home: Home, pool: Pool, versions: list[ProductRef]) -> None:
    with home.pool("jpl8") as other:
        seen = other.ref("urn:jpl8:Rate:1")
        pool.tag(versions[1], "x")
        assert seen.tags == ("x",)
        pool.remove(versions[1])
        assert seen.tags == ()
        assert other.select(Ramp).size() == 0
        assert [ref.serial for ref in other.select()] == [0, 3]


def test_a_long_label_is_cut_in_messages(pool: Pool) -> None:
    with pytest.raises(TagNotFound) as caught:
        pool.untag("x" * 5000)
    assert len(str(caught.value)) < 200
