"""Which versions a command works on: SPECs, beginnings of names, wildcards, and the options that choose."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from ..system.words import counted
from .output import say
from .progress import counting
from .session import confirm, core_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..model.product import Product
    from ..pool.reference import ProductRef
    from ..query import Query
    from ..session.pool import Pool

__all__ = [
    "AllVersions",
    "Chosen",
    "Kind",
    "SomeSpecs",
    "Tagged",
    "Where",
    "Which",
    "WholeSpecs",
    "choose",
    "choose_in_trash",
    "count_versions",
    "query_of",
]

Kind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="Only this kind: Raw, Ramp, RateInts, Rate …; Product means products that have none of these kinds.",
        show_default=False,
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where", metavar="EXPR", help="Only versions that satisfy this condition; see `ls`.", show_default=False
    ),
]


def _refuse_empty(tag: str | None) -> str | None:
    """Refuse an empty tag, as a shell's variable that is not set gives: it would mean all versions."""
    from ..errors import InvalidInput

    if tag is not None and not tag.strip():
        raise InvalidInput("--tag is empty; give a tag or leave --tag out")
    return tag


Tagged = Annotated[
    str | None,
    typer.Option(
        "--tag",
        metavar="LABEL",
        help="Only versions that this tag marks.",
        callback=_refuse_empty,
        show_default=False,
    ),
]
SomeSpecs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SPEC]…",
        help="Versions: URN, Kind/name, Kind/name@version, Kind/name@tag, the beginning of a name, or a pattern: "
        "'Ramp/jw01033*'.",
        show_default=False,
    ),
]
WholeSpecs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SPEC]…",
        help="Versions: URN, Kind/name, Kind/name@version, Kind/name@tag, or a pattern: 'Ramp/jw01033*'.",
        show_default=False,
    ),
]
AllVersions = Annotated[bool, typer.Option("--all-versions", help="All versions, not only the newest.")]

_WILD = re.compile(r"[*?]")
_SHOWN = 8
"""Names that an error lists."""


@dataclass(frozen=True, slots=True)
class Which:
    """The options of a command that choose versions.

    Attributes
    ----------
    kind, where, tag : str or None
        Of this kind alone, of those that a condition holds for, of those that a tag marks.
    all_versions : bool
        Not only the newest.
    """

    kind: str | None = None
    where: str | None = None
    tag: str | None = None
    all_versions: bool = False

    def __bool__(self) -> bool:
        return any((self.kind, self.where, self.tag, self.all_versions))


@dataclass(frozen=True, slots=True)
class Chosen:
    """The versions that a command works on.

    Attributes
    ----------
    refs : list of ProductRef
        Each once, in the order of the SPECs, and then of saving.
    selected : bool
        Whether a wildcard or an option chose them: the user has not seen their names.
    """

    refs: list[ProductRef]
    selected: bool

    def announce(self, what: str) -> None:
        """Say how many versions were selected; nothing where the user named them one by one.

        Parameters
        ----------
        what : str
            What is done with them, e.g. ``tagging``.
        """
        if self.selected:
            say(f"{what} {count_versions(len(self.refs))}")

    def confirm(self, what: str, *, yes: bool) -> None:
        """Ask before a command changes many versions that the user did not name one by one.

        Parameters
        ----------
        what : str
            What is done to them, e.g. ``put into the trash``.
        yes : bool, keyword-only
            The user has said so already.

        Raises
        ------
        InvalidInput
            If there is no terminal to ask at.
        """
        if self.selected and self.refs:
            tracks = len({(ref.kind, ref.name) for ref in self.refs})
            versions, products = count_versions(len(self.refs)), counted(tracks, "product")
            confirm(f"{versions} of {products} will be {what}. Continue?", yes=yes)


def count_versions(number: int) -> str:
    """Write a number of versions.

    Parameters
    ----------
    number : int
        How many.

    Returns
    -------
    str
        ``1 version``, ``2 versions``.
    """
    return counted(number, "version")


