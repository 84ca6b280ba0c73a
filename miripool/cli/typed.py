"""What was typed, as commands take it: most options are text, or a whole number.

typer converts them by pydantic, which takes 60 to 90 ms to load, and a converter more for each option. So texts, whole
numbers, paths that can be read and what was not given are converted here; all else, and what may be an error, is left
to typer. No option here has a parser, or a path with conditions, of its own.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, get_args, get_origin

__all__ = ["take_as_typed"]

_WHOLE = re.compile(r"-?[0-9]{1,18}")


def take_as_typed(parameters: list[Any]) -> list[Any]:
    """Have a command's parameters converted without pydantic, as far as that is plain.

    Parameters
    ----------
    parameters : list of typer.core.TyperOption or typer.core.TyperArgument
        Of the command. A typer that converts otherwise does not look at what is set here.

    Returns
    -------
    list
        The same.
    """
    for parameter in parameters:
        if getattr(parameter, "_runtime_param", None) is None:
            parameter._runtime_param = _AsTyped()
    return parameters


class _AsTyped:
    """Stands for typer's converter of one parameter, which is made when it is needed."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Convert, as typer's own converter does."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if not param.type_descriptor.is_ranged:
            found = _converted(value, param.type_descriptor.annotation)
            if found is not None:
                return found
        param._runtime_param = None  # it makes its own
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


def _converted(value: Any, annotation: Any) -> Any:
    """Convert a value to a type; None where that is not plain."""
    if annotation is str:
        return value if isinstance(value, str) and _is_unicode(value) else None
    if annotation is int:
        return int(value) if type(value) is int or (isinstance(value, str) and _WHOLE.fullmatch(value)) else None
    if annotation is Path:
        return Path(value) if isinstance(value, str) and _is_unicode(value) and os.access(value, os.R_OK) else None
    if get_origin(annotation) is list and not isinstance(value, str):
        found = [_converted(item, *get_args(annotation)) for item in value]
        return None if None in found else found
    return None


def _is_unicode(text: str) -> bool:
    """Tell whether each character is one: of bytes that are none, Python makes surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
