"""The command that runs the JWST pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..system.words import counted
from .choosing import AllVersions, SomeSpecs, Where, Which, choose
from .output import emit, report, say, write
from .progress import Exposures
from .session import Csv, Json, PoolName, core_of, one_form, open_pool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..pipeline import Reprocessed

__all__ = ["register"]


def _reprocess(
    context: typer.Context,
    name: PoolName,
    specs: SomeSpecs = None,
    where: Where = None,
    all_versions: AllVersions = False,
    crds_context: Annotated[
        str | None, typer.Option("--context", metavar="PMAP", help="CRDS context, e.g. jwst_1234.pmap.")
    ] = None,
    crds_path: Annotated[
        str | None, typer.Option("--crds-path", metavar="DIR", help="CRDS cache.", show_default="CRDS_PATH")
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(
            "--override", metavar="TYPE=FILE|DIR", help="Use this reference file, e.g. gain=FILE, or all in a folder."
        ),
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="STEP", help="Skip a pipeline step, e.g. dark_current.")
    ] = None,
    tag: Annotated[str | None, typer.Option("--tag", metavar="LABEL", help="Tag for the results.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Exposures to process in parallel.")] = 1,
    pixels: Annotated[
        bool | None,
        typer.Option("--pixels/--no-pixels", help="Make pixel rows or not.", show_default="the pool's policy"),
    ] = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Calibrate raw products with the JWST pipeline. The ramp, rateints and rate of each are saved together.

    Reference files come from the server in CRDS_SERVER_URL if it is set; otherwise from a CRDS cache, without a server.
    If there is no cache either, give all reference files with --override.
    """
    from ..model.kinds import Raw
    from ..pipeline import Recipe, reprocess

    one_form(as_json=as_json, as_csv=as_csv)
    recipe = Recipe(
        crds_context, None if crds_path is None else Path(crds_path), _overrides(override or []), tuple(skip or ())
    )
    outcomes: list[Reprocessed] = []
    with open_pool(context, name) as pool:
        chosen = choose(pool, specs, Which(None, where, None, all_versions), cls=Raw)
        chosen.announce("reprocessing")
        raws = chosen.refs
        with Exposures(len(raws)) as shown:
            for outcome in reprocess(
                core_of(pool), raws, recipe, tag=tag, jobs=jobs, pixels=pixels, progress=shown.step
            ):
                outcomes.append(outcome)
                shown.done(outcome.raw)
                _report(outcome, listed=as_json or as_csv)
    if as_json or as_csv:
        rows = [row for outcome in outcomes for row in _rows(outcome)]
        emit(rows, ["raw", "urn", "version", "notice", "error"], as_json_list=as_json, as_csv=as_csv)
    failures = [outcome.error for outcome in outcomes if outcome.error is not None]
    say(f"{counted(len(outcomes) - len(failures), 'exposure')} reprocessed, {len(failures)} failed")
    if failures:
        codes = {error.exit_code for error in failures}
        raise typer.Exit(codes.pop() if len(codes) == 1 else 1)


def _overrides(given: Sequence[str]) -> dict[str, Path]:
    from ..errors import InvalidInput
    from ..pipeline import references_in

    found: dict[str, Path] = {}
    for text in given:
        if Path(text).expanduser().is_dir():
            continue
        kind, equals, path = text.partition("=")
        if not equals or not kind.strip() or not path:
            raise InvalidInput(f"--override {text}: write TYPE=FILE, e.g. gain=my_gain.fits")
        if kind.strip() in found:
            raise InvalidInput(f"--override {kind.strip()} is given twice")
        found[kind.strip()] = Path(path).expanduser()
    for folder in (Path(text).expanduser() for text in given):
        if folder.is_dir():
            found = references_in(folder) | found
    return found


def _report(outcome: Reprocessed, *, listed: bool) -> None:
    if outcome.error is not None:
        report(f"failed       {outcome.error}")
        return
    for ref in () if listed else outcome.refs:
        notice = f"  ({ref.notice})" if ref.notice else ""
        write(f"{'unchanged' if ref.notice else 'made':<12} {ref.urn}  version {ref.version}  {ref.name}{notice}")


def _rows(outcome: Reprocessed) -> Iterator[dict[str, Any]]:
    raw = str(outcome.raw.urn)
    if outcome.error is not None:
        yield {"raw": raw, "urn": None, "version": None, "notice": None, "error": str(outcome.error)}
    for ref in outcome.refs:
        yield {"raw": raw, "urn": str(ref.urn), "version": ref.version, "notice": ref.notice, "error": None}


def register(app: typer.Typer) -> None:
    """Add the command.

    Parameters
    ----------
    app : typer.Typer
        The command line.
    """
    app.command("reprocess")(_reprocess)
