"""Answers a predicate on one product, by the rules of `miripool.query.values`, and reads no more than it must."""

from __future__ import annotations

import contextlib
import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MiripoolError, NotFound, QueryError
from ..model.kinds import kinds_matching
from ..model.product import Context
from ..sky.footprint import FOOTPRINT_KEYS, footprint_of
from ..sky.position import separation
from .arrays import Mask, index, invert, reduce_array, reduce_mask
from .counting import count_is_enough, shortcut_of
from .places import OF_ROW
from .tree import (
    And,
    Arithmetic,
    Call,
    Compare,
    Covers,
    Field,
    HasDataset,
    HasKey,
    HasTag,
    In,
    IsNull,
    Keyword,
    Like,
    Literal,
    Node,
    Not,
    Or,
    Overlaps,
    PythonCall,
    Range,
    Reduce,
    Separation,
    Statistic,
    Subscript,
    Truth,
    Unit,
    WholeArray,
    is_array,
    is_condition,
    walk,
)
from .values import UNKNOWN, Value, calculate, compare, is_in, like, lower, upper
from .windows import Reduction, find_windows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from ..model.dataset import Choose
    from ..sky.footprint import Footprint

__all__ = ["evaluate"]

_EXACT = 2.0**53


def evaluate(node: Node, product: Any) -> bool:
    """Tell whether a product satisfies a predicate.

    Parameters
    ----------
    node : Node
        In normal form.
    product : Product, or anything like one
        With `meta`, `datasets`, and as far as they are asked for `kind`, `name`, `version`, `tags`, `created`,
        `urn`, `serial`, `bytes` and `filename`. Nothing is touched that the predicate does not ask for.

    Returns
    -------
    bool
        False also where the answer is unknown.

    Raises
    ------
    QueryError
        If arrays do not fit together, or have no numbers; the message names the product.
    """
    with np.errstate(all="ignore"):
        try:
            return _Evaluation(product).decide(node) is True
        except MiripoolError:
            raise
        except (TypeError, ValueError, IndexError, MemoryError, OverflowError) as error:
            raise QueryError(f"{_name_of(product)}: {error or type(error).__name__}") from error


def _name_of(product: Any) -> str:
    """Name a product in a message: by its URN if it has one."""
    for attribute in ("urn", "name"):
        found = getattr(product, attribute, None)
        if found is not None:
            return str(found)
    return "a product"


