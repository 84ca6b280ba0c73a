"""Dataset: one array of a product, read only where and when it is touched."""

from __future__ import annotations

import contextlib
import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy as np

from ..errors import InvalidInput, ReadOnly
from .reductions import find_reduction, reduce_elements, select_in_place, selects_one
from .statistics import Accumulator, Statistics
from .units import parse_unit, unit_text

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

    Choose = Callable[[NDArray[Any], NDArray[Any], NDArray[np.int64]], NDArray[np.bool_]]

__all__ = ["ArraySource", "Dataset", "Scale", "holds_flags"]


class ArraySource(Protocol):
    """Whatever gives parts of an array: a stored blob, a mapped FITS file, a NumPy array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis, slowest first."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements, native byte order."""

    def __getitem__(self, key: Any, /) -> Any:
        """Read a part, with NumPy's basic indexing, as a native array of its own."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How stored integers or floats become physical values: ``bzero + bscale * stored`` (FITS standard 4.0, 4.4.2.5).

    The offset that FITS uses for unsigned integers is not a scale: such arrays are stored as what they mean.

    Attributes
    ----------
    bscale, bzero : float
        As in the header.
    blank : int or None
        Stored integer that stands for "no value"; becomes NaN.
    """

    bscale: float = 1.0
    bzero: float = 0.0
    blank: int | None = None

    def physical_dtype(self, stored: np.dtype[Any]) -> np.dtype[Any]:
        """Give the type of the physical values.

        Parameters
        ----------
        stored : numpy.dtype
            Type of the stored array.

        Returns
        -------
        numpy.dtype
            float32 for stored integers of 8 or 16 bits and for float32, else float64.
        """
        small = stored.itemsize <= 2 or stored == np.float32
        return np.dtype(np.float32 if small else np.float64)

    def apply(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Turn stored values into physical ones.

        Parameters
        ----------
        stored : ndarray
            Any shape.

        Returns
        -------
        ndarray
            Same shape, float; NaN where `stored` is `blank`.
        """
        values = np.array(stored, dtype=self.physical_dtype(stored.dtype))
        if self.bscale != 1.0:
            values *= self.bscale
        if self.bzero != 0.0:
            values += self.bzero
        if self.blank is not None:
            values[stored == self.blank] = np.nan
        return values


def holds_flags(name: str, stored: np.dtype[Any]) -> bool:
    """Tell whether a dataset is one of data quality, whose elements are sums of flag bits.

    Parameters
    ----------
    name : str
        Name in the product.
    stored : numpy.dtype
        Type of the stored array.

    Returns
    -------
    bool
        True for integers named DQ, GROUPDQ, PIXELDQ or ``DQ,2``.
    """
    return name.split(",")[0].endswith("DQ") and stored.kind in "iu"


_KNOWN = ("max", "min", "mean", "std")
"""What statistics tell of a whole array."""

_CHANGING = frozenset({np.copyto, np.put, np.place, np.putmask, np.put_along_axis, np.fill_diagonal})
"""NumPy's functions that write into their first argument."""

_DESCRIBING: dict[Any, Callable[..., Any]] = {
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
}
"""NumPy's functions that need no element."""


def _unchangeable(dataset: Dataset) -> TypeError:
    return TypeError(f"dataset {dataset.name} can't be changed in place; change a copy, np.array(dataset)")


def _as_arrays(given: Any) -> Any:
    """Read the datasets among the arguments of a NumPy function, also those in lists."""
    if isinstance(given, Dataset):
        return np.asarray(given)
    if isinstance(given, dict):
        for name, value in given.items():
            if name == "out" and isinstance(value, Dataset):
                raise _unchangeable(value)
        return {name: _as_arrays(value) for name, value in given.items()}
    return type(given)(map(_as_arrays, given)) if type(given) in (list, tuple) else given


class Dataset(np.lib.mixins.NDArrayOperatorsMixin):
    """A named array. Its elements are read when they are needed, and only those that are needed.

    ``d[...]``, ``np.asarray(d)`` and arithmetic read elements. `shape`, `dtype`, `unit` and `statistics` read none, and
    neither do `max`, `min`, `mean`, `std` and `var` without arguments, if the statistics are known.

    Reductions of a dataset ignore NaN, both methods (``d.median()``) and NumPy's functions (``np.median(d)``). If all
    elements are NaN, or there are none, the result is NaN; of `any` and `all` it is False. ``d[...]``, ``d > 5`` and
    ``d * 2`` are NumPy arrays and follow NumPy's rules: ``np.max(d[...])`` is NaN if any element is NaN.

    Parameters
    ----------
    name : str
        Name in the product, e.g. ``SCI``.
    source : ArraySource
        Where the stored values come from.
    scale : Scale, optional
        From stored to physical values.
    unit : str or astropy.units.UnitBase, optional
        Physical unit (BUNIT).
    statistics : Statistics, optional
        Statistics of the physical values, if they are known already.
    """

    def __init__(
        self,
        name: str,
        source: ArraySource,
        *,
        scale: Scale | None = None,
        unit: Any = None,
        statistics: Statistics | None = None,
    ) -> None:
        self.name = name
        self.source = source
        self.scale = scale
        self._unit = unit_text(unit)
        self._statistics = statistics

    _saved: str | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if self._saved is not None and name != "_statistics":  # these are counted when they are first asked for
            raise ReadOnly.of_version(self._saved, f"{name} of dataset {self.name}")
        object.__setattr__(self, name, value)

    def freeze(self, urn: str) -> None:
        """Make this the dataset of a saved version: from now on its attributes can't be set.

        Parameters
        ----------
        urn : str
            The version, for messages.
        """
        self.__dict__["_saved"] = urn

    def __copy__(self) -> Self:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, _saved=None)
        return made

    @property
    def unit(self) -> Any:
        """Physical unit, an `astropy.units.Unit`; one that astropy can't read is unrecognised. None without BUNIT."""
        return None if self._unit is None else parse_unit(self._unit)

    @unit.setter
    def unit(self, unit: Any) -> None:
        self._unit = unit_text(unit)

    @property
    def unit_text(self) -> str | None:
        """The unit as the header has it, and as it is written back."""
        return self._unit

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis, slowest first: e.g. (nints, ngroups, ny, nx)."""
        return tuple(self.source.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the (physical) values."""
        return self.source.dtype if self.scale is None else self.scale.physical_dtype(self.source.dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes the whole array takes in memory."""
        return self.size * self.dtype.itemsize

    @property
    def is_flags(self) -> bool:
        """Whether this is a data quality array (DQ, GROUPDQ, PIXELDQ), whose elements are sums of flag bits."""
        return holds_flags(self.name, self.source.dtype)

    @property
    def statistics(self) -> Statistics | None:
        """Statistics of the physical values; computed from the array once if they are not known. None for tables."""
        if self._statistics is None and self.dtype.kind in "buif":
            accumulator = Accumulator(flags=self.is_flags)
            if self.ndim < 2:
                accumulator.add(np.atleast_1d(self[...]))
            else:
                for i in range(self.shape[0]):
                    accumulator.add(self[i])
            self._statistics = accumulator.result()
        return self._statistics

    def renamed(self, name: str) -> Self:
        """Give the same array under another name; statistics are kept if they mean the same under that name.

        Parameters
        ----------
        name : str
            Name in the product.

        Returns
        -------
        Dataset
            This dataset itself, if it has that name already and does not belong to a saved version.
        """
        if name == self.name and self._saved is None:
            return self
        other = copy.copy(self)
        other.name = name
        if other.is_flags != self.is_flags:
            other._statistics = None
        return other

    def __getitem__(self, key: Any) -> Any:
        stored = self.source[key]
        if self.scale is None:
            return stored
        scaled = self.scale.apply(np.asarray(stored))
        return scaled if scaled.ndim else scaled[()]

    def read_into(self, out: NDArray[Any]) -> NDArray[Any]:
        """Read the whole array into an existing array: to allocate memory costs as much as to decode into it.

        Parameters
        ----------
        out : ndarray
            Array of this shape and dtype. It is overwritten, in part if the read fails.

        Returns
        -------
        ndarray
            `out`.

        Raises
        ------
        InvalidInput
            If it is of another shape or dtype, or can't be written.
        """
        if not isinstance(out, np.ndarray):
            raise InvalidInput(f"{self.name} can be read into an array, not into a {type(out).__name__}")
        if out.shape != self.shape or out.dtype != self.dtype or not out.flags.writeable:
            raise InvalidInput(
                f"{self.name} can be read into a writable array of {self.dtype} {self.shape}, "
                f"not into {'one' if out.flags.writeable else 'a read-only one'} of {out.dtype} {out.shape}"
            )
        plain = np.asarray(out)  # the memory of a matrix, a masked array or a Quantity, without their rules
        read: Callable[[NDArray[Any]], None] | None = getattr(self.source, "read_into", None)
        if read is None or self.scale is not None:
            plain[...] = self[...]
        else:
            read(plain)
        return out

    def parts(self, boxes: Iterable[tuple[slice, ...]]) -> Iterator[NDArray[Any]]:
        """Read many parts, one after the other, in bounded memory: for arrays too large to hold.

        Parameters
        ----------
        boxes : iterable of tuple of slice
            One slice for each axis, inside the array, without steps; taken a few ahead.

        Yields
        ------
        ndarray
            The same as the dataset at each box.
        """
        read: Callable[[Any], Generator[Any]] | None = getattr(self.source, "parts", None)
        return self._scaled((np.asarray(self.source[box]) for box in boxes) if read is None else read(boxes))

    def pieces(self, choose: Choose | None = None, *, lend: bool = False) -> Iterator[NDArray[Any]]:
        """Read all elements, each once, in bounded memory; or those that may matter.

        Parameters
        ----------
        choose : callable, optional
            Where the smallest and the largest element (NaN ignored) of each part of the array is known, it is given
            these, and how many elements each has; tells which parts are to be read.
        lend : bool, keyword-only
            What is given need not last longer than until the next is asked for, of this or of another array.

        Yields
        ------
        ndarray
            Of any shape, in any order: for what does not depend on where an element is.
        """
        read: Callable[..., Generator[Any]] | None = getattr(self.source, "pieces", None)
        if read is None:
            return self._scaled(np.asarray(self.source[i]) for i in range(self.shape[0]))
        return self._scaled(read(choose if self.scale is None else None, lend=lend))

    def _scaled(self, stored: Generator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        with contextlib.closing(stored):
            for part in stored:
                yield part if self.scale is None else self.scale.apply(part)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise InvalidInput(
            f"elements of {self.name} can't be set; change a copy, array = product[{self.name!r}][...], and put it "
            f"into another product, product.replace({self.name.partition(',')[0]}=array)"
        )

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        whole: NDArray[Any] = np.asarray(self[...])
        wanted = whole.dtype if dtype is None else np.dtype(dtype)
        if copy is False and wanted != whole.dtype:
            raise ValueError(f"dataset {self.name} is {whole.dtype}; {wanted} needs a copy")
        # A product in memory gives its own array: a copy asked for has to be made.
        return whole.astype(wanted, copy=bool(copy))

    def __array_ufunc__(
        self,
        ufunc: np.ufunc,
        method: Literal["__call__", "reduce", "reduceat", "accumulate", "outer", "at"],
        *inputs: Any,
        **kwargs: Any,
    ) -> Any:
        for out in kwargs.get("out", ()):
            if isinstance(out, Dataset):
                raise _unchangeable(out)
        arrays = [np.asarray(x) if isinstance(x, Dataset) else x for x in inputs]
        return getattr(ufunc, method)(*arrays, **kwargs)

    def __bool__(self) -> bool:
        raise ValueError(f"dataset {self.name} is neither true nor false; ask for its any() or all()")

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"dataset {self.name} is a single value and has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        # Step by step along the first axis; a single axis at once, for its steps would each read a whole tile.
        return iter(self[...]) if self.ndim == 1 else (self[i] for i in range(len(self)))

    def __array_function__(
        self, function: Callable[..., Any], types: Iterable[type], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        found = find_reduction(function, args, kwargs)
        if found is not None and isinstance(found[1], Dataset):
            name, dataset, options = found
            return dataset._reduce(name, **_as_arrays(options))
        if function in _DESCRIBING:
            return _DESCRIBING[function](*args, **kwargs)
        if function in _CHANGING and isinstance(args[0], Dataset):
            raise _unchangeable(args[0])
        return function(*_as_arrays(args), **_as_arrays(kwargs))

    def max(self, axis: Any = None, **kwargs: Any) -> Any:
        """Largest element, NaN left out; NaN where no element is a number. Without `axis` nothing is read."""
        return self._reduce("max", axis, **kwargs)

    def min(self, axis: Any = None, **kwargs: Any) -> Any:
        """Smallest element, NaN left out; NaN where no element is a number. Without `axis` nothing is read."""
        return self._reduce("min", axis, **kwargs)

    def mean(self, axis: Any = None, **kwargs: Any) -> Any:
        """Mean in float64, NaN left out; NaN where no element is a number. Without `axis` nothing is read."""
        return self._reduce("mean", axis, **kwargs)

    def std(self, axis: Any = None, **kwargs: Any) -> Any:
        """Population standard deviation in float64, NaN left out. Without `axis` nothing is read."""
        return self._reduce("std", axis, **kwargs)

    def var(self, axis: Any = None, **kwargs: Any) -> Any:
        """Square of `std`. Without `axis` nothing is read."""
        return self._reduce("var", axis, **kwargs)

    def sum(self, axis: Any = None, **kwargs: Any) -> Any:
        """Sum, of floats in float64, NaN left out; NaN where no element is a number."""
        return self._reduce("sum", axis, **kwargs)

    def prod(self, axis: Any = None, **kwargs: Any) -> Any:
        """Product, of floats in float64, NaN left out; NaN where no element is a number."""
        return self._reduce("prod", axis, **kwargs)

    def median(self, axis: Any = None, **kwargs: Any) -> Any:
        """Median in float64, NaN left out; NaN where no element is a number."""
        return self._reduce("median", axis, **kwargs)

    def any(self, axis: Any = None, **kwargs: Any) -> Any:
        """Whether some element is not zero, NaN left out; False where no element is a number."""
        return self._reduce("any", axis, **kwargs)

    def all(self, axis: Any = None, **kwargs: Any) -> Any:
        """Whether all elements are not zero, NaN left out; False where no element is a number."""
        return self._reduce("all", axis, **kwargs)

    def argmax(self, axis: Any = None, **kwargs: Any) -> Any:
        """Place of the largest element, NaN left out; ValueError where no element is a number."""
        return self._reduce("argmax", axis, **kwargs)

    def argmin(self, axis: Any = None, **kwargs: Any) -> Any:
        """Place of the smallest element, NaN left out; ValueError where no element is a number."""
        return self._reduce("argmin", axis, **kwargs)

    @property
    def n_nan(self) -> int | None:
        """Number of elements that are NaN; nothing is read. None for tables."""
        return None if self.statistics is None else self.statistics.n_nan

    @property
    def n_flagged(self) -> int | None:
        """Number of elements that are not zero, of data quality arrays; nothing is read. None for all others."""
        return None if self.statistics is None else self.statistics.n_flagged

    def _reduce(self, what: str, axis: Any = None, **options: Any) -> Any:
        if self.dtype.names is not None:
            raise InvalidInput(f"{self.name} is a table and has no {what}; use one of its columns")
        if self.dtype.kind not in "buifc":
            raise InvalidInput(f"{self.name} holds no numbers and has no {what}")
        whole = axis is None and all(value is None for value in options.values())
        if whole and what in (*_KNOWN, "var") and self.statistics is not None:
            value = getattr(self.statistics, "std" if what == "var" else what)
            return math.nan if value is None else value * value if what == "var" else value
        if axis is None and selects_one(what, options) and self.size and self._is_read_in_pieces:
            # Where an element is does not matter: tiles are decoded to where they stay, and selected from there.
            parts = [part.reshape(-1) for part in self.pieces()]
            return select_in_place(what, parts[0] if len(parts) == 1 else np.concatenate(parts), options)
        return reduce_elements(what, np.asarray(self[...]), axis=axis, **options)

    @property
    def _is_read_in_pieces(self) -> bool:
        """Whether these are numbers of a stored array: a piece of one, from `pieces`, belongs to the caller."""
        return self.dtype.kind in "iuf" and getattr(self.source, "pieces", None) is not None

    def __getattr__(self, name: str) -> Any:
        # The rest of NumPy's array methods (ravel, astype, …) work on the whole array.
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"dataset {self.__dict__.get('name', '?')} has no attribute {name!r}")
        return getattr(np.asarray(self), name)

    def __repr__(self) -> str:
        unit = f", {self.unit_text}" if self.unit_text else ""
        return f"<Dataset {self.name} {self.dtype} {self.shape}{unit}>"
