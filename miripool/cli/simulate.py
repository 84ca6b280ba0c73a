"""The command that makes exposures to try things on."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from .output import human_bytes, say, write

__all__ = ["register"]


class _Form(enum.StrEnum):
    """How a raw exposure is written."""

    level1b = "level1b"
    jpl = "jpl"


def _simulate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write to; created if necessary.")],
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="Number of exposures, one day apart.")] = 1,
    subarray: Annotated[str, typer.Option(help="Subarray: FULL, SUB64, MASK1550, SLITLESSPRISM …")] = "SUB64",
    nints: Annotated[int, typer.Option(help="Integrations per exposure.")] = 5,
    ngroups: Annotated[int, typer.Option(help="Groups per integration.")] = 20,
    detector: Annotated[str, typer.Option(help="MIRIMAGE, MIRIFULONG or MIRIFUSHORT; the last two FULL only.")] = (
        "MIRIMAGE"
    ),
    readpatt: Annotated[str, typer.Option(help="Readout pattern: FAST, FASTR1, SLOW or SLOWR1.")] = "FASTR1",
    seed: Annotated[int, typer.Option(help="Seed for the noise, cosmic rays and sources of the first exposure.")] = 1,
    form: Annotated[
        _Form, typer.Option(help="Form of the files: JWST Level-1b, or that of the JPL test bench.")
    ] = _Form.level1b,
    references: Annotated[
        bool, typer.Option("--references", help="Also write the reference files, in FOLDER/references.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Simulate raw exposures and reference files.

    `reprocess` calibrates the exposures with them.

    The same options give the same arrays.
    """
    from ..simulate import simulate_campaign, write_references

    _make_folder(folder)
    exposures = simulate_campaign(
        number,
        name="sim_{number:05d}_{detector}",
        seed=seed,
        start=datetime(2026, 1, 1, tzinfo=UTC),
        detector=detector,
        subarray=subarray.upper(),
        nints=nints,
        ngroups=ngroups,
        readpatt=readpatt.upper(),
    )
    size = 0
    for i, exposure in enumerate(exposures):
        save = exposure.write_jpl if form is _Form.jpl else exposure.write_uncal
        path = save(folder, overwrite=overwrite)
        write(str(path))
        size += path.stat().st_size
        if references and i == 0:
            place = folder / "references"
            _make_folder(place)
            made = write_references(exposure, place, overwrite=overwrite)
            say(f"references in {place}: {', '.join(made)}")
    say(f"{number} exposures, {human_bytes(size)}")


def _make_folder(folder: Path) -> None:
    from ..system.oserrors import storage_error

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from error


def register(app: typer.Typer) -> None:
    """Add the command.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("simulate")(_simulate)
