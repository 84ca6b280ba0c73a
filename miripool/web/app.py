"""The application: pages, the HTTP API and files of one server."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from .. import __version__
from ..pool.images.frames import Frames
from . import changes, files, frames, listing, monitors, pixels, samp, versions
from .answers import Json, add_handlers
from .desktop import INSTALL, is_available
from .files import STREAMS, KeptFiles
from .guard import Guard
from .pools import Pools, pools_of
from .prefix import Prefixed
from .readers import Readers
from .visitors import DAV
from .wsgi import Below

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from starlette.types import ASGIApp

    from .desktop import Desktop
    from .visitors import Door, Visitor

__all__ = ["make_api", "make_app"]

_STATIC = Path(__file__).parent / "static"


def make_api(pools: Pools) -> FastAPI:
    """Make the application, without the guard before it.

    Parameters
    ----------
    pools : Pools
        What it shows.

    Returns
    -------
    fastapi.FastAPI
        With the API's description at ``api/openapi.json``.
    """
    # FastAPI means to silence this one by catch_warnings, which that of another thread may undo.
    warnings.filterwarnings("ignore", message=r"The '\w+' attribute with value .* was provided to the `Field\(\)`")
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
    app.state.frames = Frames()
    app.state.files = KeptFiles()
    app.state.readers = Readers(STREAMS)
    app.state.places = {}
    add_handlers(app)
    app.add_api_route("/api/session", _session, methods=["GET"], tags=["lists"])
    for router in (listing.questions, samp.events, samp.sending):
        app.include_router(router)
    for part in (listing, frames, versions, pixels, monitors, changes, files, samp):
        app.include_router(part.router)
    app.add_api_route("/", _page, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    return app


def make_app(
    pools: Pools,
    door: Door,
    *,
    pool: str | None = None,
    dav: WSGIApplication | None = None,
    prefix: str = "",
    desktop: Desktop | None = None,
) -> ASGIApp:
    """Make the application, guarded.

    Parameters
    ----------
    pools : Pools
        What it shows.
    door : Door
        Who may enter.
    pool : str, keyword-only, optional
        What the page shows first, where its address does not say.
    dav : WSGI application, keyword-only, optional
        Pools as files, for WebDAV.
    prefix : str, keyword-only
        What a proxy puts before all paths; from `read_prefix`.
    desktop : Desktop, keyword-only, optional
        The programs that pages send to; none for pages that may be another user's.

    Returns
    -------
    ASGI application
        For a server.
    """
    api = make_api(pools)
    api.state.pool = pool
    api.state.prefix = prefix
    api.state.desktop = desktop
    guarded = Guard(api if dav is None else Below(api, DAV, dav, prefix=prefix), door)
    return Prefixed(guarded, prefix) if prefix else guarded


def _session(request: Request, pools: Annotated[Pools, Depends(pools_of)]) -> Json:
    """Tell what the server is, who asks, whether he may change pools, by which key, and which pools there are.

    `samp` is null where pages send nothing to programs on the desktop.
    """
    visitor: Visitor = request.state.visitor
    desktop: Desktop | None = request.app.state.desktop
    return Json(
        {
            "version": __version__,
            "user": visitor.user,
            "write": visitor.write,
            "key": visitor.key,
            "pool": request.app.state.pool,
            "samp": desktop and {"available": is_available(), "install": INSTALL, "last": desktop.heard.last},
            "pools": pools.names(),
        }
    )


def _page() -> Response:
    return FileResponse(_STATIC / "index.html", headers={"Cache-Control": "no-cache"})