def choose(
    pool: Pool,
    specs: Sequence[str] | None,
    which: Which | None = None,
    *,
    whole_names: bool = False,
    cls: type[Product] | None = None,
    removed: bool = False,
    marked: str | None = None,
) -> Chosen:
    """Find the versions that a command works on. Options narrow what SPECs name.

    Parameters
    ----------
    pool : Pool
        The pool.
    specs : sequence of str or None
        URNs, SPECs, beginnings of names, or with ``*`` and ``?`` in kind or name.
    which : Which, optional
        The options.
    whole_names : bool, keyword-only
        A beginning of a name is not enough.
    cls : type of Product, keyword-only, optional
        The kind that a bare name and a wildcard without a kind mean.
    removed : bool, keyword-only
        A version in the trash may be named, too.
    marked : str, keyword-only, optional
        Wildcards and options choose among the versions that this tag marks, instead of the newest.

    Returns
    -------
    Chosen
        The versions.

    Raises
    ------
    InvalidInput
        If nothing says which versions.
    ProductNotFound
        If a SPEC fits nothing.
    AmbiguousSpec
        If a beginning fits several products.
    """
    from ..errors import InvalidInput

    which = which or Which()
    core_of(pool).catch_up()
    if not specs:
        if not which:
            raise InvalidInput("say which versions: SPECs, wildcards such as 'Ramp/jw01033*', --where, --kind or --tag")
        return _told(pool, Chosen(list(_select(pool, which, cls=cls, marked=marked)), selected=True))
    found: dict[int, ProductRef] = {}
    selected = bool(which)
    for spec in specs:
        refs, wild = _named(pool, spec, which, whole_names=whole_names, cls=cls, removed=removed, marked=marked)
        selected |= wild
        found |= {ref.serial: ref for ref in refs}
    refs = list(found.values())
    if which and refs:
        refs = list(_select(pool, which, among=refs, cls=cls))
    return _told(pool, Chosen(refs, selected))


def _told(pool: Pool, chosen: Chosen) -> Chosen:
    """Say so where nothing was selected."""
    if not chosen.refs:
        say(f"no version in pool {core_of(pool)} satisfies all conditions")
    return chosen


def choose_in_trash(pool: Pool, specs: Sequence[str], *, kind: str | None = None) -> Chosen:
    """Find versions in the trash that a command works on.

    Parameters
    ----------
    pool : Pool
        The pool.
    specs : sequence of str
        URNs, SPECs, or with ``*`` and ``?``.
    kind : str, keyword-only, optional
        Of this kind alone.

    Returns
    -------
    Chosen
        The versions; of one that is named and not in the trash, `removed` is None.

    Raises
    ------
    InvalidInput
        If nothing says which versions.
    ProductNotFound
        If a SPEC fits nothing in the trash.
    """
    from ..errors import InvalidInput, ProductNotFound
    from ..model.kinds import kind_class
    from ..pool.trash import in_trash

    if not specs and kind is None:
        raise InvalidInput("say which versions: SPECs, wildcards such as 'Ramp/jw01033*', or --kind")
    only = None if kind is None else kind_class(kind).kind
    if not specs:
        return Chosen([ref for ref in pool.trash(only) if ref.kind == only], selected=True)
    found: dict[int, ProductRef] = {}
    selected = kind is not None
    for spec in specs:
        if (pattern := _Pattern.read(spec)) is None or _exact(pool, spec, removed=True):
            refs = [in_trash(core_of(pool), spec)]
        else:
            selected = True
            refs = [ref for ref in pool.trash() if pattern.fits(ref)]
            if not refs:
                raise ProductNotFound(f"no version in the trash of pool {pool.name} matches {spec!r}")
        found |= {ref.serial: ref for ref in refs}
    return Chosen([ref for ref in found.values() if only in (None, ref.kind)], selected)


def _named(
    pool: Pool,
    spec: str,
    which: Which,
    *,
    whole_names: bool,
    cls: type[Product] | None,
    removed: bool,
    marked: str | None,
) -> tuple[list[ProductRef], bool]:
    """Find what one SPEC names; say whether it was a wildcard."""
    from ..errors import ProductNotFound

    pattern = _Pattern.read(spec)
    exact = _exact(pool, spec, removed=removed, cls=cls)
    if exact is not None:
        unspecific = "@" not in spec and ":" not in spec  # the name stands for all versions that the options fit
        return (pool.versions(exact) if unspecific and (which.all_versions or which.tag) else [exact]), False
    if pattern is not None:
        refs = list(pattern.find(pool, replace(which, tag=which.tag or marked), cls=cls))
        if not refs:
            raise ProductNotFound(f"no version in pool {core_of(pool)} matches {spec!r}")
        return refs, True
    beginning = None if whole_names else _by_beginning(pool, spec, cls)
    return [pool.ref(_of_kind(spec, cls) if beginning is None else beginning, removed=removed)], False


def _of_kind(spec: str, cls: type[Product] | None) -> str:
    """A bare name means a product of the kind that the command works on."""
    return spec if cls is None or ":" in spec or "/" in spec else f"{cls.kind}/{spec}"


def _exact(pool: Pool, spec: str, *, removed: bool, cls: type[Product] | None = None) -> ProductRef | None:
    """Give what a SPEC names exactly; None where nothing has that name."""
    from ..model.names import parse_spec

    spec = _of_kind(spec, cls)
    parsed = parse_spec(spec)
    if parsed.name is not None and not _is_name(pool, parsed.name):
        return None
    return pool.ref(spec, removed=removed)


def _is_name(pool: Pool, name: str) -> bool:
    """Tell whether a product has this very name, be it in the trash."""
    from ..model.kinds import KINDS

    core = core_of(pool)
    core.catch_up()
    return bool(core.catalog.by_name(name)) or any(core.catalog.track(kind, name) for kind in KINDS)


