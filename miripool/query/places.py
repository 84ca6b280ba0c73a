"""What names, attributes, methods and subscripts of a predicate stand for. Errors have no column yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import QueryError
from ..model.reductions import REDUCTIONS
from .grammar import Place
from .tree import (
    Arithmetic,
    Call,
    Compare,
    Field,
    HasKey,
    Item,
    Keyword,
    Like,
    Literal,
    Node,
    Reduce,
    Separation,
    Statistic,
    Subscript,
    Truth,
    Unit,
    WholeArray,
    is_array,
    is_condition,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = [
    "FIELDS",
    "FUNCTIONS",
    "KNOWN_DATASETS",
    "OF_ROW",
    "REDUCTIONS",
    "MetaPlace",
    "Names",
    "ProductPlace",
    "TagsPlace",
    "apply_function",
    "apply_method",
    "escape_pattern",
    "find_keyword",
    "take_as_true",
    "take_attribute",
    "take_subscript",
]


class Target(Protocol):
    """Where a keyword is to be looked for."""

    @property
    def hdu(self) -> str | None:
        """Name of the HDU, or None."""

    @property
    def key(self) -> str:
        """FITS keyword, upper case."""


class Names(Protocol):
    """What the parser asks of a dictionary of keywords; `miripool.model.keywords.KeywordDictionary` is one."""

    def __hash__(self) -> int:
        """Tell one dictionary from another: what was read with it is kept."""

    @property
    def hyphenated(self) -> Collection[str]:
        """Keywords with a hyphen, upper case."""

    def knows(self, name: str) -> bool:
        """Tell whether there is a keyword or path of that name."""

    def resolve(self, name: str) -> Target:
        """Find the keyword that a name stands for."""


@dataclass(frozen=True, slots=True)
class ProductPlace(Place):
    """The product itself.

    Attributes
    ----------
    variable : str
        What the predicate calls it.
    """

    variable: str

    @property
    def complaint(self) -> str:
        """Say that something of it must be asked for."""
        return f"'{self.variable}' is the whole product; name a part of it, e.g. {self.variable}.version"


@dataclass(frozen=True, slots=True)
class MetaPlace(Place):
    """Its metadata."""


@dataclass(frozen=True, slots=True)
class TagsPlace(Place):
    """Its tags."""

    @property
    def complaint(self) -> str:
        """Say how tags are asked for."""
        return "to ask for a tag, write 'using cal v1' in p.tags"


@dataclass(frozen=True, slots=True)
class _ShapePlace(Place):
    """The lengths of a dataset's axes."""

    dataset: WholeArray


class Arguments(NamedTuple):
    """Of a call.

    Attributes
    ----------
    values : sequence of Node or Place
        In order.
    axis : tuple of int or None
        Of ``axis=``.
    darks : bool or None
        Of ``darks=``.
    columns : sequence of int
        Where each value begins.
    """

    values: Sequence[Node | Place] = ()
    axis: tuple[int, ...] | None = None
    darks: bool | None = None
    columns: Sequence[int] = ()


OF_ROW = (
    *("start_time", "stored_bytes", "head", "removed", "purged", "saved_by", "removed_by"),
    *("entry", "manifest", "content", "file_digest"),
)
"""Columns of a listing that the index has of every version, beside what a product says of itself."""
FIELDS = {
    **{name: name for name in ("kind", "name", "version", "urn", "serial", "created", "bytes", "filename", *OF_ROW)},
    "type": "kind",
}
"""Attributes of every product, and the field that each means: each column of a listing that is no keyword."""
_DATASETS = frozenset(
    [
        "data",
        "sci",
        "err",
        "dq",
        "groupdq",
        "pixeldq",
        "zeroframe",
        "refout",
        "group",
        "int_times",
        "avg_dark_current",
        "average_dark_current",
        "var_poisson",
        "var_rnoise",
        "var_flat",
    ]
)
_EXTENSIONS = {"avg_dark_current": "AVDRKCUR"}
"""As in `miripool.model.product`: names of the jwst datamodels that are not their FITS extensions' names."""
KNOWN_DATASETS = frozenset(_EXTENSIONS.get(name, name.upper()) for name in _DATASETS - {"data"})
"""Names of datasets that mean something whether a product has them or not."""
_STATISTICS = frozenset({"min", "max", "mean", "std"})
_FACTS = {"size": "n", "ndim": "ndim", "unit": "unit", "n_nan": "n_nan", "n_flagged": "n_flagged"}
_TEXT_METHODS = ("startswith", "endswith", "contains", "lower", "upper")
FUNCTIONS = ("ANY", "ALL", "abs", "isnan", "len", *sorted(REDUCTIONS))
"""Functions that a predicate may call."""


def find_keyword(name: str, names: Names) -> Keyword:
    """Find what a metadata name means.

    Parameters
    ----------
    name : str
        Keyword, datamodel path, or either with the name of an HDU.
    names : Names
        The dictionary.

    Returns
    -------
    Keyword
        Bare or qualified.
    """
    if not name.strip():
        raise QueryError("the name of a keyword is missing")
    target = names.resolve(name)
    return Keyword(None if target.hdu is None else target.hdu.removesuffix(",1"), target.key)


