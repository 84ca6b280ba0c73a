"""The application: pages, the HTTP API and files of one server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from .. import __version__
from ..pool.images.frames import Frames
from . import changes, files, frames, listing, monitors, pixels, versions
from .access import Access, Guard
from .answers import Json, add_handlers
from .files import STREAMS, KeptFiles
from .pools import Pools, pools_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["make_api", "make_app"]

_STATIC = Path(__file__).parent / "static"


def make_api(pools: Pools, access: Access) -> FastAPI:
    """Make the application, without the guard before it.

    Parameters
    ----------
    pools : Pools
        What it shows.
    access : Access
        What the page is allowed, and its token for changes.

    Returns
    -------
    fastapi.FastAPI
        With the API's description at ``api/openapi.json``.
    """
    app = FastAPI(
        title="miripool",
        version=__version__,
        description="Pools of calibration products: lists, versions, pictures, pixels, monitors, files.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages load files from another host
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.pools = pools
    app.state.access = access
    app.state.frames = Frames()
    app.state.files = KeptFiles()
    app.state.streams = asyncio.Semaphore(STREAMS)
    app.state.places = {}
    add_handlers(app)
    app.add_api_route("/api/session", _session, methods=["GET"], tags=["lists"])
    app.include_router(listing.questions)
    for part in (listing, frames, versions, pixels, monitors, changes, files):
        app.include_router(part.router)
    app.add_api_route("/", _page, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    return app


def make_app(pools: Pools, access: Access) -> ASGIApp:
    """Make the application, guarded.

    Parameters
    ----------
    pools : Pools
        What it shows.
    access : Access
        Who may enter.

    Returns
    -------
    ASGI application
        For a server.
    """
    return Guard(make_api(pools, access), access)


def _session(request: Request, pools: Annotated[Pools, Depends(pools_of)]) -> Json:
    """Tell what the server is, whether it may change pools, and which pools it shows."""
    access: Access = request.app.state.access
    return Json(
        {
            "version": __version__,
            "write": access.write,
            "pools": pools.names(),
        }
    )


def _page() -> Response:
    return FileResponse(_STATIC / "index.html", headers={"Cache-Control": "no-cache"})
