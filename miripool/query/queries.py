"""Query objects: what is asked, of which kinds, of which versions. They know nothing of pools."""

from __future__ import annotations

import functools
import inspect
import operator
import types
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ..errors import InvalidInput, QueryError
from ..instruments.known import extent
from ..model.keywords import dictionary
from ..model.kinds import KINDS, kind_class, kinds_matching
from ..model.product import Product
from .division import needs
from .normal import normalise
from .parser import parse
from .pixelwhere import parse_pixels
from .text import to_text
from .tree import ALL, And, Node, PythonCall, Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "AttribQuery",
    "FullQuery",
    "MetaQuery",
    "PixelQuery",
    "Query",
    "as_query",
    "check_detector",
    "check_region",
    "functions_in",
]


class Query:
    """A question to a pool. It can't be changed, and equals any query that asks the same.

    ``Query("ngroups >= 20")``, ``Query(RateInts, "p", "p.data.max() > 1.0")``, ``Query(RateInts, lambda p: ...)``,
    ``Query(RateInts)``. A string may call plain functions of the caller, ``"testImage(p)"``: they are looked up
    among the caller's names when the query is made.

    Parameters
    ----------
    *question : class, str or callable
        Up to three arguments: a kind (class or name; its subclasses match too), the name of the product in the
        predicate (``p`` if left out), and the predicate (text or function; all products if left out). A predicate can
        be given alone.
    allVersions, all_versions : bool, keyword-only, optional
        Every living version, not only the heads.
    tag : str, keyword-only, optional
        The versions that this tag marks, heads or not.
    functions : mapping of str to callable, keyword-only, optional
        Functions that the predicate may call, instead of those of the caller. Give ``{}`` if you don't trust the text.

    Attributes
    ----------
    kinds : tuple of str
        Names of the kinds that match.
    variable : str
        Name of the product in the predicate.
    node : Node
        The predicate in normal form.
    all_versions : bool
        Every living version, not only the heads.
    tag : str or None
        The versions that this tag marks.

    Raises
    ------
    QueryError
        If the predicate can't be read; the message shows where.
    InvalidInput
        If there is no such kind, or the arguments have another form.
    """

    __slots__ = ("all_versions", "kinds", "node", "tag", "variable")

    kinds: tuple[str, ...]
    variable: str
    node: Node
    all_versions: bool
    tag: str | None

    _reads_data: ClassVar[bool] = True

    def __init__(
        self,
        *question: Any,
        allVersions: bool | None = None,  # noqa: N803 -- HIPE's name
        all_versions: bool | None = None,
        tag: str | None = None,
        functions: Mapping[str, Callable[[Any], Any]] | None = None,
    ) -> None:
        cls, variable, where, last = _read_question(type(self).__name__, question)
        versions = [v for v in (allVersions, all_versions, last) if v is not None]
        if len(set(map(bool, versions))) > 1:
            raise InvalidInput("allVersions and all_versions mean the same, but contradict each other here")
        if isinstance(where, str):
            callable_ = functions_in(_frame_of_caller()) if functions is None else functions
            # The dictionary of keywords takes a while to read, and all versions need none.
            node = ALL if where == "1" else parse(where, variable, names=dictionary(), functions=callable_)
        else:
            node = Truth(PythonCall(getattr(where, "__name__", type(where).__name__), where))
        self._fill(tuple(kinds_matching(cls)), variable, node, bool(versions and versions[0]), tag)

    def _fill(self, kinds: tuple[str, ...], variable: str, node: Node, all_versions: bool, tag: str | None) -> None:
        if tag is not None and not (isinstance(tag, str) and tag):
            raise InvalidInput("tag= takes the name of one tag")
        if not self._reads_data and not needs(node).isdisjoint({"data", "statistics", "python"}):
            raise QueryError(f"a {type(self).__name__} asks for metadata only, not for datasets; use a FullQuery")
        state = {"kinds": kinds, "variable": variable, "node": node, "all_versions": all_versions, "tag": tag}
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a query can't be changed; make another one ({name})")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a query can't be changed; make another one ({name})")

    @property
    def predicate(self) -> Callable[[Any], bool]:
        """The predicate as a function of a product; it ignores kinds, versions and tags."""
        from .evaluator import evaluate

        return functools.partial(evaluate, self.node)

    @property
    def where(self) -> str:
        """The predicate as text, in normal form."""
        return to_text(self.node, self.variable)

    def replace(self, *, all_versions: bool | None = None, tag: str | None = None) -> Self:
        """Give the same query for other versions.

        Parameters
        ----------
        all_versions : bool, keyword-only, optional
            Unchanged if not given.
        tag : str, keyword-only, optional
            Unchanged if not given.

        Returns
        -------
        Query
            Of the same class.
        """
        made = object.__new__(type(self))
        versions = self.all_versions if all_versions is None else all_versions
        made._fill(self.kinds, self.variable, self.node, versions, self.tag if tag is None else tag)
        return made

    def narrowed(self, node: Node) -> Self:
        """Give the same query with one more condition.

        Parameters
        ----------
        node : Node
            The condition.

        Returns
        -------
        Query
            Of the same class.
        """
        made = self.replace()
        object.__setattr__(made, "node", normalise(And((self.node, node))))
        return made

    def of_kind(self, kind: str) -> Self:
        """Give the same query for one kind alone, without its subclasses.

        Parameters
        ----------
        kind : str
            E.g. ``RateInts``, any case; ``Product`` means products of no other kind.

        Returns
        -------
        Query
            Of the same class.

        Raises
        ------
        InvalidInput
            If there is no such kind.
        """
        made = self.replace()
        object.__setattr__(made, "kinds", (kind_class(kind).kind,))
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Query) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return self.kinds, self.node, self.all_versions, self.tag

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.kinds, self.variable, self.node, self.all_versions, self.tag)

    def __repr__(self) -> str:
        every = self.kinds == tuple(kinds_matching(Product))
        kinds = "Product" if every else "Product alone" if self.kinds == ("Product",) else "|".join(self.kinds)
        versions = ", allVersions=True" if self.all_versions else ""
        tag = "" if self.tag is None else f", tag={self.tag!r}"
        return f"{type(self).__name__}({kinds}, {self.variable!r}, {self.where!r}{versions}{tag})"


