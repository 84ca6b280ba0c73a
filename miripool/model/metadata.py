"""MetaData: the keywords of a product with typed values, units and descriptions, parsed only when asked for.

Everything is kept as FITS cards, also for products made in memory, so that what was set can be written. Values of
dates are aware UTC datetimes; MJD numbers stay numbers.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from ..errors import InvalidInput, NotFound, ReadOnly
from .canonical import json_value
from .cards import CARD, COMMENTARY, Card, Value, edit_header, format_card, is_structural, parse_header
from .keywords import BENCH, dictionary, split_unit, suggest

__all__ = ["KeywordRow", "MetaData", "Parameter"]

ParameterValue: TypeAlias = "Value | datetime"

_PRIMARY = "PRIMARY"
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d*)?)?)\s*(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)  # FITS standard 4.0, 9.1.1, and what else ISO 8601 writers put there
_CLOCK = re.compile(r"\d\d:\d\d:\d\d(?:\.\d*)?", re.ASCII)
_TYPES = {bool: "boolean", int: "integer", float: "number", complex: "complex", str: "string", datetime: "date-time"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """The value of a keyword, with its unit, description and type.

    Attributes
    ----------
    value : str, int, float, bool, complex, datetime or None
        None where the header leaves it undefined. Dates and times are aware UTC datetimes: ``DATE-OBS`` is the
        start of that day, ``TIME-OBS`` the moment that it makes together with ``DATE-OBS``.
    unit, description : str or None
        As the jwst datamodel's schema has it, else from the card's comment (``[s] time between groups``).
    type : str or None
        ``integer``, ``number``, ``string``, ``boolean``, ``complex`` or ``date-time``; for an undefined value the
        schema's type, if there is one.
    keyword : str or None
        FITS keyword.
    hdu : str or None
        Name of the HDU whose header has the keyword.
    """

    value: ParameterValue
    unit: str | None = None
    description: str | None = None
    type: str | None = None
    keyword: str | None = None
    hdu: str | None = None

    def __str__(self) -> str:
        shown = _show(self.value)
        return f"{shown} {self.unit}" if self.unit else shown


class KeywordRow(NamedTuple):
    """One card as the index keeps it; exactly one of `number`, `text` and `flag` is set, none if it is undefined.

    Attributes
    ----------
    hdu : int
        Number of the HDU, 0 for the primary.
    hdu_name : str
        Its name in the product.
    key : str
        Keyword, upper case. All COMMENT cards of an HDU make one row, and so do all HISTORY cards.
    occurrence : int
        0 for the first card of that keyword in the HDU, 1 for the next.
    first : bool
        Whether the bare keyword means this row.
    number : float or None
        Of an integer or real value.
    text : str or None
        Of a text (or complex) value, without NUL characters.
    flag : bool or None
        Of a logical value.
    time : datetime or None
        UTC, where `text` is a date or time.
    """

    hdu: int
    hdu_name: str
    key: str
    occurrence: int
    first: bool
    number: float | None
    text: str | None
    flag: bool | None
    time: datetime | None


class _Header:
    """The cards of one HDU, by keyword."""

    __slots__ = ("by_key", "cards")

    def __init__(self, raw: bytes) -> None:
        self.cards: list[Card] = []
        remarks: dict[str, list[str]] = {}
        for card in parse_header(raw):
            if card.keyword not in COMMENTARY:
                self.cards.append(card)
            elif card.keyword:
                if card.keyword not in remarks:
                    self.cards.append(card)
                remarks.setdefault(card.keyword, []).append(str(card.value))
        self.by_key: dict[str, Card] = {}
        for i, card in enumerate(self.cards):
            if card.keyword in remarks:
                card = self.cards[i] = Card(card.keyword, "\n".join(remarks[card.keyword]))
            self.by_key.setdefault(card.keyword, card)

    def text(self, key: str) -> str | None:
        card = self.by_key.get(key)
        return card.value if card is not None and isinstance(card.value, str) else None

    def time(self, card: Card, system: str | None) -> datetime | None:
        """Give the moment that a card's text means, if it means one in UTC."""
        text = card.value
        if not isinstance(text, str) or not text[:1].isdigit() or card.keyword in COMMENTARY:
            return None
        if text[4:5] == "-":
            found = _ISO.fullmatch(text)
            date, clock, zone = found.groups() if found else (None, None, None)
        elif card.keyword.startswith("TIME") and _CLOCK.fullmatch(text):
            day = _ISO.fullmatch(self.text("DATE" + card.keyword[4:]) or "")
            date, clock, zone = day[1] if day else None, text, None
        else:
            return None
        # Without a zone, the scale is what TIMESYS says (9.2.1); the file's own DATE is always UTC (4.4.2.1).
        local = zone is None and clock is not None and card.keyword != "DATE"
        if date is None or (local and (self.text("TIMESYS") or system or "UTC").upper() not in ("UTC", "GMT")):
            return None
        return _to_datetime(date, clock, zone)