def _by_beginning(pool: Pool, spec: str, cls: type[Product] | None) -> str | None:
    """Complete the beginning of a name; None where no product's name begins so."""
    from ..errors import AmbiguousSpec

    pattern = _Pattern.of_beginning(_of_kind(spec, cls))
    if pattern is None:
        return None
    tracks = sorted({(ref.kind, ref.name) for ref in pattern.find(pool, Which(), cls=cls)})
    if len(tracks) > 1:
        more = f" and {len(tracks) - _SHOWN} more" if len(tracks) > _SHOWN else ""
        shown = ", ".join(f"{kind}/{name}" for kind, name in tracks[:_SHOWN])
        raise AmbiguousSpec(f"{spec!r} is ambiguous: {shown}{more} begin with it; give the kind or more of the name")
    return f"{tracks[0][0]}/{tracks[0][1]}{pattern.which}" if tracks else None


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A SPEC with wildcards, or the beginning of a name."""

    kind: str | None
    name: str
    version: int | None
    label: str | None

    @classmethod
    def read(cls, spec: str) -> _Pattern | None:
        """Read a SPEC; None where it has no wildcard."""
        from ..model.names import parse_spec

        parsed = parse_spec(spec)
        if parsed.name is None or not _WILD.search(f"{parsed.kind or ''}{parsed.name}"):
            return None
        return cls(parsed.kind, parsed.name, parsed.version, parsed.label)

    @classmethod
    def of_beginning(cls, spec: str) -> _Pattern | None:
        """Read a SPEC as the beginning of a name; None for a URN."""
        from ..model.names import parse_spec

        parsed = parse_spec(spec)
        if parsed.name is None:
            return None
        return cls(parsed.kind, f"{parsed.name}*", parsed.version, parsed.label)

    @property
    def which(self) -> str:
        """What stands behind the name in a SPEC."""
        return "" if self.version is None and self.label is None else f"@{self.label or self.version}"

    def fits(self, ref: ProductRef) -> bool:
        """Tell whether a version has such a name."""
        return (
            (self.kind is None or _match(self.kind.lower(), ref.kind.lower()))
            and _match(self.name, ref.name)
            and self.version in (None, ref.version)
            and (self.label is None or self.label in ref.tags)
        )

    def find(self, pool: Pool, which: Which, *, cls: type[Product] | None) -> Iterator[ProductRef]:
        """Find the living versions that fit."""
        from ..model.kinds import KINDS, kind_class
        from ..model.product import Product
        from ..query import Query

        if self.kind is None:
            kinds = [cls or Product]
        elif _WILD.search(self.kind):
            kinds = [KINDS[k].cls for k in KINDS if _match(self.kind.lower(), k.lower())]
        else:
            kinds = [kind_class(self.kind)]
        every = self.version is not None or which.all_versions
        for kind in kinds:
            query = Query(
                kind, "p", f"p.name like {_quoted(self.name)}", all_versions=every, tag=self.label or which.tag
            )
            found = (ref for ref in pool.select(query) if self.kind is None or ref.kind == kind.kind)
            yield from (ref for ref in found if self.fits(ref))


def _quoted(text: str) -> str:
    """Write text as a condition has it; names have no backslashes, but a user may type one."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _match(pattern: str, text: str) -> bool:
    """Compare with ``*`` and ``?``; brackets are themselves, as names have them."""
    parts = ("." + "*" * (c == "*") if c in "*?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _select(
    pool: Pool,
    which: Which,
    *,
    among: Sequence[ProductRef] | None = None,
    cls: type[Product] | None = None,
    marked: str | None = None,
) -> Iterable[ProductRef]:
    query = query_of(which, cls=cls, marked=marked)
    with counting("looking at data") as told:
        return pool.select(query, among, progress=told)


def query_of(which: Which, *, cls: type[Product] | None = None, marked: str | None = None) -> Query:
    """Make the query that options mean.

    Parameters
    ----------
    which : Which
        The options. The kind is that kind alone, as in ``Product/*`` and in ``kind == 'Product'``.
    cls : type of Product, keyword-only, optional
        The class to look for where no kind is named; its subclasses match.
    marked : str, keyword-only, optional
        Look among the versions that this tag marks, where the options name no tag.

    Returns
    -------
    Query
        It calls no function of this program, whatever the user types.

    Raises
    ------
    InvalidInput
        If there is no such kind, or the condition is empty or can't be read.
    """
    from ..errors import InvalidInput
    from ..model.product import Product
    from ..query import Query

    if which.where is not None and not which.where.strip():
        raise InvalidInput("--where is empty; give a condition or leave --where out")
    text = "1" if which.where is None else which.where
    query = Query(cls or Product, "p", text, all_versions=which.all_versions, tag=which.tag or marked, functions={})
    return query if which.kind is None else query.of_kind(which.kind)
