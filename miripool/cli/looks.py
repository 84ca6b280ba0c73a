"""Commands that draw: one frame of a version, or the same frame of two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InvalidInput
from ..system.outfile import is_folder
from ..system.words import comma_separated
from .choosing import Which, choose, count_versions
from .output import say
from .pixels import pixel_named
from .session import PoolName, Spec, open_pool

if TYPE_CHECKING:
    from ..pool.reference import ProductRef
    from ..session.pool import Pool

__all__ = ["register"]

_Dataset = Annotated[
    str | None,
    typer.Option("--dataset", metavar="NAME", help="By default SCI, or the first that has frames.", show_default=False),
]
_Index = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="I[,G]",
        help="Integration and group, from 0; -1 is the last. By default the first.",
        show_default=False,
    ),
]
_Scale = Annotated[str, typer.Option("--scale", metavar="SCALE", help="linear, log or asinh.")]
_Limits = Annotated[
    str, typer.Option("--limits", metavar="RULE|LOW,HIGH", help="zscale, minmax, p99, p99.5, p99.9, or two numbers.")
]
_Cmap = Annotated[str, typer.Option("--cmap", metavar="NAME", help="Colour map, as matplotlib knows it.")]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]


def _plot(
    context: typer.Context,
    name: PoolName,
    spec: Spec,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="File for the picture: png, pdf, svg …")],
    dataset: _Dataset = None,
    index: _Index = None,
    pixel: Annotated[
        list[str] | None,
        typer.Option("--pixel", metavar="X,Y", help="Also draw the ramps of this pixel of the FULL array, from 1."),
    ] = None,
    flags: Annotated[
        list[str] | None,
        typer.Option("--flags", metavar="A,B", help="Colour and count the pixels with these DQ flags."),
    ] = None,
    scale: _Scale = "linear",
    limits: _Limits = "zscale",
    cmap: _Cmap = "gray",
    overwrite: _Overwrite = False,
) -> None:
    """Draw one frame of a version, with its histogram; flags and the ramps of chosen pixels on request."""
    path = _file(out)
    place, ends = _numbers(index), _limits(limits)
    pixels = [chosen for chosen in map(pixel_named, pixel or []) if chosen is not None]
    names = [flag for text in flags or [] for flag in comma_separated(text)]
    with open_pool(context, name) as pool:
        _one(pool, spec).plot(
            dataset,
            place,
            pixels=pixels,
            flags=names,
            scale=scale,
            limits=ends,
            cmap=cmap,
            out=path,
            overwrite=overwrite,
        )
    say(f"wrote {path}")


def _compare(
    context: typer.Context,
    name: PoolName,
    first: Annotated[str, typer.Argument(metavar="A", help="A version; see SPEC of `plot`.", show_default=False)],
    second: Annotated[str, typer.Argument(metavar="B", help="Another version.", show_default=False)],
    out: Annotated[
        str,
        typer.Option("--out", metavar="FILE", help="png, pdf, svg …: A, B and B - A; gif: A and B blink."),
    ],
    dataset: _Dataset = None,
    index: _Index = None,
    scale: _Scale = "linear",
    limits: _Limits = "zscale",
    cmap: _Cmap = "gray",
    overwrite: _Overwrite = False,
) -> None:
    """Draw the same frame of two versions, with the same limits, and what is different."""
    path = _file(out)
    place, ends = _numbers(index), _limits(limits)
    with open_pool(context, name) as pool:
        a, b = _one(pool, first), _one(pool, second)
        a.compare(
            b,
            dataset,
            place,
            scale=scale,
            limits=ends,
            cmap=cmap,
            out=path,
            overwrite=overwrite,
        )
    say(f"wrote {path}")


def _one(pool: Pool, spec: str) -> ProductRef:
    refs = choose(pool, [spec], Which()).refs
    if len(refs) != 1:
        raise InvalidInput(f"{spec!r} fits {count_versions(len(refs))}; a picture is of one, so name that one")
    return refs[0]


def _file(out: str) -> Path:
    path = Path(out).expanduser()
    if is_folder(path):
        raise InvalidInput(f"{path} is a folder; give the name of a file in it, e.g. {path / 'picture.png'}")
    return path


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise InvalidInput(f"--index {text}: write integration and group from 0, e.g. 0,3") from None


def _limits(text: str) -> str | list[float]:
    if "," not in text:
        return text
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise InvalidInput(f"--limits {text}: write two numbers, e.g. 0,500") from None


def register(app: typer.Typer) -> None:
    """Add the commands.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("plot")(_plot)
    app.command("compare")(_compare)
