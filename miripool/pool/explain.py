"""Explain: what answers each condition of a query, how many products satisfy it, and what the user may have meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..query.division import needs, split
from ..query.queries import PixelQuery, Query
from ..query.text import to_text
from ..query.tree import ALL, And, Node
from . import select as selecting
from .reasons import hint, in_order, with_node

if TYPE_CHECKING:
    from .core import Core

__all__ = ["Explanation", "Step", "explain"]


@dataclass(frozen=True, slots=True)
class Step:
    """One condition of a query.

    Attributes
    ----------
    condition : str
        The condition in normal form.
    answered_by : str
        What answers the condition: the index, statistics in the index, pixel rows, the metadata or data of each
        product left, or a function.
    left : int
        Number of products that satisfy this condition and those before it.
    hint : str or None
        If no product is left: the nearest existing values.
    """

    condition: str
    answered_by: str
    left: int
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a query is answered.

    Attributes
    ----------
    steps : tuple of Step
        In the order in which the conditions are evaluated.
    """

    steps: tuple[Step, ...]

    @property
    def found(self) -> int:
        """Number of products that satisfy all conditions."""
        return self.steps[-1].left

    def rows(self) -> list[dict[str, Any]]:
        """Give the steps as dictionaries.

        Returns
        -------
        list of dict
            condition, answered_by, left, hint.
        """
        return [{name: getattr(step, name) for name in Step.__slots__} for step in self.steps]

    def __str__(self) -> str:
        width = max(len(step.condition) for step in self.steps)
        lines = [f"{step.condition:<{width}}  {step.left:>7} left, by {step.answered_by}" for step in self.steps]
        return "\n".join([*lines, *(step.hint for step in self.steps if step.hint)])

    __repr__ = __str__


def explain(pool: Core, asked: Query, *, tag: str | None = None, all_versions: bool | None = None) -> Explanation:
    """Answer a query step by step.

    Parameters
    ----------
    pool : Core
        The pool; its index is caught up.
    asked : Query
        The query.
    tag, all_versions : object, keyword-only, optional
        As for `Pool.select`.

    Returns
    -------
    Explanation
        The counts are exact: data are read where conditions ask for them.
    """

    def count(node: Node) -> list[int]:
        return selecting.select(pool, with_node(asked, node), tag=tag, all_versions=all_versions)

    everything = asked.all_versions if all_versions is None else all_versions
    which = f"marked {tag!r}" if tag is not None else "all versions" if everything else "heads"
    kinds = " or ".join(asked.kinds)
    steps = [Step(f"{kinds}, {which}", "the index", len(count(ALL)))]
    before: tuple[Node, ...] = ()
    for part in in_order(asked.node):
        left = len(count(And((*before, part)))) if steps[-1].left else 0
        found = hint(pool, asked, part) if steps[-1].left and not left else None
        steps.append(Step(to_text(part, asked.variable), _who(part), left, found))
        before = (*before, part)
    if isinstance(asked, PixelQuery):
        chosen = selecting.select(pool, asked, tag=tag, all_versions=all_versions) if steps[-1].left else []
        words = f"at least {asked.at_least} pixels with {asked.text or 'anything'}"
        region = "" if asked.region is None else " in columns {} to {}, rows {} to {}".format(*asked.region)
        detector = "" if asked.detector is None else f" of detector {asked.detector}"
        steps.append(Step(words + region + detector, "pixel rows", len(chosen)))
    return Explanation(tuple(steps))


def _who(part: Node) -> str:
    wanted = needs(part)
    if split(part)[1] is None:
        where = next((what for what in ("statistics", "footprint") if what in wanted), None)
        return (
            "the index"
            if where is None
            else "statistics in the index"
            if where == "statistics"
            else "footprints in the index"
        )
    if "python" in wanted:
        return "a function of each product left"
    return "data of each product left" if "data" in wanted else "metadata of each product left"
