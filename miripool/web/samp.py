"""Addresses of the user's desktop: the programs that listen there by SAMP, what is sent to them, and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from ..errors import ReadOnly
from ..model.kinds import KINDS, kind_class
from ..pool.core import core_of
from ..pool.listing import TABLE_COLUMNS, astropy_table, column_names
from ..pool.opening import open_images
from ..pool.page import page
from ..pool.sending import send, send_any_table
from ..system.words import counted
from .answers import Json
from .asked import Asked
from .desktop import Desktop, title_of
from .pools import OpenPool, versions_of
from .watching import WaitingRoute, WatchedRoute

if TYPE_CHECKING:
    from ..samp import Client
    from ..session.pool import Pool

__all__ = ["events", "router", "sending"]

router = APIRouter(prefix="/api/samp", route_class=WatchedRoute, tags=["desktop"])
events = APIRouter(prefix="/api/samp", route_class=WaitingRoute, tags=["desktop"])
sending = APIRouter(prefix="/api/pools/{pool}", tags=["desktop"])

_MOST = 100_000
"""Rows of a table at most."""
_WAIT = 20.0
"""Seconds for which a page waits for an event; proxies end requests that take a minute."""
_LOOK = 1.0
"""Seconds between two looks at whether the page is still there."""


def _desktop(request: Request) -> Desktop:
    found: Desktop | None = request.app.state.desktop
    if found is None:
        raise ReadOnly(
            "this server sends nothing to other programs: its pages may be another user's; use `miripool browse`"
        )
    return found


Here = Annotated[Desktop, Depends(_desktop)]


@router.get("")
def list_clients(desktop: Here) -> Json:
    """List the programs that listen, and whether they take images and tables; none where no SAMP hub runs."""
    return _listed(desktop.clients())


@router.post("/connect")
def connect(desktop: Here) -> Json:
    """Be there for other programs from now on, with a SAMP hub of our own if none runs; list those that listen."""
    desktop.join()
    return _listed(desktop.clients())


def _listed(clients: list[Client]) -> Json:
    told = [
        {"id": one.id, "name": title_of(one.name), "images": one.takes_images, "tables": one.takes_tables}
        for one in clients
        if one.takes_images or one.takes_tables
    ]
    return Json({"clients": told})


@events.get("/events")
async def list_events(
    request: Request,
    desktop: Here,
    since: Annotated[int, Query(description="The `last` of the answer before, or of `api/session`.")],
    wait: Annotated[bool, Query(description="Wait up to 20 s for an event if there is none.")] = False,
) -> Json:
    """Tell what other programs pointed at: versions, pixels. `last` is the number of the newest event."""
    await run_in_threadpool(desktop.listen)
    heard = desktop.heard
    left = _WAIT if wait else 0.0
    while left > 0 and heard.last <= since and not heard.has_ended and not await request.is_disconnected():
        await heard.wait(since, _LOOK)
        left -= _LOOK
    return Json({"last": heard.last, "events": heard.after(since)})


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Opening(_Body):
    """Versions that DS9 shows."""

    serials: list[int] = Field(min_length=1, max_length=_MOST, description="Serial numbers.")
    dataset: str | None = Field(None, description="Name of the dataset; SCI, or the first with frames.")


class _Sending(_Body):
    to: str = Field(min_length=1, description="A program: its id, its name, or the beginning of it.")


class Images(_Sending):
    """Versions whose images are sent."""

    serials: list[int] = Field(min_length=1, max_length=_MOST, description="Serial numbers.")
    dataset: str | None = Field(None, description="Name of the dataset; SCI, or the first with frames.")


class Versions(_Sending):
    """Versions that are sent as the rows of a table."""

    serials: list[int] = Field(min_length=1, max_length=_MOST, description="Serial numbers.")


class _Question(_Sending):
    where: str = Field("", description="Condition on versions.")
    tag: str = Field("", description="The versions that this tag marks.")
    all_versions: bool = Field(False, description="All versions, not only the newest.")


class ListOf(_Question):
    """A question, as for the list of products."""

    kind: str = Field("", description="Only this kind.")
    columns: list[str] = Field([], description="Fields and keywords; the usual ones if empty.")
    order: str = Field("-created", description="Fields or keywords to sort by, with commas.")


class _OfPixels(_Question):
    kind: str = Field("RateInts", description="Raw, Ramp, RateInts or Rate.")
    detector: str = Field("", description="Only this detector.")


class FoundPixels(_OfPixels):
    """A search for pixels, as for their list."""

    condition: str = Field("", description="Condition on pixels.")


class OnePixel(_OfPixels):
    """A pixel whose history, or ramps, are sent."""

    x: int = Field(description="Column of the FULL array, from 1.")
    y: int = Field(description="Row of the FULL array, from 1.")


@sending.post("/open")
def open_versions(pool: OpenPool, body: Opening, _: Here) -> Json:
    """Show versions in DS9, as `miripool open` does: it is started if it is not open; two or more blink."""
    sent = open_images(versions_of(pool, body.serials), home=core_of(pool).home, dataset=body.dataset)
    return Json({"client": title_of(sent[-1].client), "sent": len(sent), "total": len(sent)})


@sending.post("/send/images")
def send_images(pool: OpenPool, body: Images, _: Here) -> Json:
    """Send a dataset of versions as FITS files, to a program that shows images."""
    refs = versions_of(pool, body.serials)

    def table() -> Any:
        return _table_of(pool, body.serials, TABLE_COLUMNS)

    name = f"{pool.name}: {counted(len(refs), 'version')}"
    sent = send(refs, body.to, home=core_of(pool).home, dataset=body.dataset, table=table, name=name)
    return Json({"client": title_of(sent[-1].client), "sent": len(sent), "total": len(sent)})


@sending.post("/send/versions")
def send_versions(pool: OpenPool, body: Versions, _: Here) -> Json:
    """Send versions as the rows of a table."""
    refs = versions_of(pool, body.serials)
    table = _table_of(pool, [ref.serial for ref in refs], TABLE_COLUMNS)
    return _send_table(pool, body.to, table, counted(len(refs), "version"))


@sending.post("/send/list")
def send_list(pool: OpenPool, body: ListOf, _: Here) -> Json:
    """Send the answer to a question as a table: its first 100,000 rows."""
    asked = Asked(where=body.where, kind=body.kind, tag=body.tag, all_versions=body.all_versions)
    columns = list(dict.fromkeys(["urn", *(body.columns or TABLE_COLUMNS)]))
    order = [*column_names(body.order), "-serial"]
    found = page(core_of(pool), **asked.options(), order=order, limit=_MOST, offset=0)
    table = _table_of(pool, [row.serial for row in found.rows], columns)
    return _send_table(pool, body.to, table, body.where.strip() or body.kind or body.tag or "products", found.total)


@sending.post("/send/pixels")
def send_pixels(pool: OpenPool, body: FoundPixels, _: Here) -> Json:
    """Send the pixels that satisfy a condition as a table: its first 100,000 rows."""
    found = pool.pixels(
        body.kind,
        body.condition,
        query=body.where or "1",
        tag=body.tag or None,
        all_versions=body.all_versions,
        detector=body.detector or None,
    )
    table = found.to_table(dq_names=True, limit=_MOST)
    total = len(table) if len(table) < _MOST else found.count()
    return _send_table(pool, body.to, table, f"pixels, {body.condition}", total)


@sending.post("/send/pixel")
def send_pixel(pool: OpenPool, body: OnePixel, _: Here) -> Json:
    """Send the history of a pixel, or its ramps, as a table."""
    cls = kind_class(body.kind)
    pixel = pool.pixel(body.x, body.y, detector=body.detector or None)
    read = pixel.history if KINDS[cls.kind].is_rate else pixel.ramps
    table = read(cls, body.where or "1", tag=body.tag or None, all_versions=body.all_versions, dq_names=True)
    return _send_table(pool, body.to, table, f"pixel {body.x}, {body.y}")


def _table_of(pool: Pool, serials: list[int], columns: list[str] | tuple[str, ...]) -> Any:
    return astropy_table(core_of(pool).listing(serials, columns), columns)


def _send_table(pool: Pool, to: str, table: Any, what: str, total: int | None = None) -> Json:
    sent = send_any_table(table, to, home=core_of(pool).home, name=f"{pool.name}: {what}")
    rows = len(table)
    return Json({"client": title_of(sent[-1].client), "sent": rows, "total": rows if total is None else total})