_header_of = functools.lru_cache(maxsize=16)(_Header)
"""Headers as they were parsed, by their bytes: a save looks into each of its headers three times."""


def _to_datetime(date: str, clock: str | None, zone: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(f"{date}T{(clock or '00:00').rstrip('.')}{zone or 'Z'}")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    if clock is not None and clock[6:8] == "60":  # a leap second, which datetime does not know
        before = _to_datetime(date, f"{clock[:6]}59{clock[8:]}", zone)
        with contextlib.suppress(OverflowError):
            return None if before is None else before + timedelta(seconds=1)
    return None


class MetaData(MutableMapping[str, Parameter]):
    """The keywords of a product, by FITS keyword or datamodel path, in any case.

    ``meta["ngroups"]``, ``meta["exposure.ngroups"]`` and ``meta["NGROUPS"]`` are the same; ``meta["SCI.BUNIT"]`` is
    the keyword of the HDU SCI. A name without an HDU means the keyword of the primary header, else of the first HDU
    that has it; if a header repeats a keyword, its first card counts. ``meta["HISTORY"]`` is the text of all HISTORY
    cards.

    Values can be set: ``meta["lamp"] = "ON"`` changes the headers of this object and never a file. If the product
    was read from a file, the other cards stay as they are, CHECKSUM is removed, and keywords that describe the
    structure of the file can't be set. The metadata of a saved version can't be changed; a copy can.

    Parameters
    ----------
    headers : sequence of (str, bytes), optional
        Name and verbatim header of each HDU, in file order.
    bench : bytes, keyword-only, optional
        Header of the test bench's file that the product was made from. ``meta["BENCH.NAME"]`` reads its keywords;
        without the prefix only those whose names the schemas of JWST's keywords don't have. It can't be changed.
    """

    def __init__(self, headers: Sequence[tuple[str, bytes]] = (), *, bench: bytes | None = None) -> None:
        self._names = [name for name, _ in headers]
        self._raw = [bytes(raw) for _, raw in headers]
        self._from_file = bool(self._raw)
        self._bench: int | None = None
        if bench is not None:
            self._bench = len(self._names)
            self._names.append(BENCH)
            self._raw.append(bytes(bench))
        self._parsed: list[_Header | None] = [None] * len(self._raw)
        self._changed = False

    _saved: str | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        self._refuse_if_saved(name)
        object.__setattr__(self, name, value)

    def _refuse_if_saved(self, what: str) -> None:
        if self._saved is not None:
            raise ReadOnly.of_version(self._saved, what)

    def freeze(self, urn: str) -> None:
        """Make these the metadata of a saved version: from now on values can't be set or deleted.

        Parameters
        ----------
        urn : str
            The version, for messages.
        """
        self.__dict__["_saved"] = urn

    @property
    def is_frozen(self) -> bool:
        """Whether these belong to a saved version, so that they can't be changed; a `copy` can."""
        return self._saved is not None

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> MetaData:
        """Make the metadata of a product in memory.

        Parameters
        ----------
        values : mapping
            Names as for reading; values of the types that FITS has, datetimes with a time zone, or Parameters.
            A name qualified by an HDU goes to that HDU's header. Keywords that describe the structure of a file are
            passed over: they follow from the datasets.

        Returns
        -------
        MetaData
            With headers that consist of these cards alone.
        """
        made = cls()
        resolved = {name: dictionary().resolve(name) for name in values}
        wanted = {name: value for name, value in values.items() if not is_structural(resolved[name].key)}
        keys = [resolved[name].key for name in wanted]
        is_plain = all(resolved[name].hdu is None and not isinstance(v, Parameter) for name, v in wanted.items())
        if wanted and is_plain and len(set(keys)) == len(keys):
            cards = (_format(key, value, _PRIMARY) for key, value in zip(keys, wanted.values(), strict=True))
            made._names, made._raw, made._parsed = [_PRIMARY], [b"".join(cards)], [None]
            return made
        for name, value in wanted.items():
            made[name] = value
        made._changed = False
        return made

    @property
    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """Name and header of each HDU, as they are now."""
        return self.all_headers[: self._bench]

    @property
    def all_headers(self) -> tuple[tuple[str, bytes], ...]:
        """`headers`, followed by the test bench's own header if there is one; `rows` numbers HDUs in this order."""
        return tuple(zip(self._names, self._raw, strict=True))

    @property
    def changed(self) -> bool:
        """Whether a value was set or deleted since these metadata were read or made."""
        return self._changed

    def copy(self) -> MetaData:
        """Give an independent copy.

        Returns
        -------
        MetaData
            Equal to this one; its values can be set.
        """
        made = MetaData(self.headers, bench=None if self._bench is None else self._raw[self._bench])
        made._from_file, made._changed = self._from_file, self._changed
        return made

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> MetaData:
        return self.copy()

    def _header(self, i: int) -> _Header:
        parsed = self._parsed[i]
        if parsed is None:
            parsed = self._parsed[i] = _header_of(self._raw[i])
        return parsed

    def _hdu(self, name: str) -> int | None:
        name = name.upper().removesuffix(",1")
        return next((i for i, known in enumerate(self._names) if known.upper() == name), None)

    def _locate(self, name: str) -> tuple[int, str] | None:
        """Find HDU number and key of a name, also where the name is spelled like a keyword of another convention."""
        hdu, key = dictionary().resolve(name)
        found = self._find(hdu, key)
        if found is None:
            place, _, literal = name.strip().upper().rpartition(".")
            found = self._find(place or None, literal) or self._find(None, name)
        return found

    def _find(self, hdu: str | None, key: str) -> tuple[int, str] | None:
        if hdu is not None:
            i = self._hdu(hdu)
            return (i, key) if i is not None and key in self._header(i).by_key else None
        return next(
            ((i, key) for i in range(len(self._raw)) if key in self._header(i).by_key and self._may(i, key)), None
        )

    def _may(self, i: int, key: str) -> bool:
        """Tell whether a bare keyword may mean a header's: a bench's own words are not JWST's."""
        return i != self._bench or not dictionary().knows(key)

    def __getitem__(self, name: str) -> Parameter:
        found = self._locate(name) if isinstance(name, str) else None
        if found is None:
            near = suggest(name, self) if isinstance(name, str) else []
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise NotFound(f"no keyword {name!r} in this metadata{hint}")
        i, key = found
        return self._parameter(i, self._header(i).by_key[key])

    def _parameter(self, i: int, card: Card) -> Parameter:
        told = dictionary().describe(card.keyword, self._names[i])
        unit, description = split_unit(card.comment)
        value = self._header(i).time(card, self._time_system()) or card.value
        return Parameter(
            value,
            told.unit or unit,
            told.title or description or None,
            _TYPES.get(type(value), told.type),
            card.keyword,
            self._names[i],
        )

    def _time_system(self) -> str | None:
        return self._header(0).text("TIMESYS")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._locate(name) is not None

    def containsKey(self, key: str) -> bool:  # noqa: N802 -- HIPE's name
        """Tell whether there is such a keyword, in HIPE's word.

        Parameters
        ----------
        key : str
            As for reading.

        Returns
        -------
        bool
            True if there is.
        """
        return key in self

    def _places(self) -> Iterator[tuple[str, int, Card]]:
        """Give a name for each keyword of each HDU: bare where that means this card, else qualified."""
        owner: dict[str, int] = {}
        for i in range(len(self._raw)):
            for key, card in self._header(i).by_key.items():
                if self._may(i, key) and owner.setdefault(key, i) == i:
                    yield key, i, card
        for i, hdu in enumerate(self._names):
            for key, card in self._header(i).by_key.items():
                if owner.get(key) != i and self._hdu(hdu) == i:
                    yield f"{hdu}.{key}", i, card

    def __iter__(self) -> Iterator[str]:
        return (name for name, _, card in self._places() if card.keyword not in COMMENTARY)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __setitem__(self, name: str, value: Any) -> None:
        self._refuse_if_saved(str(name))
        hdu, key = dictionary().resolve(name)
        if is_structural(key):
            raise InvalidInput(f"{key} follows from the datasets and can't be set")
        if hdu is None and isinstance(value, Parameter) and value.hdu != _PRIMARY:
            hdu = value.hdu
        found = self._locate(name)
        if found is not None and found[0] == self._bench and hdu is None:
            found = None  # the product gets a card of its own
        i, key = found if found is not None else (self._make_room(hdu), key)
        old = self._header(i).by_key.get(key)
        self._edit(i, key, _format(key, value, self._names[i], old))

    def __delitem__(self, name: str) -> None:
        self._refuse_if_saved(str(name))
        place = self[name]
        i, key = self._names.index(str(place.hdu)), str(place.keyword)
        if is_structural(key):
            raise InvalidInput(f"{key} follows from the datasets and can't be removed")
        self._edit(i, key, b"")

    def _edit(self, i: int, key: str, images: bytes) -> None:
        if i == self._bench:
            raise InvalidInput(f"{key} belongs to the header of the test bench's file, which can't be changed")
        self._raw[i] = edit_header(self._raw[i], key, images)
        self._parsed[i] = None
        self._changed = True

    def _make_room(self, hdu: str | None) -> int:
        name = hdu or _PRIMARY
        i = 0 if hdu is None and self._raw else self._hdu(name)
        if i is not None:
            return i
        if self._from_file:
            raise NotFound(f"no HDU {name!r} in this product; it has {', '.join(self._names)}")
        if not self._raw and name != _PRIMARY:
            self._make_room(_PRIMARY)
        self._names.append(name)
        self._raw.append(b"")
        self._parsed.append(None)
        return len(self._raw) - 1

    def rows(self) -> Iterator[KeywordRow]:
        """Give what the index keeps: one row for each card that has a keyword.

        Yields
        ------
        KeywordRow
            In file order.
        """
        seen: dict[str, int] = {}
        for i, hdu_name in enumerate(self._names):
            header = self._header(i)
            system = self._time_system()
            counts: dict[str, int] = {}
            for card in header.cards:
                key = card.keyword
                occurrence = counts.get(key, 0)
                counts[key] = occurrence + 1
                first = self._may(i, key) and seen.setdefault(key, i) == i and occurrence == 0
                number, text, flag = _split(card.value)
                time = None if text is None else header.time(card, system)
                yield KeywordRow(i, hdu_name, _without_nul(key), occurrence, first, number, text, flag, time)

    def to_dict(self, keys: Iterable[str] | None = None) -> dict[str, str | int | float | bool | None]:
        """Give values as JSON can hold them; dates as the header spells them.

        Parameters
        ----------
        keys : iterable of str, optional
            FITS keywords, upper case, of which those that are there are given; all names unless given.

        Returns
        -------
        dict
            By the names that iteration gives.
        """
        if keys is not None:
            found = {key: place for key in keys if (place := self._find(None, key)) is not None}
            return {key: json_value(self._header(i).by_key[key].value) for key, (i, _) in found.items()}
        return {name: json_value(card.value) for name, _, card in self._places() if card.keyword not in COMMENTARY}

    def __repr__(self) -> str:
        telling = (place for place in self._places() if not is_structural(place[2].keyword))
        shown = [f"{name}={_show(card.value)}" for name, _, card in itertools.islice(telling, 4)]
        more = ", …" if len(self) > len(shown) else ""
        return f"<MetaData, {len(self)} keywords in {len(self._raw)} headers: {', '.join(shown)}{more}>"

    def _repr_html_(self) -> str:
        import html

        lines = ["<table><tr><th>keyword</th><th>value</th><th>unit</th><th>description</th></tr>"]
        for name, i, card in self._places():
            if card.keyword not in COMMENTARY:
                parameter = self._parameter(i, card)
                cells = (name, _show(parameter.value), parameter.unit or "", parameter.description or "")
                lines.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
        return "".join((*lines, "</table>"))


def _split(value: Value) -> tuple[float | None, str | None, bool | None]:
    if isinstance(value, str):
        return None, _without_nul(value), None
    if isinstance(value, bool):
        return None, None, value
    if isinstance(value, complex):
        return None, str(value), None
    return (None if value is None else float(value)), None, None


def _without_nul(text: str) -> str:
    return text.replace("\x00", "\ufffd") if "\x00" in text else text


def _show(value: ParameterValue) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return "" if value is None else str(value)


def _format(key: str, value: Any, hdu: str, old: Card | None = None) -> bytes:
    """Write the card of a value; without a comment of its own it keeps the old one."""
    return format_card(key, _to_card_value(key, value), _make_comment(key, hdu, value, old))


def _to_card_value(key: str, value: Any) -> Value:
    if isinstance(value, Parameter):
        value = value.value
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # NumPy's scalars
        value = value.item()
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidInput(f"{key}: a time needs its time zone; use datetime(..., tzinfo=UTC)")
        utc = value.astimezone(UTC).replace(tzinfo=None)
        return utc.isoformat() if utc.time() != utc.time().min else utc.date().isoformat()
    if value is None or isinstance(value, (str, bool, int, float, complex)):
        return value
    raise InvalidInput(f"{key}: a FITS header can't hold a {type(value).__name__}; use text, a number or a truth value")


def _make_comment(key: str, hdu: str, value: Any, old: Card | None) -> str:
    unit = description = None
    if isinstance(value, Parameter):
        unit, description = value.unit, value.description
    elif old is not None:
        return old.comment if old.comment.isascii() and old.comment.isprintable() else ""
    if not (unit or description):
        told = dictionary().describe(key, hdu)
        unit, description = told.unit, told.title
    text = f"[{unit}] {description or key}" if unit else description or ""
    return "".join(c for c in text if " " <= c <= "~")[: CARD - 12]
