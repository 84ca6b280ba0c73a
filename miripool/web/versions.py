"""Addresses of one version: what is known of it, where it comes from, and how it differs from another."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from ..pool.core import core_of
from ..records.lineage import descent_record, use_record
from ..records.tracks import track_record
from ..records.versions import version_in_short, version_record
from .answers import Json
from .pools import OpenPool, Version, version_of
from .watching import WatchedRoute

__all__ = ["router"]

router = APIRouter(prefix="/api/pools/{pool}/products/{serial}", route_class=WatchedRoute, tags=["versions"])


@router.get("")
def show(pool: OpenPool, ref: Version) -> Json:
    """Give all that is known of a version but its arrays, as `miripool show --json` does."""
    return Json(version_record(pool, ref))


@router.get("/versions")
def list_versions(
    pool: OpenPool,
    ref: Version,
    columns: Annotated[str, Query(description="Further fields and keywords, with commas between them.")] = "",
) -> Json:
    """List all versions of the same product, the oldest first, with those in the trash."""
    core = core_of(pool)
    rows = core.catalog.track(ref.kind, ref.name)
    more = core.listing([row.serial for row in rows], columns) if columns else [{} for _ in rows]
    told = [{**version_in_short(pool.name, row), "removed": row.removed, "head": row.head} for row in rows]
    return Json([{**further, **one} for one, further in zip(told, more, strict=True)])


@router.get("/track")
def show_track(pool: OpenPool, ref: Version) -> Json:
    """Tell what happened to the product, and what changed from version to version, as `miripool log --json` does."""
    record = track_record(pool, ref.urn)
    words = {str(number): lines for number, lines in record.words.items()}
    return Json({**record.to_json(), "words": words, "notices": record.notices})


@router.get("/lineage")
def show_lineage(pool: OpenPool, ref: Version) -> Json:
    """Tell what the version was made from and what was made of it, as `miripool lineage --json` does."""
    return Json([descent_record(pool.name, root) for root in pool.lineage(ref)])


@router.get("/uses")
def list_uses(pool: OpenPool, ref: Version) -> Json:
    """List the versions that were made from it, or refer to it, as `miripool uses --json` does."""
    return Json([use_record(pool.name, use) for use in pool.uses(ref)])


@router.get("/diff/{other}")
def show_difference(pool: OpenPool, ref: Version, other: int) -> Json:
    """Tell what differs, from this version to the other."""
    found = pool.diff(ref, version_of(pool, other))
    return Json({**found.to_json(), "words": found.words()})
