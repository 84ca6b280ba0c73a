"""What of a FITS file is its content, and what only tells when and by which run it was written.

This is the one place that lists what differs on every pipeline run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from ..model.cards import CARD, is_structural, keyword_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..model.dataset import ArraySource
    from ..model.product import Hdu, Layout

__all__ = ["UNSTABLE_CARDS", "UNSTABLE_META", "UNSTABLE_TREE", "stable_content"]

UNSTABLE_CARDS = frozenset({"DATE", "CHECKSUM", "DATASUM"})
"""Cards that each run writes again."""
UNSTABLE_TREE = frozenset({"history", "cal_logs", "asdf_library", "_fits_hash"})
"""Top-level entries of the ASDF tree that each run, or each version of the asdf library, writes again."""
UNSTABLE_META = frozenset({"date"})
"""Entries of the ASDF tree's ``meta`` that each run writes again."""

_MAX_TREE = 4 << 20
"""Bytes of a tree beyond which it counts as bytes: reading it would take longer than saving its product."""
_MAX_DEPTH = 200

_END_OF_TREE = re.compile(rb"^\.\.\.\r?$\n?", re.MULTILINE)
_BLOCK_MAGIC = b"\xd3BLK"
_BLOCK_INDEX = b"#ASDF BLOCK INDEX"
_PARTS = ("data", "heap", "raw", "tail")


def stable_content(layout: Layout, digest_of: Callable[[int, str], str]) -> dict[str, Any]:
    """Give what two files have in common that are the same data with new timestamps.

    Parameters
    ----------
    layout : Layout
        The file.
    digest_of : callable
        ``digest_of(hdu, part)`` gives the digest of a stored array: `part` is ``data``, ``heap``, ``raw`` or
        ``tail`` of the HDU of that number, or ``trailer``, ``rest`` or ``tail`` of HDU -1.

    Returns
    -------
    dict
        For JSON: headers as text without the cards that differ on each run, digests of arrays, and the ASDF tree
        without the entries that differ. Equal for two files if, and only if, they count as the same data.
    """
    content: dict[str, Any] = {"hdus": [_hdu_content(i, hdu, digest_of) for i, hdu in enumerate(layout.hdus)]}
    if layout.original is not None:
        cards, behind = _stable_cards(layout.original.header, with_structure=True)
        content["original"] = {"cards": cards, "behind": behind} | {
            part: digest_of(-1, part) for part in ("rest", "tail") if getattr(layout.original, part) is not None
        }
    if layout.trailer is not None:
        content["trailer"] = digest_of(-1, "trailer")
    return content


def _hdu_content(number: int, hdu: Hdu, digest_of: Callable[[int, str], str]) -> dict[str, Any]:
    tree = _asdf_content(hdu.data) if hdu.name.partition(",")[0] == "ASDF" and hdu.raw is None else None
    content: dict[str, Any] = {"name": hdu.name, "encoding": hdu.encoding}
    content["cards"], behind = _stable_cards(hdu.header, with_structure=tree is None)
    if behind:
        content["behind"] = behind
    if tree is not None:
        content["asdf"] = tree
    for part in _PARTS:
        if getattr(hdu, part) is not None and not (part == "data" and tree is not None):
            content[part] = digest_of(number, part)
    return content


def _stable_cards(header: bytes, *, with_structure: bool) -> tuple[list[str], str]:
    """Give card images that count, and what stands behind END where there should be blanks."""
    images: list[str] = []
    keep = True
    for start in range(0, len(header), CARD):
        image = header[start : start + CARD]
        keyword = keyword_of(image)
        if keyword is None:
            return images, header[start + CARD :].decode("latin-1").rstrip(" ")
        if keyword != "CONTINUE":
            keep = keyword not in UNSTABLE_CARDS and (with_structure or not is_structural(keyword))
        if keep:
            images.append(image.decode("latin-1").rstrip(" "))
    return images, ""


def _asdf_content(data: ArraySource | None) -> dict[str, Any] | None:
    """Read the stable part of an ASDF stream; None where it can't be read, so that its bytes count."""
    import yaml

    stream = _read_bytes(data)
    found = None if stream is None else _END_OF_TREE.search(stream)
    if stream is None or found is None or not stream.startswith(b"#ASDF"):
        return None
    if found.end() > _MAX_TREE:
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = stream[: found.end()].decode("utf-8")
        if _is_deep(yaml.parse(text, loader)):
            return None
        root = yaml.compose(text, loader)
        tree = None if root is None else _Canonical().convert(_without_unstable(root))
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return {"tree": tree, "blocks": _block_digest(stream[found.end() :])}


def _is_deep(events: Iterable[Any]) -> bool:
    """Tell whether collections stand too deep in one another: libyaml's composer recurses, and dies of it."""
    import yaml

    depth = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                return True
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return False


def _read_bytes(data: ArraySource | None) -> bytes | None:
    if data is None:
        return None
    fields = data.dtype.names
    if fields is not None and (len(fields) != 1 or data.dtype.fields is None):
        return None
    kind = data.dtype if fields is None or data.dtype.fields is None else data.dtype.fields[fields[0]][0]
    if kind.base != np.uint8:
        return None
    return np.ascontiguousarray(data[...]).tobytes()


def _block_digest(rest: bytes) -> str | None:
    """Digest the binary blocks behind the tree: the padding before them and the index behind depend on its length."""
    start = rest.find(_BLOCK_MAGIC)
    if start < 0:
        rest = rest.strip(b"\x00")
    else:
        stop = rest.rfind(_BLOCK_INDEX)
        rest = rest[start : stop if stop > start else len(rest)]
    return f"{len(rest)}:{xxhash.xxh3_128_hexdigest(rest)}" if rest else None


def _without_unstable(root: Any) -> Any:
    """Take the entries out of the composed tree that differ on each run."""
    import yaml

    if isinstance(root, yaml.MappingNode):
        root.value = [(key, value) for key, value in root.value if not _is_one_of(key, UNSTABLE_TREE)]
        for key, value in root.value:
            if key.value == "meta" and isinstance(value, yaml.MappingNode):
                value.value = [(k, v) for k, v in value.value if not _is_one_of(k, UNSTABLE_META)]
    return root


class _Canonical:
    """Turns composed YAML into lists for JSON: tags are kept as text, no object is ever built.

    A node that occurs again (an alias) is referred to by number, so that neither cycles nor aliases of aliases
    make the result larger than the text.
    """

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def convert(self, node: Any) -> list[Any]:
        """Give ``[tag, content]`` of a node and all below it."""
        import yaml

        if isinstance(node, yaml.ScalarNode):
            return [node.tag, node.value]
        number = self._seen.setdefault(id(node), len(self._seen))
        if number != len(self._seen) - 1:
            return ["*", number]
        return [node.tag, self._convert_collection(node)]

    def _convert_collection(self, node: Any) -> list[Any]:
        import yaml

        if isinstance(node, yaml.MappingNode):
            pairs = sorted(node.value, key=lambda pair: str(pair[0].value) if _is_scalar(pair[0]) else "")
            return [[self.convert(key), self.convert(value)] for key, value in pairs]
        return [self.convert(item) for item in node.value]


def _is_one_of(key: Any, names: frozenset[str]) -> bool:
    return _is_scalar(key) and key.value in names


def _is_scalar(node: Any) -> bool:
    return isinstance(node.value, str)
