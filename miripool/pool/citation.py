"""Citations: a digest that names a set of versions, and a context that keeps them, so that others can check it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import IntegrityError, InvalidInput, ProductNotFound
from ..model.canonical import canonical_json
from ..model.names import Urn
from ..model.product import Context
from .reference import ProductRef, ProductRefs
from .resolve import kept
from .save import save
from .trash import serials_among

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..index import ProductRow
    from .core import Core
    from .resolve import Reference

__all__ = ["Citation", "check_citation", "cite"]

_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Citation:
    """What a set of versions is cited by.

    Attributes
    ----------
    sha256 : str
        64 hexadecimal digits. It depends on the pool and the versions alone: on no tag, and on no order.
    context : ProductRef
        A context in the pool that refers to the versions, and never changes.
    versions : ProductRefs
        The versions, those that were removed since too.
    """

    sha256: str
    context: ProductRef
    versions: ProductRefs

    def __str__(self) -> str:
        return f"sha256:{self.sha256}"


def cite(core: Core, refs: Reference | Iterable[Reference]) -> Citation:
    """Cite versions; see `Pool.cite`.

    Parameters
    ----------
    core : Core
        The pool.
    refs : ProductRef, str, or an iterable of them
        The versions.

    Returns
    -------
    Citation
        Its context is saved unless it was there.
    """
    core.refuse_past()
    core.catch_up()
    rows = core.rows(serials_among(core, refs))
    if not rows:
        raise InvalidInput("there is nothing to cite; give at least one version")
    for row in rows:
        kept(core.name, row)
    sha256 = _digest(core, rows)
    named = {f"{row.kind}/{row.name}@{row.version}": Urn(core.name, row.kind, row.serial) for row in rows}
    saved = save(core, Context(named, name=_name(sha256)))
    return _citation(core, sha256, ProductRef(core, saved.row), rows)


def check_citation(core: Core, sha256: str) -> Citation:
    """Check a citation; see `Pool.cite`.

    Parameters
    ----------
    core : Core
        The pool.
    sha256 : str
        As cited.

    Returns
    -------
    Citation
        It is of these versions.
    """
    found = _SHA256.fullmatch(sha256.strip().lower()) if isinstance(sha256, str) else None
    if found is None:
        raise InvalidInput(f"{sha256!r} is no citation; give sha256: and 64 hexadecimal digits")
    core.catch_up()
    track = core.catalog.track(Context.kind, _name(found[1]))
    if not track:
        raise ProductNotFound(f"pool {core.name} has no citation {found[1]}")
    context = ProductRef(core, track[-1])
    links = core.manifest(track[-1]).references
    rows = core.rows([link.serial for link in links])
    for row in rows:
        core.manifest(row)  # it is read, and held against its digest
    if _digest(core, rows) != found[1]:
        raise IntegrityError(f"{context.urn} does not refer to the versions of the citation {found[1]}")
    return _citation(core, found[1], context, rows)


def _citation(core: Core, sha256: str, context: ProductRef, rows: Sequence[ProductRow]) -> Citation:
    return Citation(sha256, context, ProductRefs([(core, row.serial) for row in sorted(rows, key=_track)]))


def _name(sha256: str) -> str:
    return f"citation {sha256}"


def _track(row: ProductRow) -> tuple[str, str, int]:
    return row.kind, row.name, row.version


def _digest(core: Core, rows: Iterable[ProductRow]) -> str:
    """Give the SHA-256 of the canonical text; docs/howto/as-of.md has its form, which never changes."""
    versions = [[*_track(row), row.manifest] for row in sorted(rows, key=_track)]
    return hashlib.sha256(canonical_json({"citation": 1, "pool": core.id, "versions": versions})).hexdigest()
