"""Addresses that change a pool: tags, trash, contexts, copies. Each answer says what undoes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from ..errors import InvalidInput
from ..pool import tags as tagging
from ..pool import trash as trashing
from ..pool.core import core_of
from ..pool.reference import ProductRefs
from ..records.versions import received_record, version_in_short
from .answers import Json
from .pools import OpenPool, Pools, pools_of, versions_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..index import TagEvent

__all__ = ["router"]

router = APIRouter(prefix="/api/pools/{pool}", tags=["changes"])

_MOST = 100_000


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Serials(_Body):
    """The versions that a change is for."""

    serials: list[int] = Field(min_length=1, max_length=_MOST, description="Serial numbers.")


class Tagging(Serials):
    """Versions that get a tag, or lose it."""

    label: str = Field(description="The tag.")


class Removal(Serials):
    """Versions for the trash."""

    cascade: bool = Field(False, description="Also the contexts that refer to them.")
    dry_run: bool = Field(False, description="Only list what would be removed.")


class Copying(Serials):
    """Versions for another pool."""

    to: str = Field(description="The other pool's name.")
    tag: str | None = Field(None, description="A tag for them there.")
    with_tags: bool = Field(False, description="Also their tags.")


class Freezing(Serials):
    """Versions for a context."""

    name: str = Field(description="The context's name.")
    tag: str | None = Field(None, description="A tag for it.")


def _step(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Give a request that undoes something: to be sent by POST to a path below the pool's."""
    return {"path": path, "body": body}


def _undo_tag(label: str, events: Sequence[TagEvent]) -> list[dict[str, Any]]:
    """Give the requests that put a tag back to where it was."""
    back = [event.previous for event in events if event.previous is not None]
    new = [e.serial for e in events if e.previous is None and e.serial is not None]
    steps = [_step("tag", {"label": label, "serials": back})] if back else []
    return [*steps, *([_step("untag", {"label": label, "serials": new})] if new else [])]


@router.post("/tag")
def tag(pool: OpenPool, body: Tagging) -> Json:
    """Tag versions. Where the tag marks another version of the same product, it moves from there."""
    tagging.check_tag(body.label)
    versions_of(pool, body.serials)
    events = tagging.put(core_of(pool), body.serials, body.label)
    moves = [{"from": event.previous, "to": event.serial} for event in events if event.previous is not None]
    return Json({"changed": len(events), "moves": moves, "undo": _undo_tag(body.label, events)})


@router.post("/untag")
def untag(pool: OpenPool, body: Tagging) -> Json:
    """Take a tag off versions; those without it are passed over."""
    versions_of(pool, body.serials)
    events = tagging.take_off(core_of(pool), body.label, body.serials)
    return Json({"changed": len(events), "moves": [], "undo": _undo_tag(body.label, events)})


@router.post("/remove")
def remove(pool: OpenPool, body: Removal) -> Json:
    """Put versions into the trash, with the exposures that they leave empty."""
    core = core_of(pool)
    refs = versions_of(pool, body.serials)
    gone = core.catalog.rows([ref.serial for ref in trashing.removed_with(core, refs, cascade=body.cascade)])
    changed = 0 if body.dry_run else trashing.remove(core, refs, cascade=body.cascade)
    undo = [_step("restore", {"serials": [row.serial for row in gone]})] if changed else []
    return Json({"changed": changed, "rows": [version_in_short(pool.name, row) for row in gone], "undo": undo})


@router.post("/restore")
def restore(pool: OpenPool, body: Serials) -> Json:
    """Take versions out of the trash."""
    changed = trashing.restore(core_of(pool), versions_of(pool, body.serials))
    return Json({"changed": changed, "undo": [_step("remove", {"serials": body.serials})] if changed else []})


@router.post("/copy")
def copy(pool: OpenPool, body: Copying, pools: Annotated[Pools, Depends(pools_of)]) -> Json:
    """Copy versions to another pool of this home, and tag them there."""
    tagging.check_tag(body.tag)
    if body.to == pool.name:
        raise InvalidInput(f"the versions are in pool {pool.name} already; choose another pool")
    target = pools.pool(body.to)
    received = pool.copy_to(target, versions_of(pool, body.serials), tags=body.with_tags)
    serials = [one.saved.row.serial for one in received]
    if body.tag is not None:
        tagging.put(core_of(target), serials, body.tag)
    return Json({"changed": len(received), "rows": [received_record(target.name, one) for one in received], "undo": []})


@router.post("/context")
def freeze(pool: OpenPool, body: Freezing) -> Json:
    """Save a context that refers to versions: a selection that stays as it is."""
    tagging.check_tag(body.tag)
    refs = ProductRefs([ref.key for ref in versions_of(pool, body.serials)])
    saved = pool.save(refs.to_context(body.name), tag=body.tag)
    return Json(
        {
            "changed": 1,
            "saved": version_in_short(pool.name, core_of(pool).catalog.rows([saved.serial])[0]),
            "undo": [_step("remove", {"serials": [saved.serial]})],
        }
    )
