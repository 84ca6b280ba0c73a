"""The command that makes exposures to try things on."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from ..errors import InvalidInput
from .output import human_bytes, say, write
from .session import moment

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["register"]

_RAW_NAME: Final = "sim_{number:05d}_{detector}"
_LIVES_NAME: Final = "dark_{number:05d}_{detector}"
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_MANY: Final = 60
"""Exposures of a campaign with lives unless another number is given."""


class _Form(enum.StrEnum):
    """How a raw exposure is written."""

    level1b = "level1b"
    jpl = "jpl"


_Anneals = Annotated[
    list[str] | None,
    typer.Option(
        "--anneal",
        metavar="TIME",
        help="With --lives: an anneal, after which each hot pixel is normal with a probability of 0.3. UTC unless it "
        "has a zone. May be repeated.",
        show_default=False,
    ),
]


def _simulate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to write to; created if necessary.")],
    number: Annotated[
        int | None,
        typer.Option(
            "--number", "-n", min=1, help="Number of exposures, one day apart; 1 if not given, 60 with --lives."
        ),
    ] = None,
    subarray: Annotated[str, typer.Option(help="Subarray: FULL, SUB64, MASK1550, SLITLESSPRISM …")] = "SUB64",
    nints: Annotated[int, typer.Option(help="Integrations per exposure.")] = 5,
    ngroups: Annotated[int, typer.Option(help="Groups per integration.")] = 20,
    detector: Annotated[str, typer.Option(help="MIRIMAGE, MIRIFULONG or MIRIFUSHORT; the last two FULL only.")] = (
        "MIRIMAGE"
    ),
    readpatt: Annotated[str, typer.Option(help="Readout pattern: FAST, FASTR1, SLOW or SLOWR1.")] = "FASTR1",
    seed: Annotated[
        int,
        typer.Option(
            help="Seed for the noise, cosmic rays and sources of the first exposure; with --lives, of all exposures."
        ),
    ] = 1,
    form: Annotated[
        _Form, typer.Option(help="Form of the raw files: JWST Level-1b, or that of the JPL test bench.")
    ] = _Form.level1b,
    references: Annotated[
        bool, typer.Option("--references", help="Also write the reference files, in FOLDER/references.")
    ] = False,
    lives: Annotated[
        bool,
        typer.Option(
            "--lives",
            help="Write slopes (rateints) of darks in which pixels become hot, step, drift or flicker, and truth.ecsv, "
            "which lists their positions, times and amplitudes. Not with --form jpl or --references.",
        ),
    ] = False,
    anneal: _Anneals = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Simulate raw exposures and reference files, or darks in which pixels change.

    `reprocess` calibrates raw exposures with the reference files. With `--lives` the exposures are slopes already.

    The same options give the same arrays.
    """
    if lives and (references or form is _Form.jpl):
        msg = "--lives writes slopes, and --references and --form jpl belong to raw exposures; leave them out."
        raise InvalidInput(msg)
    if anneal and not lives:
        msg = "--anneal heals pixels of darks; add --lives."
        raise InvalidInput(msg)
    anneals = [moment(text) for text in anneal or ()]
    settings = _Settings(subarray.upper(), nints, ngroups, detector, readpatt.upper(), seed)
    _make_folder(folder)
    if lives:
        paths = _write_lives(folder, number or _MANY, settings, anneals, overwrite=overwrite)
    else:
        paths = _write_raw(folder, number or 1, settings, form=form, references=references, overwrite=overwrite)
    count = size = 0
    for path in paths:
        write(str(path))
        count += 1
        size += path.stat().st_size
    say(f"{count} exposures, {human_bytes(size)}")


class _Settings(NamedTuple):
    """What raw exposures and slopes have in common."""

    subarray: str
    nints: int
    ngroups: int
    detector: str
    readpatt: str
    seed: int


def _write_raw(
    folder: Path, number: int, settings: _Settings, *, form: _Form, references: bool, overwrite: bool
) -> Iterator[Path]:
    from ..simulate import simulate_campaign, write_references

    exposures = simulate_campaign(number, name=_RAW_NAME, start=_START, **settings._asdict())
    for i, exposure in enumerate(exposures):
        save = exposure.write_jpl if form is _Form.jpl else exposure.write_uncal
        yield save(folder, overwrite=overwrite)
        if references and i == 0:
            place = folder / "references"
            _make_folder(place)
            made = write_references(exposure, place, overwrite=overwrite)
            say(f"references in {place}: {', '.join(made)}")


def _write_lives(
    folder: Path, number: int, settings: _Settings, anneals: list[datetime], *, overwrite: bool
) -> Iterator[Path]:
    from ..simulate import simulate_lives

    campaign = simulate_lives(number, name=_LIVES_NAME, start=_START, hours=24, anneals=anneals, **settings._asdict())
    truth = campaign.write_truth(folder, overwrite=overwrite)
    say(f"truth of {len(campaign.truth.lives)} pixels that change in {truth}")
    for i in range(number):
        yield campaign.write_exposure(i, folder, overwrite=overwrite)


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
