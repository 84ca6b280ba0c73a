"""What a metadata name means: FITS keywords and the paths of the jwst datamodels, from stdatamodels' own schemas.

The schemas are read, not imported, once for each version of stdatamodels; the result is kept in the user's cache
folder. Without stdatamodels the dictionary is empty, and every name stands for itself.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["BENCH", "Description", "KeywordDictionary", "Resolved", "dictionary", "split_unit", "suggest"]

BENCH = "BENCH"
"""What the header of a test bench's file is called beside the HDUs of the product that was made of it."""

_FORMAT = 1
"""Of the cached file."""
_SCHEMAS = ("core", "ramp", "level1b", "image", "cube", "rampfitoutput", "darkMIRI")
"""Where two schemas describe the same keyword, the earlier one is right; each brings those it refers to."""
_NOT_A_UNIT = re.compile(r"yyyy|hh:|mm:|\A\s*\Z", re.IGNORECASE)


class Resolved(NamedTuple):
    """Where a name's value is to be looked for.

    Attributes
    ----------
    hdu : str or None
        Name of the HDU; None for a bare name: the primary header, then the first HDU that has it.
    key : str
        FITS keyword, upper case.
    """

    hdu: str | None
    key: str


class Description(NamedTuple):
    """What the schemas say of a keyword; None for what they do not say.

    Attributes
    ----------
    title : str or None
        One line, without the unit.
    unit : str or None
        E.g. ``s``.
    type : str or None
        ``string``, ``number``, ``integer`` or ``boolean``.
    """

    title: str | None = None
    unit: str | None = None
    type: str | None = None


class _Entry(NamedTuple):
    keyword: str
    hdu: str | None
    path: str
    title: str | None
    type: str | None


class KeywordDictionary:
    """FITS keywords and datamodel paths, each found by the other.

    Parameters
    ----------
    entries : iterable of (keyword, hdu, path, title, type)
        `hdu` is None for the primary header; `path` such as ``meta.exposure.ngroups``. The first of equals counts.
    """

    def __init__(self, entries: Iterable[Iterable[Any]] = ()) -> None:
        self._by_keyword: dict[str, list[_Entry]] = {}
        self._by_path: dict[str, Resolved] = {}
        leaves: dict[str, set[Resolved]] = {}
        for entry in map(_Entry._make, entries):
            target = Resolved(entry.hdu, entry.keyword)
            path = entry.path.lower()
            self._by_keyword.setdefault(entry.keyword, []).append(entry)
            self._by_path.setdefault(path, target)
            self._by_path.setdefault(path.removeprefix("meta."), target)
            # ``instrument.name`` is the instrument.
            leaves.setdefault(path.removesuffix(".name").rpartition(".")[2], set()).add(target)
        self._by_leaf = {leaf: next(iter(targets)) for leaf, targets in leaves.items() if len(targets) == 1}
        self.hyphenated: frozenset[str] = frozenset(k for k in self._by_keyword if "-" in k)
        self._by_underscore = {k.replace("-", "_"): k for k in self.hyphenated}

    def __len__(self) -> int:
        return len(self._by_keyword)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_keyword)

    def resolve(self, name: str) -> Resolved:
        """Find the FITS keyword that a name stands for.

        Parameters
        ----------
        name : str
            Any case: a keyword, with underscores for hyphens if one likes (``date_obs``); a path with or without
            ``meta.`` (``exposure.ngroups``), or its last word where only one path ends so (``group_time``, and
            ``instrument`` for ``instrument.name``); either with the name of an HDU before it (``SCI.BUNIT``).

        Returns
        -------
        Resolved
            An unknown name stands for itself, in upper case.
        """
        if name.strip().upper().startswith(f"{BENCH}."):  # a test bench's keywords are no paths of JWST's
            return Resolved(BENCH, name.strip().upper().removeprefix(f"{BENCH}."))
        return self._find(name) or self._fall_back(name)

    def knows(self, name: str) -> bool:
        """Tell whether the schemas have a keyword or path of that name.

        Parameters
        ----------
        name : str
            As for `resolve`; for a qualified name it is the keyword that counts.

        Returns
        -------
        bool
            True if they have.
        """
        return self._find(name) is not None or ("." in name and self._find(name.rpartition(".")[2]) is not None)

    def _find(self, name: str) -> Resolved | None:
        name = name.strip()
        key = name.upper()
        key = key if key in self._by_keyword else self._by_underscore.get(key, key)
        if key in self._by_keyword:
            return Resolved(None, key)
        return self._by_path.get(name.lower()) or self._by_leaf.get(name.lower())

    def _fall_back(self, name: str) -> Resolved:
        hdu, dot, key = name.strip().rpartition(".")
        if not dot or not hdu or not key:
            return Resolved(None, name.strip().upper())
        return Resolved(hdu.strip().upper(), self.resolve(key).key)

    def describe(self, key: str, hdu: str | None = None) -> Description:
        """Tell what the schemas say of a keyword.

        Parameters
        ----------
        key : str
            FITS keyword.
        hdu : str, optional
            Name of the HDU it stands in; needed only where one keyword means different things.

        Returns
        -------
        Description
            Of Nones for an unknown keyword.
        """
        entries = self._by_keyword.get(key.upper())
        if not entries:
            return Description()
        place = None if hdu in (None, "PRIMARY") else str(hdu).upper().partition(",")[0]
        entry = next((e for e in entries if e.hdu == place), entries[0])
        unit, title = split_unit(entry.title or "")
        return Description(title or None, unit, entry.type)