class _Evaluation:
    """One product; its keywords are looked up in one pass over its headers, when the first is asked for."""

    def __init__(self, product: Any) -> None:
        self.product = product
        self._keywords: dict[tuple[str | None, str], Value] | None = None
        self._parts: dict[str | None, NDArray[Any]] | None = None

    # -- conditions ----------------------------------------------------------------------------------------------

    def decide(self, node: Node) -> bool | None:
        """Answer one condition that has one answer: None if it is unknown."""
        if isinstance(node, And):
            return self._decide_all(node)
        if isinstance(node, Or):
            return self._decide_any(node)
        if isinstance(node, Not):
            answer = self.decide(node.part)
            return None if answer is None else not answer
        return _DECIDE[type(node)](self, node)

    def _decide_all(self, node: And) -> bool | None:
        answer: bool | None = True
        for part in node.parts:
            one = self.decide(part)
            if one is False:
                return False
            if one is None:
                answer = None
        return answer

    def _decide_any(self, node: Or) -> bool | None:
        answer: bool | None = False
        for part in node.parts:
            one = self.decide(part)
            if one is True:
                return True
            if one is None:
                answer = None
        return answer

    def _compare(self, node: Compare) -> bool | None:
        if isinstance(node.left, Reduce) and self._parts is None:
            known = shortcut_of(node)
            if known is not None and (found := self._compare_whole(node, known)) is not None:
                return found
            enough = count_is_enough(node)
            if enough is not None:
                return compare(node.op, self._reduce(node.left, enough), self.value(node.right))
        return compare(node.op, self.value(node.left), self.value(node.right))

    def _compare_whole(self, node: Compare, known: Callable[[Compare, Any], bool | None]) -> bool | None:
        (whole,) = (below for below in walk(node.left) if isinstance(below, WholeArray))
        dataset = self.find_dataset(whole.name)
        return None if dataset is None else known(node, dataset)

    def _range(self, node: Range) -> bool | None:
        value = self.value(node.operand)
        low = compare(">" if node.low_open else ">=", value, self.value(node.low))
        high = compare("<" if node.high_open else "<=", value, self.value(node.high))
        return None if low is None or high is None else low and high

    def _in(self, node: In) -> bool | None:
        return is_in(self.value(node.operand), [self.value(item) for item in node.items])

    def _like(self, node: Like) -> bool | None:
        text = self.value(node.operand).text
        return None if text is None else like(text, node.pattern)

    def _isnull(self, node: IsNull) -> bool:
        return self.value(node.operand) == UNKNOWN

    def _truth(self, node: Truth) -> bool | None:
        operand = node.operand
        if isinstance(operand, PythonCall):
            return self._call_function(operand)
        if isinstance(operand, Call) and operand.function == "isnan":
            return None if self.value(operand.arguments[0]).number is None else False
        return self.value(operand).flag

    def _call_function(self, node: PythonCall) -> bool:
        answer = node.function(self.product)
        problem = f"{node.name}({_name_of(self.product)}) gave no single truth value"
        try:
            holds = bool(answer)
        except (TypeError, ValueError) as error:
            raise QueryError(f"{problem}: {error}") from error
        if not isinstance(answer, (bool, np.bool_)) and getattr(answer, "dtype", None) != np.bool_:
            # A comparison, or the word return, was forgotten: nearly every object is true.
            raise QueryError(
                f"{problem}, but {type(answer).__name__}; compare it with something: True or False is needed"
            )
        return holds

    def _has_key(self, node: HasKey) -> bool:
        return (node.hdu, node.key) in self.keywords

    def _has_tag(self, node: HasTag) -> bool:
        return node.label in (getattr(self.product, "tags", None) or ())

    def _covers(self, node: Covers) -> bool | None:
        seen = self._footprint(darks=node.darks)
        return None if seen is None else seen.covers(node.position.vector)

    def _overlaps(self, node: Overlaps) -> bool | None:
        seen = self._footprint(darks=node.darks)
        return None if seen is None else seen.meets(node.shape)

    def _footprint(self, *, darks: bool) -> Footprint | None:
        """Give the footprint that counts; contexts have none."""
        if getattr(self.product, "kind", None) in kinds_matching(Context):
            return None
        said = {key: self.keywords[None, key] for key in FOOTPRINT_KEYS if (None, key) in self.keywords}
        found = footprint_of({key: v.text if v.number is None else v.number for key, v in said.items()})
        return found if found is not None and (darks or not found.dark) else None

    def _has_dataset(self, node: HasDataset) -> bool:
        return self.find_dataset(node.name) is not None

    # -- values --------------------------------------------------------------------------------------------------

    def value(self, node: Node) -> Value:
        """Give the one value of a node."""
        if is_condition(node):
            return Value(flag=self.decide(node))
        return _VALUE[type(node)](self, node)

    def _literal(self, node: Literal) -> Value:
        return Value.of_literal(node.value)

    def _keyword(self, node: Keyword) -> Value:
        return self.keywords.get((node.hdu, node.key), UNKNOWN)

    def _unit(self, node: Unit) -> Value:
        name = node.key if node.hdu is None else f"{node.hdu}.{node.key}"
        try:
            return Value.of(self.product.meta[name].unit)
        except NotFound:
            return UNKNOWN

    def _field(self, node: Field) -> Value:
        whose = getattr(getattr(self.product, "ref", None), "row", None) if node.name in OF_ROW else self.product
        found = getattr(whose, node.name, None)
        if node.name == "urn" and found is not None:
            found = str(found)
        return UNKNOWN if found is None else Value.of(found)

    def _statistic(self, node: Statistic) -> Value:
        dataset = self.find_dataset(node.dataset)
        if dataset is None:
            return UNKNOWN
        if node.which == "shape":
            shape, axis = dataset.shape, node.axis or 0
            return Value(number=float(shape[axis])) if -len(shape) <= axis < len(shape) else UNKNOWN
        if node.which in ("ndim", "unit"):
            return Value.of(dataset.ndim if node.which == "ndim" else dataset.unit_text)
        return Value.of(getattr(dataset.statistics, node.which, None))

    def _separation(self, node: Separation) -> Value:
        seen = self._footprint(darks=node.darks)
        return UNKNOWN if seen is None else Value(number=separation(seen.centre, node.position.vector))

    def _arithmetic(self, node: Arithmetic) -> Value:
        left, right = self.value(node.left).number, self.value(node.right).number
        if node.op not in _BITWISE:
            return Value.of(calculate(node.op, left, right))
        bits = _whole(left), _whole(right)
        return UNKNOWN if None in bits else Value(number=float(_BITWISE[node.op](*bits)))

    def _call(self, node: Call) -> Value:
        values = [self.value(argument) for argument in node.arguments]
        return _FUNCTIONS[node.function](values)

    def _reduce(self, node: Reduce, enough: Callable[[int], bool] | None = None) -> Value:
        if self._parts is None:
            reduction = Reduction(node.function, enough)
            choose = functools.partial(self._chooser, node, reduction)
            windows = find_windows(node, self.find_dataset, choose)
            if windows is not None:
                return self._reduce_windows(node, windows, reduction)
        operand = self.array(node.operand)
        if operand is None:
            return UNKNOWN
        if isinstance(operand, Mask):
            reduction = Reduction(node.function)
            reduction.add(operand)
            return Value.of(reduction.result())
        return Value.of(reduce_array(node.function, operand, None))

    def _reduce_windows(self, node: Reduce, windows: Mapping[str | None, Any], reduction: Reduction) -> Value:
        with contextlib.ExitStack() as stack:
            stack.callback(setattr, self, "_parts", None)
            readers = [stack.enter_context(contextlib.closing(reader)) for reader in windows.values()]
            for parts in zip(*readers, strict=True):
                self._parts = dict(zip(windows, parts, strict=True))
                operand = self.array(node.operand)
                if operand is None:
                    return UNKNOWN
                if reduction.add(operand):
                    break
        return Value.of(reduction.result())

    def _chooser(self, node: Reduce, reduction: Reduction, dataset: Any) -> Choose | None:
        """Give what passes over the tiles whose smallest and largest element tell enough."""
        known = ("any", "all") if not is_condition(node.operand) else ("any", "all", "sum", "mean")
        below = list(walk(node.operand))
        if node.function not in known or any(isinstance(n, Subscript) for n in below):
            return None
        (name,) = {n.name for n in below if isinstance(n, WholeArray)}

        def choose(low: NDArray[Any], high: NDArray[Any], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
            statistics = dataset.statistics
            nan = statistics is None or statistics.n_nan > 0
            return reduction.add_known(self._known(node.operand, name, low, high), sizes, nan=nan)

        return choose

    def _known(self, node: Node, name: str | None, low: NDArray[Any], high: NDArray[Any]) -> Mask:
        """Tell of parts of an array, by their extremes, whether all elements satisfy a condition, or none does."""
        if isinstance(node, (And, Or)):
            parts = [self._known(part, name, low, high) for part in node.parts]
            return functools.reduce(Mask.both if isinstance(node, And) else Mask.either, parts)
        lowest = self._mask_at(node, name, low)
        if (
            isinstance(node, Compare)
            and node.op in ("<", "<=", ">", ">=")
            and isinstance(node.left, WholeArray)
            and isinstance(node.right, Literal)
        ):
            highest = self._mask_at(node, name, high)
            return Mask(lowest.true & highest.true, lowest.false & highest.false)
        same = low == high
        return Mask(lowest.true & same, lowest.false & same)

    def _mask_at(self, node: Node, name: str | None, elements: NDArray[Any]) -> Mask:
        self._parts = {name: elements}
        try:
            found = self.array(node)
        finally:
            self._parts = None
        assert found is not None  # noqa: S101 - the dataset is there
        mask = found if isinstance(found, Mask) else Mask.of_numbers(found)
        return Mask(np.broadcast_to(mask.true, elements.shape), np.broadcast_to(mask.false, elements.shape))

    def _python_value(self, node: PythonCall) -> Value:
        return Value.of(node.function(self.product))

    # -- arrays --------------------------------------------------------------------------------------------------

    def array(self, node: Node) -> NDArray[Any] | Mask | None:
        """Give the elements of a node: numbers or texts, or what is known of a condition; None if there are none."""
        if not is_array(node):
            return self._spread(node)
        if isinstance(node, (And, Or)):
            return self._array_junction(node)
        if isinstance(node, Not):
            part = self._mask(node.part)
            return None if part is None else Mask(part.false, part.true)
        if isinstance(node, Compare):
            left, right = self._numbers(node.left), self._numbers(node.right)
            return None if left is None or right is None else Mask.compare(node.op, left, right)
        if isinstance(node, Truth):
            return self._array_truth(node)
        found: NDArray[Any] | Mask | None = _ARRAY[type(node)](self, node)
        return found

    def _spread(self, node: Node) -> NDArray[Any] | Mask | None:
        """Give one value as an array without axes."""
        if is_condition(node):
            return Mask.of_answer(self.decide(node))
        value = self.value(node)
        if value.number is not None:
            return np.asarray(value.number, np.float64)
        found = value.flag if value.text is None else value.text.encode("latin-1", "replace")
        return None if found is None else np.asarray(found)

    def _mask(self, node: Node) -> Mask | None:
        found = self.array(node)
        return found if isinstance(found, Mask) or found is None else Mask.of_numbers(found)

    def _numbers(self, node: Node) -> NDArray[Any] | None:
        found = self.array(node)
        return found.true if isinstance(found, Mask) else found

    def _array_junction(self, node: And | Or) -> Mask | None:
        masks = [mask for part in node.parts if (mask := self._mask(part)) is not None]
        if len(masks) < len(node.parts):
            return None
        return functools.reduce(Mask.both if isinstance(node, And) else Mask.either, masks)

    def _array_truth(self, node: Truth) -> Mask | None:
        operand = node.operand
        if isinstance(operand, Call) and operand.function == "isnan":
            array = self._numbers(operand.arguments[0])
            if array is None:
                return None
            nan = np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)
            return Mask(nan, ~nan)
        return self._mask(operand)

    def _array_dataset(self, node: WholeArray) -> NDArray[Any] | None:
        if self._parts is not None:
            return self._parts[node.name]
        dataset = self.find_dataset(node.name)
        return None if dataset is None else np.asarray(dataset[...])

    def _array_subscript(self, node: Subscript) -> NDArray[Any] | Mask | None:
        only = node.items[0]
        if isinstance(only, Node):
            operand, mask = self._numbers(node.operand), self._mask(only)
            return None if operand is None or mask is None else operand[mask.true]
        if isinstance(node.operand, WholeArray) and not isinstance(only, str):
            dataset = self.find_dataset(node.operand.name)
            return None if dataset is None else index(dataset, node.items)
        operand = self._numbers(node.operand)
        return None if operand is None else index(operand, node.items)

    def _array_reduce(self, node: Reduce) -> NDArray[Any] | Mask | None:
        operand = self.array(node.operand)
        if operand is None:
            return None
        if isinstance(operand, Mask):
            found: NDArray[Any] | Mask | None = reduce_mask(node.function, operand, node.axis)
        else:
            found = reduce_array(node.function, operand, node.axis)
        return found

    def _array_arithmetic(self, node: Arithmetic) -> NDArray[Any] | None:
        left, right = self._numbers(node.left), self._numbers(node.right)
        if left is None or right is None:
            return None
        if node.op in _BITWISE:
            return np.asarray(_BITWISE[node.op](_integers(left), _integers(right)))
        a, b = left.astype(np.float64), right.astype(np.float64)
        return np.asarray(_ARRAY_ARITHMETIC[node.op](a, b))

    def _array_call(self, node: Call) -> NDArray[Any] | None:
        array = self._numbers(node.arguments[0])
        if array is None:
            return None
        if node.function == "invert":
            return invert(array)
        if node.function == "abs":
            return np.asarray(np.abs(array.astype(np.float64)))
        if node.function == "neg":
            return np.asarray(-array.astype(np.float64))
        raise QueryError(f"{node.function} takes one value, not an array")

    # -- the product ---------------------------------------------------------------------------------------------

    @property
    def keywords(self) -> Mapping[tuple[str | None, str], Value]:
        """Values by (HDU or None, keyword): as the rows of the index's table say."""
        if self._keywords is None:
            found: dict[tuple[str | None, str], Value] = {}
            for row in self.product.meta.rows():
                value = Value(row.number, row.text, row.flag, row.time)
                if row.first:
                    found[None, row.key] = value
                found.setdefault((row.hdu_name.upper(), row.key), value)
            self._keywords = found
        return self._keywords

    def find_dataset(self, name: str | None) -> Any | None:
        """Give a dataset by the product's own rules, or None."""
        datasets = self.product.datasets
        if name is None:
            return datasets["SCI"] if "SCI" in datasets else next(iter(datasets.values()), None)
        return datasets[name] if name in datasets else datasets.get(name.upper())


