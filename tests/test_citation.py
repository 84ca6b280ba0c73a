"""Citations: one digest for the same versions, whatever else changes; anyone who has the pool can check it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import homes
import numpy as np
import pytest

from miripool import Context, Pool, Rate
from miripool.errors import IntegrityError, InvalidInput, ProductNotFound, ReadOnly

home = homes.home


@pytest.fixture
def pool(home: Any) -> Pool:
    made: Pool = home.create("jpl8")
    for i, name in enumerate(("one", "two", "one")):
        made.save(Rate(datasets={"SCI": np.full((2, 2), i, "f4")}, name=name))
    return made


def test_it_is_the_digest_of_a_text(pool: Pool) -> None:
    """As docs/howto/as-of.md gives it."""
    one, two, again = (ref.row.manifest for ref in pool.select(all_versions=True))
    versions = [["Rate", "one", 0, one], ["Rate", "one", 1, again], ["Rate", "two", 0, two]]
    content = {"citation": 1, "pool": pool.id, "versions": versions}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    cited = pool.cite(pool.select(all_versions=True))
    assert cited.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert str(cited) == f"sha256:{cited.sha256}"


def test_tags_and_order_do_not_matter(pool: Pool) -> None:
    first = pool.cite(["Rate/two", "Rate/one@0"])
    pool.tag("Rate/one@0", "v1")
    assert pool.cite(["Rate/one@v1", pool.ref("Rate/two"), "Rate/two"]).sha256 == first.sha256
    assert pool.cite("Rate/one@0").sha256 != first.sha256
    assert pool.cite(["Rate/two", "Rate/one"]).sha256 != first.sha256
    assert pool.select(Context).size() == 3
    assert pool.cite(check=first.sha256).context.urn == first.context.urn
    assert [ref.urn for ref in pool.cite(check=f" SHA256:{first.sha256} ").versions] == [
        "urn:jpl8:Rate:0", "urn:jpl8:Rate:1",
    ]  # fmt: skip


def test_the_pool_as_of_a_moment(pool: Pool) -> None:
    with pool.as_of(1) as past:
        cited = pool.cite(past.select())
        assert [ref.version for ref in cited.versions] == [0, 0]
        with pytest.raises(ReadOnly, match="it can only be read"):
            past.cite(past.select())
        assert pool.as_of(3).cite(check=cited.sha256).sha256 == cited.sha256
        with pytest.raises(ProductNotFound, match="pool jpl8 has no citation"):
            past.cite(check=cited.sha256)


def test_what_was_removed_since_is_still_cited(pool: Pool) -> None:
    cited = pool.cite(["Rate/one@0", "Rate/two"])
    pool.remove("Rate/one@0", cascade=True)
    pool.purge("Rate/one@0")
    pool.gc()
    found = pool.cite(check=cited.sha256)
    assert [ref.row.purged is not None for ref in found.versions] == [True, False]
    with pytest.raises(ProductNotFound, match="was removed for good"):
        pool.cite("urn:jpl8:Rate:0")


def test_another_list_under_its_name(pool: Pool) -> None:

    sha256 = "0" * 64
    pool.save(Context({"one": "Rate/one@0"}, name=f"citation {sha256}"))
    with pytest.raises(IntegrityError, match="urn:jpl8:Context:3 does not refer to the versions"):
        pool.cite(check=sha256)


@pytest.mark.parametrize("text", ["", "abc", "sha1:" + "0" * 64, "0" * 63])
def test_what_is_no_citation(pool: Pool, text: str) -> None:
    with pytest.raises(InvalidInput, match="is no citation"):
        pool.cite(check=text)
    with pytest.raises(InvalidInput, match="there is nothing to cite"):
        pool.cite([])


def test_the_command(pool: Pool) -> None:
    (row,) = json.loads(homes.call("cite", "jpl8", "Rate/one@0", "--json").stdout)
    assert row["urn"] == "urn:jpl8:Rate:0"
    pool.remove("Rate/one@0", cascade=True)
    found = homes.call("cite", "jpl8", "--check", row["citation"])
    assert "in the trash" in found.stdout
    assert f"{row['citation']} is right: it cites 1 version" in found.stderr
    with pytest.raises(InvalidInput, match="alone"):
        homes.call("cite", "jpl8", "Rate/one", "--check", row["citation"])
