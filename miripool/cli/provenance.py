"""Commands that tell where versions come from, where they went, and how they differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InvalidInput
from ..model.names import Urn
from ..records.plain import as_json as to_json
from .choosing import AllVersions, Kind, Tagged, Where, Which, choose
from .output import copied_from, emit, say, write
from .session import Csv, Json, PoolName, Spec, one_form, open_pool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..pool.difference import Difference
    from ..pool.lineage import Descent, Source
    from ..pool.reference import ProductRef
    from ..session.pool import Pool

__all__ = ["register"]


def _lineage(context: typer.Context, name: PoolName, spec: Spec, as_json: Json = False) -> None:
    """Show where a version comes from and what was made of it.

    How each was made, and the contexts that refer to it, stand beside it.
    """
    with open_pool(context, name) as pool:
        roots = pool.lineage(spec)
    if as_json:
        from ..records.lineage import descent_record

        write(to_json([descent_record(name, root) for root in roots]))
        return
    seen: set[int] = set()
    for root in roots:
        for line in _draw(name, root, "", "", seen):
            write(line)


def _draw(
    pool: str, node: Descent, first: str, rest: str, seen: set[int], known: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Give the lines of a tree; `first` stands before the first one, `rest` before the others.

    Reference files that are `known` from above are not named again, and what was made of a version is drawn once:
    `seen` has the serials of those that were drawn.
    """
    row = node.row
    tags = f"  [{', '.join(row.tags)}]" if row.tags else ""
    trash = "  removed for good" if row.purged else "  in the trash" if row.removed else ""
    asked = "  ← this" if node.asked else ""
    again = "  (see above)" if row.serial in seen else ""
    yield f"{first}{row.kind}/{row.name}@{row.version}  {Urn(pool, row.kind, row.serial)}{tags}{trash}{asked}{again}"
    if again:
        return
    seen.add(row.serial)
    beside = rest + ("│     " if node.into else "      ")
    yield from (f"{beside}{line}" for line in _about(node, known or {}, above=known is not None))
    for i, below in enumerate(node.into):
        last = i == len(node.into) - 1
        start, further = ("└── ", "    ") if last else ("├── ", "│   ")
        yield from _draw(pool, below, rest + start, rest + further, seen, {**(known or {}), **node.references})


def _about(node: Descent, known: Mapping[str, str], *, above: bool) -> Iterator[str]:
    """Tell how a version was made, one line for each word that there is."""
    if node.source is not None:
        yield _source_line(node.source, above=above)
    overrides: dict[str, str] = {}
    for step in node.history:
        made = f"{step.get('tool', '')} {step.get('version', '')}".strip()
        using = f" with {step['context']}" if step.get("context") not in (None, "", "N/A") else ""
        if isinstance(step.get("copied"), dict):
            yield f"copied from {copied_from(step['copied'])}"
        elif made or using:
            yield f"made by {made or 'an unnamed tool'}{using}"
        overrides |= _given(step, "overrides")
        skipped = _given(step, "skip")
        if skipped:
            yield f"skip {', '.join(skipped)}"
    if not node.history and node.row.filename:
        yield f"from the file {node.row.filename}"
    files = {key.removeprefix("R_").lower(): file for key, file in node.references.items()}
    used = {kind for kind, file in overrides.items() if files.get(kind[:_KEYWORD]) == file}
    marks = {kind[:_KEYWORD] for kind in used}
    own = sorted(key for key, file in node.references.items() if known.get(key) != file)
    if own:
        types = [key.removeprefix("R_").lower() for key in own]
        named = [f"{kind}={files[kind]}{' (override)' if kind in marks else ''}" for kind in types]
        yield f"references {', '.join(named)}"
    unused = [f"{kind}={file}" for kind, file in overrides.items() if kind not in used]
    if unused:
        yield f"overrides {', '.join(unused)}"
    if node.contexts:
        yield f"in {', '.join(f'{c.kind}/{c.name}@{c.version}' for c in node.contexts)}"


_KEYWORD = 6
"""Characters of a reference's type that its keyword has after ``R_``: the gain's is R_GAIN, readnoise's R_READNO."""


def _source_line(source: Source, *, above: bool) -> str:
    if source.how == "inferred":
        return f"made from the version above: {source.why}, inferred"
    if source.how == "recorded" and above:
        return "made from the version above: recorded"
    return f"made from: {source.how}; {source.why}"


def _given(step: Any, what: str) -> dict[str, str]:
    """Read overrides or skipped steps out of a history, which may say what it likes."""
    parameters = step.get("parameters")
    given = parameters.get(what) if isinstance(parameters, dict) else None
    if isinstance(given, dict):
        return {str(key): str(value) for key, value in given.items()}
    return {str(key): "" for key in given} if isinstance(given, list | tuple) else {}