def escape_pattern(text: str) -> str:
    """Make a pattern that only the text itself has.

    Parameters
    ----------
    text : str
        Any.

    Returns
    -------
    str
        For `Like`.
    """
    return "".join("\\" + c if c in "%_\\" else c for c in text)


def take_attribute(base: Node | Place, name: str, names: Names) -> Node | Place:
    """Tell what ``base.name`` is.

    Parameters
    ----------
    base : Node or Place
        Left of the dot.
    name : str
        Right of it.
    names : Names
        The dictionary of keywords.

    Returns
    -------
    Node or Place
        What it is.

    Raises
    ------
    QueryError
        If it is nothing.
    """
    if name.startswith("_"):
        raise QueryError("a predicate can't use names that begin with '_'")
    if isinstance(base, ProductPlace):
        return _take_from_product(name, names)
    if isinstance(base, Keyword) and name in ("value", "unit"):
        return base if name == "value" else Unit(base.hdu, base.key)
    if isinstance(base, WholeArray) and (name in _FACTS or name == "shape"):
        return _ShapePlace(base) if name == "shape" else Statistic(base.name, _FACTS[name])
    if name in REDUCTIONS or name in _TEXT_METHODS or name == "containsKey":
        raise QueryError(f"'{name}' is a method: write {name}(…)")
    raise QueryError(f"there is no '{name}' here; {_allowed(base)}")


def _take_from_product(name: str, names: Names) -> Node | Place:
    if name == "meta":
        return MetaPlace()
    if name == "tags":
        return TagsPlace()
    if name in FIELDS:
        return Field(FIELDS[name])
    if name not in _DATASETS and names.knows(name):
        return find_keyword(name, names)
    return WholeArray(None if name == "data" else _EXTENSIONS.get(name, name.upper()))


def _allowed(base: Node | Place) -> str:
    if isinstance(base, Keyword):
        return "a keyword has .value and .unit, and a dataset is p.data or p['SCI']"
    if isinstance(base, WholeArray):
        return f"a dataset has .shape, .{', .'.join(_FACTS)} and .{'(), .'.join(sorted(REDUCTIONS))}()"
    if isinstance(base, _ShapePlace):
        return "write shape[0] for the length of one axis"
    if isinstance(base, TagsPlace):
        return "write e.g. 'using cal v1' in p.tags"
    if is_array(base):  # type: ignore[arg-type]
        return f"an array has .{'(), .'.join(sorted(REDUCTIONS))}()"
    return f"a text has .{'(), .'.join(_TEXT_METHODS)}()"


def take_as_true(value: Node) -> Truth:
    """Make a condition of a value: keywords and results of ``any`` and the like are conditions by being true.

    Parameters
    ----------
    value : Node
        No condition yet.

    Returns
    -------
    Truth
        That it is true.

    Raises
    ------
    QueryError
        If it has to be compared with something.
    """
    if isinstance(value, (Unit, Field, Separation)) or (isinstance(value, (Arithmetic, Call)) and not is_array(value)):
        raise QueryError("this is a value, not a condition; compare it with another value")
    return Truth(value)


def take_subscript(base: Node | Place, items: tuple[Item, ...], names: Names) -> Node | Place:
    """Tell what ``base[items]`` is.

    Parameters
    ----------
    base : Node or Place
        Left of the bracket.
    items : tuple of Item
        Inside.
    names : Names
        The dictionary of keywords.

    Returns
    -------
    Node or Place
        What it is.

    Raises
    ------
    QueryError
        If it is nothing.
    """
    if not items or len(items) > 32:
        raise QueryError("a subscript has 1 to 32 items")
    only = items[0] if len(items) == 1 else None
    if isinstance(base, MetaPlace):
        if isinstance(only, str):
            return find_keyword(only, names)
        raise QueryError("the name of a keyword is a string: p.meta['ngroups']")
    if isinstance(base, ProductPlace):
        if isinstance(only, str):
            return WholeArray(only)
        raise QueryError("the name of a dataset is a string: p['SCI']")
    if isinstance(base, _ShapePlace):
        if isinstance(only, int) and -64 <= only < 64:
            return Statistic(base.dataset.name, "shape", only)
        raise QueryError("name one axis of the shape: shape[0]")
    if not isinstance(base, Node) or not is_array(base):
        raise QueryError("only p.meta, p, datasets and their parts have elements")
    if len(items) > 1 and any(isinstance(item, (str, Node)) for item in items):
        raise QueryError("a column or a condition must be alone in its brackets")
    if isinstance(only, Node) and not (is_condition(only) and is_array(only)):
        raise QueryError("an index must be a constant, or a condition on an array")
    return Subscript(base, items)


