"""Addresses that change a pool: tags, trash, contexts, copies. Each answer says what undoes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from ..errors import InvalidInput
from ..pool import save as saving
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
    from ..session.pool import Pool

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


class Move(_Body):
    """A move of a tag within one product."""

    before: int | None = Field(description="Serial number of the version that it marked; null for none.")
    after: int | None = Field(description="Serial number of the version that it marked then; null for none.")


class TagMoves(_Body):
    """Moves of a tag that are to be undone."""

    label: str = Field(description="The tag.")
    moves: list[Move] = Field(min_length=1, max_length=_MOST, description="As the change gave them.")


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
    """Give the request that puts a tag back to where it was."""
    moves = [{"before": event.previous, "after": event.serial} for event in events]
    return [_step("undo-tag", {"label": label, "moves": moves})] if moves else []


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


@router.post("/undo-tag")
def undo_tag(pool: OpenPool, body: TagMoves) -> Json:
    """Undo moves of a tag: all of them, or none if somebody has moved it since."""
    tagging.check_tag(body.label)
    if any(move.before is None and move.after is None for move in body.moves):
        raise InvalidInput("a move needs a version before it or after it")
    versions_of(pool, [serial for move in body.moves for serial in (move.before, move.after) if serial is not None])
    events = tagging.put_back(core_of(pool), body.label, [(move.before, move.after) for move in body.moves])
    return Json({"changed": len(events), "undo": _undo_tag(body.label, events)})


@router.post("/remove")
def remove(pool: OpenPool, body: Removal) -> Json:
    """Put versions into the trash, with the exposures that they leave empty."""
    core = core_of(pool)
    refs = versions_of(pool, body.serials)
    if body.dry_run:
        would = [ref.serial for ref in trashing.removed_with(core, refs, cascade=body.cascade)]
        return Json({"changed": 0, "rows": _in_short(pool, would), "undo": []})
    gone = trashing.remove(core, refs, cascade=body.cascade)
    undo = [_step("restore", {"serials": gone})] if gone else []
    return Json({"changed": len(gone), "rows": _in_short(pool, gone), "undo": undo})


def _in_short(pool: Pool, serials: Sequence[int]) -> list[dict[str, Any]]:
    return [version_in_short(pool.name, row) for row in core_of(pool).catalog.rows(serials)]


@router.post("/restore")
def restore(pool: OpenPool, body: Serials) -> Json:
    """Take versions out of the trash."""
    back = trashing.restore(core_of(pool), versions_of(pool, body.serials))
    return Json({"changed": len(back), "undo": [_step("remove", {"serials": back})] if back else []})


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
    core = core_of(pool)
    refs = ProductRefs([ref.key for ref in versions_of(pool, body.serials)])
    saved = saving.save(core, refs.to_context(body.name))
    is_new = saved.status != "unchanged"
    events = [] if body.tag is None else tagging.put(core, [saved.row.serial], body.tag)
    undo = [_step("remove", {"serials": [saved.row.serial]})] if is_new else _undo_tag(body.tag or "", events)
    (told,) = _in_short(pool, [saved.row.serial])
    return Json({"changed": int(is_new), "saved": told, "notice": saved.notice, "undo": undo})