class FullQuery(Query):
    """A question about metadata and content: ``FullQuery(RateInts, "p", "p.data.max() > 1.0")``."""

    __slots__ = ()


class MetaQuery(Query):
    """A question about metadata: ``MetaQuery(Ramp, "p", "p.meta['ngroups'].value >= 20")``; it reads no array."""

    __slots__ = ()
    _reads_data = False


class AttribQuery(MetaQuery):
    """HIPE's question about a product's attributes, which are ordinary metadata here: the same as `MetaQuery`."""

    __slots__ = ()


class PixelQuery(Query):
    """A question about single pixels: ``PixelQuery(RateInts, "rate > 1.0 and dq is null", at_least=10)``.

    It finds the versions in which at least `at_least` pixels satisfy a condition. It needs their pixel rows.

    Parameters
    ----------
    kind : class or str
        Raw, Ramp, RateInts or Rate.
    pixels : str, optional
        Condition on a pixel's columns, see `miripool.query.pixelwhere`; all pixels if not given.
    at_least : int, keyword-only
        How many pixels must satisfy it.
    region : (int, int, int, int), keyword-only, optional
        First and last column, first and last row to look at, in the FULL array, from 1; ends included.
    where : str, keyword-only, optional
        Condition on the product too, as for `Query`.
    detector : str, keyword-only, optional
        Name of a detector, e.g. ``"MIRIMAGE"``, in capitals or not; all detectors if not given.
    allVersions, all_versions, tag : object, keyword-only, optional
        As for `Query`.

    Raises
    ------
    QueryError
        If a condition can't be read, or the kind has no such column.
    InvalidInput
        If the kind has no pixels, the region is not inside the FULL array, or the detector is not a name.
    """

    __slots__ = ("at_least", "condition", "detector", "region", "text")

    condition: Node
    at_least: int
    detector: str | None
    region: tuple[int, int, int, int] | None
    text: str

    def __init__(
        self,
        kind: type[Product] | str,
        pixels: str = "",
        *,
        at_least: int = 1,
        region: tuple[int, int, int, int] | None = None,
        where: str = "",
        allVersions: bool | None = None,  # noqa: N803 -- HIPE's name
        all_versions: bool | None = None,
        tag: str | None = None,
        detector: str | None = None,
    ) -> None:
        cls = kind_class(kind) if isinstance(kind, str) else kind
        super().__init__(cls, "p", where, allVersions=allVersions, all_versions=all_versions, tag=tag, functions={})
        if isinstance(at_least, bool) or not isinstance(at_least, Integral) or at_least < 1:
            raise InvalidInput(f"at_least={at_least!r}: give a whole number of 1 or more")
        name = check_detector(detector)
        self._ask(parse_pixels(pixels, cls.kind), pixels, int(at_least), check_region(region, name), name)

    def _ask(
        self,
        condition: Node,
        text: str,
        at_least: int,
        region: tuple[int, int, int, int] | None,
        detector: str | None,
    ) -> None:
        state = {"condition": condition, "text": text, "at_least": at_least, "region": region, "detector": detector}
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def replace(self, *, all_versions: bool | None = None, tag: str | None = None) -> Self:
        """Give the same query for other versions; as for `Query`."""
        made = super().replace(all_versions=all_versions, tag=tag)
        made._ask(self.condition, self.text, self.at_least, self.region, self.detector)
        return made

    def _key(self) -> tuple[object, ...]:
        return (*super()._key(), self.condition, self.at_least, self.region, self.detector)

    def __reduce__(self) -> tuple[Any, ...]:
        options = {"at_least": self.at_least, "region": self.region, "where": self.where}
        options |= {"all_versions": self.all_versions, "tag": self.tag, "detector": self.detector}
        return _restore_pixels, (self.kinds[0], self.text, options)

    def __repr__(self) -> str:
        region = "" if self.region is None else f", region={self.region}"
        where = "" if self.where == "1" else f", where={self.where!r}"
        versions = ", allVersions=True" if self.all_versions else ""
        tag = "" if self.tag is None else f", tag={self.tag!r}"
        detector = "" if self.detector is None else f", detector={self.detector!r}"
        options = f"at_least={self.at_least}{region}{where}{versions}{tag}{detector}"
        return f"PixelQuery({self.kinds[0]}, {self.text!r}, {options})"