def apply_method(base: Node | Place, name: str, arguments: Arguments, names: Names) -> Node:
    """Tell what ``base.name(arguments)`` is.

    Parameters
    ----------
    base : Node or Place
        Left of the dot.
    name : str
        The method.
    arguments : Arguments
        What is given to it.
    names : Names
        The dictionary of keywords.

    Returns
    -------
    Node
        What it is.

    Raises
    ------
    QueryError
        If it is nothing.
    """
    if isinstance(base, MetaPlace) and name == "containsKey":
        return _has_key(_text_argument(name, arguments), names)
    if isinstance(base, Place):
        take_attribute(base, name, names)
        raise QueryError(f"'{name}' can't be called here; only values of keywords and datasets have methods")
    if name in REDUCTIONS and (is_array(base) or is_condition(base)):
        axis = arguments.axis
        if arguments.values:
            axis = _axis_argument(name, arguments)
        return _reduce(name, base, axis)
    if name in _TEXT_METHODS and not is_array(base) and not is_condition(base) and arguments.axis is None:
        return _apply_text_method(base, name, arguments)
    raise QueryError(f"there is no method '{name}' here; {_allowed(base)}")


def _has_key(name: str, names: Names) -> HasKey:
    found = find_keyword(name, names)
    return HasKey(found.hdu, found.key)


def _text_argument(name: str, arguments: Arguments) -> str:
    if len(arguments.values) == 1 and arguments.axis is None:
        (argument,) = arguments.values
        if isinstance(argument, Literal) and isinstance(argument.value, str):
            return argument.value
    raise QueryError(f"{name} takes one string")


def _axis_argument(name: str, arguments: Arguments) -> tuple[int, ...]:
    if len(arguments.values) == 1 and arguments.axis is None:
        (argument,) = arguments.values
        if isinstance(argument, Literal) and type(argument.value) is int:
            return (argument.value,)
    raise QueryError(f"{name} takes no argument, or the number of an axis")


def _apply_text_method(base: Node, name: str, arguments: Arguments) -> Node:
    if name in ("lower", "upper"):
        if arguments.values:
            raise QueryError(f"{name} takes no argument")
        return Call(name, (base,))
    given = escape_pattern(_text_argument(name, arguments))
    return Like(base, {"startswith": f"{given}%", "endswith": f"%{given}", "contains": f"%{given}%"}[name])


def _reduce(name: str, operand: Node, axis: tuple[int, ...] | None = None) -> Node:
    if not is_array(operand):
        if name in ("any", "all") and axis is None:
            return operand if is_condition(operand) else take_as_true(operand)
        raise QueryError(f"{name} takes an array, and this is one value")
    if isinstance(operand, WholeArray) and axis is None and name in _STATISTICS:
        return Statistic(operand.name, name)
    if isinstance(operand, WholeArray) and axis is None and name == "var":
        return Arithmetic("*", Statistic(operand.name, "std"), Statistic(operand.name, "std"))
    counted = _nan_of(operand)
    if counted is not None and axis is None and name in ("any", "sum"):
        nans = Statistic(counted.name, "n_nan")
        return nans if name == "sum" else Compare(">", nans, Literal(0))
    return Reduce(name, operand, axis)


def _nan_of(node: Node) -> WholeArray | None:
    """Give the dataset if this is ``isnan`` of a whole one: its NaN are counted already."""
    if isinstance(node, Truth):
        node = node.operand
    if isinstance(node, Call) and node.function == "isnan" and isinstance(node.arguments[0], WholeArray):
        return node.arguments[0]
    return None


def apply_function(name: str, arguments: Arguments) -> Node:
    """Tell what ``name(arguments)`` is.

    Parameters
    ----------
    name : str
        One of `FUNCTIONS`.
    arguments : Arguments
        What is given to it.

    Returns
    -------
    Node
        What it is.

    Raises
    ------
    QueryError
        If the function has no such arguments.
    """
    values = [v for v in arguments.values if isinstance(v, Node)]
    lower = name.lower()
    if len(values) != len(arguments.values) or not values:
        raise QueryError(f"{name} takes values of keywords or datasets")
    if lower in ("min", "max") and len(values) > 1 and arguments.axis is None:
        if any(is_array(v) or is_condition(v) for v in values):
            raise QueryError(f"{name} of several values can't take arrays or conditions; write e.g. p.data.{name}()")
        return Call(lower, tuple(values))
    if len(values) != 1:
        raise QueryError(f"{name} takes one value")
    (value,) = values
    if lower in REDUCTIONS:
        if lower not in ("any", "all") and not is_array(value):
            raise QueryError(f"{name} takes an array; {name} of one value is the value itself")
        return _reduce(lower, value, arguments.axis)
    if arguments.axis is not None:
        raise QueryError(f"{name} takes no axis")
    return _apply_simple(lower, value)


def _apply_simple(name: str, value: Node) -> Node:
    if is_condition(value):
        raise QueryError(f"{name} takes a value, not a condition")
    if name == "len" and is_array(value):
        if isinstance(value, WholeArray):
            return Statistic(value.name, "shape", 0)
        raise QueryError("len takes a whole dataset or a text; use .shape[0]")
    made = Call(name, (value,))
    if name != "isnan":
        return made
    return Truth(made)
