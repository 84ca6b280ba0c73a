"""Addresses of lists: pools, products, what they have in common, completion, explanations, and files of a list."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response, StreamingResponse

from ..index import check_interrupt
from ..model.keywords import dictionary
from ..model.product import Exposure
from ..pool.core import core_of
from ..pool.explain import explain
from ..pool.find import as_asked
from ..pool.listing import BASIC, column_names, votable
from ..pool.page import Page, facets, keyword_names, keyword_values, page
from ..pool.reasons import why_empty
from ..records.observations import observation_records
from ..records.plain import as_json, csv_text
from ..records.pools import pool_records
from .answers import Json
from .asked import Asked
from .pools import OpenPool, Pools, pools_of
from .watching import QuestionRoute, WatchedRoute

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..session.pool import Pool

__all__ = ["FACETS", "questions", "router"]

router = APIRouter(prefix="/api", route_class=WatchedRoute, tags=["lists"])
questions = APIRouter(prefix="/api", route_class=QuestionRoute, tags=["lists"])

_MOST_ROWS = 1000
_MOST_EXPORTED = 100_000
_PIECE = 500
FACETS = "kind,detector,subarray,filter,exp_type,readpatt,crds_ctx"
"""Columns of the index whose values are counted in one scan."""

Which = Annotated[Asked, Depends()]
Columns = Annotated[str, Query(description="Fields and keywords, with commas between them.")]
Order = Annotated[str, Query(description="Fields or keywords to sort by, with commas; a leading '-' means descending.")]


@router.get("/pools")
def list_pools(pools: Annotated[Pools, Depends(pools_of)]) -> Json:
    """List the pools, as `miripool pools --json` does."""
    return Json([record for record, _ in pool_records(pools.home)])


def _keys(order: str) -> list[str]:
    return [*column_names(order), "-serial"]


@questions.get("/pools/{pool}/products")
def list_products(
    pool: OpenPool,
    asked: Which,
    columns: Columns = "",
    order: Order = "-created",
    limit: Annotated[int, Query(ge=0, le=_MOST_ROWS, description="Rows at most.")] = 100,
    offset: Annotated[int, Query(ge=0, lt=1 << 62, description="Rows to pass over.")] = 0,
) -> Json:
    """List versions, as `miripool ls --json` does, a page at a time.

    `total` is how many there are; where `exact` is false there are more. `python` and `command` give the same answer.
    """
    core = core_of(pool)
    wanted = list(dict.fromkeys([*BASIC, *(["removed"] if asked.trash else []), *column_names(columns)]))
    found = page(core, **asked.options(), order=_keys(order), limit=limit, offset=offset)
    return _listed(pool, asked, order, found, core.listing([row.serial for row in found.rows], wanted))


@questions.get("/pools/{pool}/observations")
def list_observations(
    pool: OpenPool,
    where: Annotated[str, Query(description="Condition on the exposures.")] = "",
    tag: Annotated[str, Query(description="The exposures that this tag marks.")] = "",
    columns: Columns = "",
    order: Order = "-start_time",
    limit: Annotated[int, Query(ge=0, le=_MOST_ROWS, description="Rows at most.")] = 100,
    offset: Annotated[int, Query(ge=0, lt=1 << 62, description="Rows to pass over.")] = 0,
) -> Json:
    """List exposures with their levels: the versions of raw, ramp, rateints and rate that belong together.

    Each row has `levels`: name of the level, `urn`, `version`, `tags`. Keywords that an exposure lacks are its levels'.
    """
    asked = Asked(where=where, kind=Exposure.kind, tag=tag)
    wanted = list(dict.fromkeys([*BASIC, *column_names(columns)]))
    found = page(core_of(pool), **asked.options(), order=_keys(order), limit=limit, offset=offset)
    return _listed(pool, asked, order, found, observation_records(pool, found.rows, wanted))


def _listed(pool: Pool, asked: Asked, order: str, found: Page, rows: list[dict[str, Any]]) -> Json:
    return Json(
        {
            "total": found.total,
            "exact": found.exact,
            "offset": found.offset,
            "rows": rows,
            "reason": _reason(pool, asked) if not found.total else None,
            "python": asked.as_python(pool.name, order),
            "command": asked.as_command(pool.name, order),
        }
    )


def _reason(pool: Pool, asked: Asked) -> str:
    if asked.trash:
        return "the trash is empty"
    condition = asked.condition()
    return why_empty(core_of(pool), condition, None, tag=condition.tag, all_versions=asked.all_versions)


@questions.get("/pools/{pool}/facets")
def list_facets(pool: OpenPool, asked: Which, columns: Columns = FACETS) -> Json:
    """Count the most frequent values of fields and keywords among the versions that match."""
    found = facets(core_of(pool), **asked.options(), columns=column_names(columns))
    return Json(
        [
            {
                "column": one.column,
                "values": [{"value": value, "count": count} for value, count in one.values],
                "missing": one.missing,
                "more": one.more,
                "exact": one.exact,
            }
            for one in found
        ]
    )


@questions.get("/pools/{pool}/explain")
def explain_question(pool: OpenPool, asked: Which) -> Json:
    """Tell what answers each condition and how many versions it leaves, as `miripool ls --explain --json` does."""
    core = core_of(pool)
    condition, label = as_asked(core, asked.condition(), None)
    return Json(explain(core, condition, tag=label, all_versions=asked.all_versions).rows())


@router.get("/pools/{pool}/keywords")
def list_keywords(
    pool: OpenPool,
    prefix: Annotated[str, Query(description="How they begin, or what they contain.")] = "",
    limit: Annotated[int, Query(ge=1, le=_MOST_ROWS, description="How many at most.")] = 20,
) -> Json:
    """List fields and keywords, to complete what is being typed."""
    names = keyword_names(core_of(pool), prefix, limit=limit)
    known = dictionary()
    return Json([{"keyword": name, "description": _title(name, known)} for name in names])


def _title(name: str, known: Any) -> str | None:
    hdu, key = known.resolve(name)
    title: str | None = known.describe(key, hdu or "PRIMARY").title
    return title


@router.get("/pools/{pool}/keywords/{key}/values")
def list_values(
    pool: OpenPool,
    key: str,
    prefix: Annotated[str, Query(description="How they begin.")] = "",
    limit: Annotated[int, Query(ge=1, le=_MOST_ROWS, description="How many at most.")] = 20,
) -> Json:
    """List values that a keyword has, to complete what is being typed."""
    return Json(keyword_values(core_of(pool), key, prefix, limit=limit))


@router.get("/pools/{pool}/tags")
def list_tags(pool: OpenPool) -> Json:
    """List the tags in use, as `miripool tags --json` does."""
    return Json([asdict(tag) for tag in pool.tags()])


@questions.get("/pools/{pool}/list.{form}")
def export_list(
    pool: OpenPool,
    form: Literal["csv", "json", "vot"],
    asked: Which,
    columns: Columns = "",
    order: Order = "-created",
) -> Response:
    """Write a whole list to a file: CSV, JSON or VOTable, with its first 100,000 rows.

    The header `X-Total` has the number of all rows, with a plus sign if there may be more.
    """
    chosen = column_names(columns) or list(BASIC)
    found = page(core_of(pool), **asked.options(), order=_keys(order), limit=_MOST_EXPORTED, offset=0)
    pieces = _pieces(pool, [row.serial for row in found.rows], chosen)
    first = next(pieces, [])  # an unknown column is refused before the answer begins
    headers = {
        "Content-Disposition": f'attachment; filename="products.{form}"',
        "X-Total": f"{found.total}{'' if found.exact else '+'}",
    }
    every = itertools.chain([first], pieces)
    if form == "csv":
        return StreamingResponse(_as_csv(every, chosen), media_type="text/csv; charset=utf-8", headers=headers)
    if form == "json":
        return StreamingResponse(_as_json(every), media_type="application/json", headers=headers)
    rows = [row for piece in every for row in piece]
    return Response(votable(rows, chosen), media_type="application/x-votable+xml", headers=headers)


def _pieces(pool: Pool, serials: Sequence[int], columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(serials), _PIECE):
        check_interrupt()
        yield core_of(pool).listing(serials[start : start + _PIECE], columns)


def _as_csv(pieces: Iterable[list[dict[str, Any]]], columns: Sequence[str]) -> Iterator[str]:
    yield csv_text([], columns) + "\n"
    for rows in pieces:
        if rows:
            yield csv_text(rows, columns, heads=False) + "\n"


def _as_json(pieces: Iterable[list[dict[str, Any]]]) -> Iterator[str]:
    before = "["
    for rows in pieces:
        for row in rows:
            yield before + as_json(row, indent=None)
            before = ",\n"
    yield "[]" if before == "[" else "]"