def check_region(region: Any, detector: str | None = None) -> tuple[int, int, int, int] | None:
    """Insist that a region is one of the FULL array.

    Parameters
    ----------
    region : (int, int, int, int) or None
        First and last column, first and last row.
    detector : str, optional
        Of this detector; of any unless given.

    Returns
    -------
    tuple of int, or None
        The same.

    Raises
    ------
    InvalidInput
        If it is not.
    """
    if region is None:
        return None
    try:
        x1, x2, y1, y2 = (operator.index(n) for n in region)
    except (TypeError, ValueError):
        raise InvalidInput(f"region={region!r}: write (first column, last column, first row, last row)") from None
    columns, rows = extent(detector)
    if not (1 <= x1 <= x2 <= columns and 1 <= y1 <= y2 <= rows):
        raise InvalidInput(
            f"region={region!r} is not a region of the detector, whose columns go from 1 to {columns} and rows from 1 "
            f"to {rows}; write (first column, last column, first row, last row)"
        )
    return x1, x2, y1, y2


def check_detector(detector: Any) -> str | None:
    """Insist that a detector is given by its name.

    Parameters
    ----------
    detector : str or None
        E.g. ``MIRIMAGE``, in capitals or not.

    Returns
    -------
    str or None
        In capitals.

    Raises
    ------
    InvalidInput
        If it is no name.
    """
    if detector is None:
        return None
    if not isinstance(detector, str) or not detector.strip():
        raise InvalidInput(f"detector={detector!r}: write a detector's name, e.g. 'MIRIMAGE'")
    return detector.strip().upper()


def _restore_pixels(kind: str, text: str, options: dict[str, Any]) -> PixelQuery:
    return PixelQuery(kind, text, **options)


def _restore(cls: type[Query], *state: Any) -> Query:
    made = object.__new__(cls)
    made._fill(*state)
    return made


def as_query(given: Any, *, functions: Mapping[str, Callable[[Any], Any]] | None = None) -> Query:
    """Make a query of what a select takes.

    Parameters
    ----------
    given : Query, str, callable or class
        A query as it is; a predicate, as text or as a function; a kind.
    functions : mapping of str to callable, keyword-only, optional
        What a text may call; nothing, if not given. `functions_in` lists a caller's.

    Returns
    -------
    Query
        What is asked.

    Raises
    ------
    QueryError
        If the predicate can't be read.
    InvalidInput
        If it is none of these.
    """
    if isinstance(given, Query):
        return given
    if isinstance(given, (str, type)) or callable(given):
        return Query(given, functions=functions or {})
    raise InvalidInput(f"a query is text, a function, a kind or a Query, not a {type(given).__name__}")


def _read_question(asked: str, question: tuple[Any, ...]) -> tuple[type[Product], str, Any, bool | None]:
    """Sort out kind, variable and predicate; HIPE's fourth, positional argument is allVersions."""
    forms = f'{asked}(Ramp, "p", "p.ngroups >= 20"), {asked}(Ramp, function), {asked}("ngroups >= 20")'
    parts = list(question)
    cls: type[Product] = Product
    if parts and (isinstance(parts[0], type) or (len(parts) > 1 and isinstance(parts[0], str))):
        first = parts.pop(0)
        cls = kind_class(first) if isinstance(first, str) else first
        if not issubclass(cls, Product):
            raise InvalidInput(f"{cls.__name__} is not a kind of product; the kinds are {', '.join(KINDS)}")
    last = parts.pop() if parts and isinstance(parts[-1], bool) else None
    variable = "p"
    if len(parts) == 2 and isinstance(parts[0], str) and isinstance(parts[1], str):
        variable = parts.pop(0)
        if not variable.isidentifier():
            raise InvalidInput(f"{variable!r} can't be the name of the product in a predicate; write {forms}")
    if len(parts) > 1 or not (not parts or isinstance(parts[0], str) or callable(parts[0])):
        raise InvalidInput(f"write a query as {forms}")
    return cls, variable, parts[0] if parts else "", last


def _frame_of_caller() -> types.FrameType | None:
    """Give the frame that made the query: two steps up from here."""
    frame = inspect.currentframe()
    made = frame.f_back if frame is not None else None
    return made.f_back if made is not None else None


def functions_in(frame: types.FrameType | None) -> dict[str, Callable[[Any], Any]]:
    """List the plain functions that can be seen from a frame.

    Parameters
    ----------
    frame : frame or None
        Of the caller whose functions a predicate may call.

    Returns
    -------
    dict of str to callable
        Locals before globals; functions only, for calling anything else is no way to look at a product.
    """
    if frame is None:
        return {}
    seen = {**frame.f_globals, **frame.f_locals}
    return {name: value for name, value in seen.items() if isinstance(value, types.FunctionType)}