def _uses(
    context: typer.Context,
    name: PoolName,
    of: Annotated[str, typer.Argument(metavar="SPEC|FILE", help="A version, or the name of a reference file.")],
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """List what was made from a version or with a reference."""
    from ..records.lineage import use_record

    one_form(as_json=as_json, as_csv=as_csv)
    with open_pool(context, name) as pool:
        rows = [use_record(name, use) for use in pool.uses(of)]
    columns = ["urn", "kind", "name", "version", "tags", "how"]
    if as_json or as_csv:
        columns = ["urn", "kind", "name", "version", "tags", "created", "bytes", "how"]
    emit(rows, columns, as_json_list=as_json, as_csv=as_csv)


def _diff(
    context: typer.Context,
    name: PoolName,
    old: Annotated[
        str | None, typer.Argument(metavar="[A]", help="A version, or several: 'Ramp/*@cal v1'.", show_default=False)
    ] = None,
    new: Annotated[
        str | None,
        typer.Argument(metavar="[B]", help="Versions of the same products; by default those before A."),
    ] = None,
    kind: Kind = None,
    where: Where = None,
    tag: Tagged = None,
    all_versions: AllVersions = False,
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask", metavar="FILE", help="Write a FITS file with 1 where the arrays of two versions differ."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how two versions differ.

    In elements of arrays, rows of tables, flags, keywords and references.

    If A is several versions, each is compared with the version of the same product in B, or with its previous version.
    """
    from ..pool.export import write_mask

    which = Which(kind, where, tag, all_versions)
    found: list[dict[str, Any]] = []
    with open_pool(context, name) as pool:
        pairs, many = _pairs(pool, old, new, which)
        if mask is not None and len(pairs) != 1:
            raise InvalidInput(
                f"--mask compares two versions only, but {len(pairs)} pairs were selected; name two versions"
            )
        for number, (before, after) in enumerate(pairs):
            difference = pool.diff(before, after)
            if mask is not None:
                names = write_mask(mask, difference, str(before.urn), str(after.urn))
                say(f"wrote {mask}, with {', '.join(names) or 'no array: none changed'}")
            if as_json:
                urns = {"old": str(before.urn), "new": str(after.urn)}
                found.append({**urns, "same": list(difference.same), **difference.to_json()})
                continue
            if number:
                write("")
            _write_difference(before, after, difference)
    if as_json:
        write(to_json(found if many else found[0]))


def _write_difference(before: ProductRef, after: ProductRef, found: Difference) -> None:
    write(f"{_named(before)} → {_named(after)}")
    if not found.words():
        write("no difference except in times of creation")
    if found.elements:
        emit([_element_row(change.to_json()) for change in found.elements], _COLUMNS)
    for label in ("added", "gone"):
        if getattr(found, label):
            write(f"datasets {label}: {', '.join(getattr(found, label))}")
    compared = {change.dataset for change in found.elements}
    rest = [one for one in found.changed if one not in compared]
    if rest:
        write(f"datasets changed: {', '.join(rest)}")
    if found.same:
        write(f"the same: {', '.join(found.same)}")
    for link in found.links:
        write(str(link))
    for card in found.cards:
        write(str(card))


_COLUMNS = ["dataset", "differ", "of", "share", "largest", "at", "old", "new", "more"]


def _element_row(change: dict[str, Any]) -> dict[str, Any]:
    flags = ", ".join(f"{name} +{n['set']} -{n['cleared']}" for name, n in change["flags"].items())
    numbers = {key: f"{change[key]:.7g}" for key in ("largest", "old", "new") if isinstance(change[key], float)}
    return {
        **change,
        **numbers,
        "share": f"{100 * change['differ'] / change['of']:.3g} %" if change["of"] else "",
        "at": "" if change["at"] is None else ", ".join(map(str, change["at"])),
        "more": change["form"] or flags or ", ".join(change["columns"]),
    }


def _pairs(
    pool: Pool, old: str | None, new: str | None, which: Which
) -> tuple[list[tuple[ProductRef, ProductRef]], bool]:
    """Find what is to be compared; say whether it may be any number of pairs."""
    chosen = choose(pool, [old] if old else None, which, removed=True)
    if new is None:
        pairs = ((_before(pool, ref, selected=chosen.selected), ref) for ref in chosen.refs)
        return [(before, ref) for before, ref in pairs if before is not None], chosen.selected
    others = choose(pool, [new], removed=True)
    if not (chosen.selected or others.selected):
        return [(chosen.refs[0], others.refs[0])], False
    return _by_product(chosen.refs, others.refs, old or "what was selected", new), True


def _by_product(
    olds: list[ProductRef], news: list[ProductRef], old: str, new: str
) -> list[tuple[ProductRef, ProductRef]]:
    from ..errors import AmbiguousSpec, ProductNotFound

    before, after = ({(ref.kind, ref.name): ref for ref in refs} for refs in (olds, news))
    for tracks, refs, text in ((before, olds, old), (after, news, new)):
        if len(tracks) < len(refs):
            raise AmbiguousSpec(f"{text!r} has several versions of one product; name one version of each product")
    for one, other, text in ((before, after, new), (after, before, old)):
        for track in one:
            if track not in other:
                say(f"{_named(one[track])} has no other version in {text!r}")
    pairs = [(ref, after[track]) for track, ref in before.items() if track in after]
    if not pairs:
        raise ProductNotFound(f"no product has a version in both {old!r} and {new!r}")
    return pairs


def _before(pool: Pool, ref: ProductRef, *, selected: bool) -> ProductRef | None:
    """Give the version before; where there is none, that is an error unless the versions were selected."""
    from ..errors import ProductNotFound

    before = [other for other in pool.versions(ref, removed=True) if other.version < ref.version]
    if before:
        return before[-1]
    if not selected:
        raise ProductNotFound(f"{_named(ref)} is the first version; name another version to compare it with")
    say(f"{_named(ref)} is the first version")
    return None


def _named(ref: ProductRef) -> str:
    return f"{ref.kind}/{ref.name}@{ref.version}"


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("lineage")(_lineage)
    app.command("uses")(_uses)
    app.command("diff")(_diff)