def _whole(number: float | None) -> int | None:
    if number is None or not number.is_integer() or abs(number) >= _EXACT:
        return None
    return int(number)


def _integers(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 0 and array.dtype.kind == "f" and float(array).is_integer() and abs(float(array)) < _EXACT:
        return np.asarray(array, np.int64)
    if array.dtype.kind not in "iub":
        raise QueryError("only integers have bits")
    return array.astype(np.int64) if array.dtype.itemsize < 8 else array


def _absolute(values: list[Value]) -> Value:
    number = values[0].number
    return UNKNOWN if number is None else Value(number=abs(number))


def _negative(values: list[Value]) -> Value:
    number = values[0].number
    return UNKNOWN if number is None else Value(number=-number)


def _inverted(values: list[Value]) -> Value:
    bits = _whole(values[0].number)
    return UNKNOWN if bits is None else Value(number=float(~bits))


def _length(values: list[Value]) -> Value:
    text = values[0].text
    return UNKNOWN if text is None else Value(number=float(len(text)))


def _extreme(choose: Callable[[list[float]], float]) -> Callable[[list[Value]], Value]:
    def apply(values: list[Value]) -> Value:
        numbers = [v.number for v in values if v.number is not None]
        return Value(number=choose(numbers)) if len(numbers) == len(values) else UNKNOWN

    return apply


def _cased(change: Callable[[str], str]) -> Callable[[list[Value]], Value]:
    def apply(values: list[Value]) -> Value:
        text = values[0].text
        return UNKNOWN if text is None else Value(text=change(text))

    return apply


_FUNCTIONS: dict[str, Callable[[list[Value]], Value]] = {
    "abs": _absolute,
    "neg": _negative,
    "invert": _inverted,
    "len": _length,
    "min": _extreme(min),
    "max": _extreme(max),
    "lower": _cased(lower),
    "upper": _cased(upper),
}
_BITWISE: dict[str, Callable[[Any, Any], Any]] = {
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
}
_ARRAY_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": lambda a, b: np.divide(a, np.where(b == 0, math.nan, b)),
    "//": lambda a, b: np.floor(a / np.where(b == 0, math.nan, b)),
    "%": lambda a, b: a - b * np.floor(a / np.where(b == 0, math.nan, b)),
    "**": np.power,
}
_DECIDE: dict[type[Node], Callable[[_Evaluation, Any], bool | None]] = {
    Compare: _Evaluation._compare,
    Range: _Evaluation._range,
    In: _Evaluation._in,
    Like: _Evaluation._like,
    IsNull: _Evaluation._isnull,
    Truth: _Evaluation._truth,
    HasKey: _Evaluation._has_key,
    HasTag: _Evaluation._has_tag,
    HasDataset: _Evaluation._has_dataset,
    Covers: _Evaluation._covers,
    Overlaps: _Evaluation._overlaps,
}
_VALUE: dict[type[Node], Callable[[_Evaluation, Any], Value]] = {
    Literal: _Evaluation._literal,
    Keyword: _Evaluation._keyword,
    Unit: _Evaluation._unit,
    Field: _Evaluation._field,
    Statistic: _Evaluation._statistic,
    Separation: _Evaluation._separation,
    Arithmetic: _Evaluation._arithmetic,
    Call: _Evaluation._call,
    Reduce: _Evaluation._reduce,
    PythonCall: _Evaluation._python_value,
}
_ARRAY: dict[type[Node], Callable[[_Evaluation, Any], Any]] = {
    WholeArray: _Evaluation._array_dataset,
    Subscript: _Evaluation._array_subscript,
    Reduce: _Evaluation._array_reduce,
    Arithmetic: _Evaluation._array_arithmetic,
    Call: _Evaluation._array_call,
}
