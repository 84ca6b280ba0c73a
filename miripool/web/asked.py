"""Which versions a request means: the parameters of `miripool ls`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query

from ..errors import InvalidInput
from ..model.kinds import KINDS
from ..model.product import Product
from ..query import Query as Condition

__all__ = ["Asked"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which versions a request means; the parameters of `miripool ls`.

    Attributes
    ----------
    where, kind, tag : str
        Condition, kind and tag; empty for none.
    all_versions, trash : bool
        All versions instead of the newest; the versions in the trash instead.
    """

    where: Annotated[str, Query(description="Condition on versions, as for `miripool ls --where`.")] = ""
    kind: Annotated[str, Query(description="Only this kind, e.g. RateInts.")] = ""
    tag: Annotated[str, Query(description="The versions that this tag marks.")] = ""
    all_versions: Annotated[bool, Query(description="All versions, not only the newest.")] = False
    trash: Annotated[bool, Query(description="The versions in the trash instead.")] = False

    def condition(self) -> Condition:
        """Give the query; it calls no function of this program.

        Returns
        -------
        miripool.Query
            For `Pool.select`.

        Raises
        ------
        InvalidInput
            If the condition can't be read, or there is no such kind.
        """
        text = self.where.strip() or "1"
        query = Condition(Product, "p", text, all_versions=self.all_versions, tag=self.tag or None, functions={})
        return query.of_kind(self.kind) if self.kind else query

    def options(self) -> dict[str, Any]:
        """Give it as the options of `miripool.pool.page.page`.

        Returns
        -------
        dict
            ``query``, ``tag``, ``all_versions``, ``trash`` and ``kinds``.

        Raises
        ------
        InvalidInput
            As for `condition`; or if a condition is asked of the trash.
        """
        if self.trash and (self.where or self.tag or self.all_versions):
            raise InvalidInput("the trash can't be searched by a condition, a tag or all versions; leave these out")
        kinds = [self.kind] if self.kind else list(KINDS)
        return {
            "query": "1" if self.trash else self.condition(),
            "kinds": kinds if self.trash else None,
            "tag": self.tag or None,
            "all_versions": self.all_versions,
            "trash": self.trash,
        }

    def as_python(self, pool: str, order: str) -> str:
        """Write the line of Python that gives the same answer.

        Parameters
        ----------
        pool : str
            The pool's name.
        order : str
            What is sorted by.

        Returns
        -------
        str
            One expression.
        """
        start = f"PoolManager.getPool({pool!r})"
        if self.trash:
            return f"{start}.trash({repr(self.kind) + ', ' if self.kind else ''}order={order!r})"
        parts = [f"kind == {self.kind!r}"] if self.kind else []
        if self.where.strip():
            parts.append(f"({self.where.strip()})" if parts and " or " in self.where else self.where.strip())
        options = [repr(" and ".join(parts))] if parts else []
        options += [f"tag={self.tag!r}"] if self.tag else []
        options += ["all_versions=True"] if self.all_versions else []
        return f"{start}.select({', '.join([*options, f'order={order!r}'])})"

    def as_command(self, pool: str, order: str) -> str:
        """Write the command that gives the same answer.

        Parameters
        ----------
        pool, order : str
            As for `as_python`.

        Returns
        -------
        str
            For a shell.
        """
        words = ["miripool", "ls", pool]
        words += ["--kind", self.kind] if self.kind else []
        words += ["--where", self.where.strip()] if self.where.strip() else []
        words += ["--tag", self.tag] if self.tag else []
        words += ["--all-versions"] if self.all_versions else []
        words += ["--trash"] if self.trash else []
        words += [f"--sort={order}"] if order != "-created" else []
        return shlex.join(words)