def split_unit(text: str) -> tuple[str | None, str]:
    """Take the unit off a title or comment such as ``[s] Time between groups``.

    Parameters
    ----------
    text : str
        Brackets count only where a description follows them: ``[calculated]`` alone, and formats of dates, are none.

    Returns
    -------
    unit : str or None
        Without brackets.
    description : str
        The rest.
    """
    text = text.strip()
    if text.startswith("["):
        unit, bracket, rest = text[1:].partition("]")
        if bracket and rest.strip():
            return (None if _NOT_A_UNIT.search(unit) else unit.strip()), rest.strip()
    return None, text


def suggest(name: str, candidates: Iterable[str], n: int = 3) -> list[str]:
    """List the names that look most like one that is not there.

    Parameters
    ----------
    name : str
        What was asked for, any case.
    candidates : iterable of str
        What there is.
    n : int, optional
        At most so many.

    Returns
    -------
    list of str
        Best first, as they are written in `candidates`.
    """
    spelled: dict[str, str] = {}
    for candidate in candidates:
        spelled.setdefault(candidate.upper(), candidate)
    return [spelled[found] for found in difflib.get_close_matches(name.upper(), spelled, n, 0.6)]


@functools.cache
def dictionary() -> KeywordDictionary:
    """Give the dictionary of the installed stdatamodels; it is read when first asked for.

    Returns
    -------
    KeywordDictionary
        The same one each time; empty where stdatamodels is not installed.
    """
    folder = _schema_folder()
    if folder is None:
        return KeywordDictionary()
    cache = _cache_file()
    kept = _read_cache(cache)
    if kept is not None:
        return kept
    entries = [list(entry) for entry in _read_schemas(folder)]
    _write_cache(cache, entries)
    return KeywordDictionary(entries)


def _schema_folder() -> Path | None:
    spec = importlib.util.find_spec("stdatamodels")
    for place in (spec and spec.submodule_search_locations) or ():
        folder = Path(place) / "jwst" / "datamodels" / "schemas"
        if (folder / "core.schema.yaml").is_file():
            return folder
    return None


def _cache_file() -> Path:
    import importlib.metadata

    import platformdirs

    try:
        version = importlib.metadata.version("stdatamodels")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    return Path(platformdirs.user_cache_dir("miripool")) / f"keywords-{_FORMAT}-{version}.json"


def _read_cache(path: Path) -> KeywordDictionary | None:
    try:
        entries = json.loads(path.read_bytes())
        kept = KeywordDictionary(entries)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return kept if isinstance(entries, list) and entries else None


def _write_cache(path: Path, entries: list[list[Any]]) -> None:
    import tempfile

    # A cache that can't be written costs time, nothing else: no word about it.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(entries, file, separators=(",", ":"))
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise


def _read_schemas(folder: Path) -> list[_Entry]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[tuple[str, str | None, str], _Entry] = {}
    done: set[str] = set()
    waiting = [f"{name}.schema" for name in reversed(_SCHEMAS)]
    while waiting:
        name = waiting.pop()
        path = folder / f"{name}.yaml"
        if name in done or not path.is_file():
            continue
        done.add(name)
        with path.open("rb") as file:
            schema = yaml.load(file, loader)  # noqa: S506 -- one of the two safe loaders
        references: list[str] = []
        for entry in _walk(schema, (), references):
            found.setdefault((entry.keyword, entry.hdu, entry.path), entry)
        waiting.extend(reversed(references))
    return list(found.values())


def _walk(node: Any, path: tuple[str, ...], references: list[str]) -> Iterator[_Entry]:
    """Go through one schema in its own order; lists (``items``) have no single keyword and are left out."""
    if not isinstance(node, dict):
        return
    keyword = node.get("fits_keyword")
    if isinstance(keyword, str) and path:
        hdu = node.get("fits_hdu")
        title, kind = node.get("title"), node.get("type")
        yield _Entry(
            keyword.upper(),
            None if hdu in (None, "PRIMARY") else str(hdu).upper(),
            ".".join(path),
            " ".join(title.split()) if isinstance(title, str) else None,
            kind if isinstance(kind, str) else None,
        )
    if isinstance(node.get("$ref"), str):
        references.append(node["$ref"].partition("#")[0])
    properties = node.get("properties")
    for name, child in properties.items() if isinstance(properties, dict) else ():
        yield from _walk(child, (*path, str(name)), references)
    for combination in ("allOf", "anyOf", "oneOf"):
        for child in node.get(combination) or ():
            yield from _walk(child, path, references)
