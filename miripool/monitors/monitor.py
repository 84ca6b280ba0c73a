"""Monitors of a pool: make one, bring it up to date, and ask what it found."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..errors import AlreadyExists, FormatError, ProductNotFound
from ..formats import read_fits
from ..formats.level1b import to_mjd
from ..model.kinds import Monitor
from ..model.product import Product
from ..model.times import refuse_naive
from ..pool import save as saving
from ..pool.core import core_of
from ..pool.find import find
from ..pool.reference import ProductRef
from . import answers
from .alarms import alarm_records
from .attribution import comparison_records
from .decay import persistence_records
from .events import Event, effect_records, events_of, events_table
from .levels import read_levels
from .life import read_life
from .liferamps import read_ramps_at
from .limits import limit_records
from .mask import DatedMask, make_mask
from .maskflags import choose_flags
from .pixelflags import read_flags
from .plots import plot_monitor
from .result import build
from .rows import read_rows
from .survival import survival_records
from .tables import table_of
from .trendlines import trend_line_records
from .update import Updated, definition_of, save_newest, select_exposures, update

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from astropy.table import Table

    from ..model.metadata import MetaData
    from ..pool.core import Core, HasCore
    from .definition import Definition
    from .life import PixelLife
    from .limits import Limits

__all__ = ["PixelMonitor", "create_monitor", "list_monitors", "open_monitor"]


class PixelMonitor:
    """A monitor of a pool. `Pool.monitor` and `Pool.create_monitor` give one.

    Parameters
    ----------
    core : Core
        The pool.
    ref : ProductRef
        The monitor's newest version.
    """

    def __init__(self, core: Core, ref: ProductRef) -> None:
        self._core = core
        self.ref = ref

    @property
    def name(self) -> str:
        """Its name."""
        return self.ref.name

    @property
    def definition(self) -> Definition:
        """What it looks at."""
        return definition_of(self.ref.product)[0]

    def __repr__(self) -> str:
        return f"<PixelMonitor {self.name} version {self.ref.version} of pool {self._core.name}>"

    def exposures(self) -> Table:
        """List the exposures; the columns are those of `answers.exposure_records`.

        Returns
        -------
        astropy.table.Table
            By stratum and time.
        """
        return table_of(answers.exposure_records(self.ref.product))

    def states(
        self, *states: str, at: datetime | None = None, pixel: tuple[int, int] | None = None, urns: bool = False
    ) -> Table:
        """List the episodes of pixels: which state they were in, from when to when.

        Parameters
        ----------
        *states : str
            Only these states, e.g. ``"hot"``; all unless given.
        at : datetime, keyword-only, optional
            Only episodes that had begun and not ended then; aware.
        pixel : tuple of int, keyword-only, optional
            Only this pixel: (x, y) in the FULL array, from 1.
        urns : bool, keyword-only
            Give the URNs of the exposures of each episode instead of their number.

        Returns
        -------
        astropy.table.Table
            The columns are those of `answers.state_records`. Amplitudes are in DN/s, times UTC; ``end`` is masked while
            an episode lasts.

        Raises
        ------
        InvalidInput
            If there is no such state, or the time has no time zone.
        """
        refuse_naive(at)
        records = answers.state_records(self.ref.product, states=states, at=at, pixel=pixel)
        if not urns:
            records = [{**record, "exposures": len(record["exposures"])} for record in records]
        return table_of(records)

    def trends(self, amplifier: int | None = None) -> Table:
        """List the statistics of amplifiers through time; the columns are those of `answers.trend_records`.

        Parameters
        ----------
        amplifier : int, optional
            Only this one, 1 to 4.

        Returns
        -------
        astropy.table.Table
            By stratum, time, integration and amplifier.
        """
        return table_of(answers.trend_records(self.ref.product, amplifier=amplifier))

    def trend_lines(self, amplifier: int | None = None) -> Table:
        """Fit a straight line to the level of each amplifier, without outliers.

        Parameters
        ----------
        amplifier : int, optional
            Only this one, 1 to 4.

        Returns
        -------
        astropy.table.Table
            By stratum and amplifier; the columns are those of `trendlines.trend_line_records`.
        """
        return table_of(trend_line_records(self.ref.product, amplifier=amplifier))

    def compare(self, other: PixelMonitor) -> Table:
        """Compare the amplifiers in the same exposures under two calibrations.

        Make two monitors of the same exposures that differ in what calibrated them, for example in the tag. The
        comparison attributes each change of level to the detector or to a reference file.

        Parameters
        ----------
        other : PixelMonitor
            Of the same pool.

        Returns
        -------
        astropy.table.Table
            By detector, amplifier and time; the columns are those of `attribution.comparison_records`.

        Raises
        ------
        InvalidInput
            If the monitors have no exposure in common.
        """
        records = self.compare_records(other)
        return table_of([{**record, "references": "; ".join(record["references"])} for record in records])

    def compare_records(self, other: PixelMonitor) -> list[dict[str, Any]]:
        """Compare as `compare` does.

        Parameters
        ----------
        other : PixelMonitor
            Of the same pool.

        Returns
        -------
        list of dict
            See `attribution.comparison_records`.
        """

        def settings_of(serials: Sequence[int]) -> list[dict[str, str]]:
            return [_settings_in(ref.meta) for ref in self._core.fetch(list(serials))]

        return comparison_records(read_levels(self.ref.product), read_levels(other.ref.product), settings_of)

    def population(self, *states: str) -> Table:
        """Count the pixels in each state through time; the columns are those of `answers.population_records`.

        Parameters
        ----------
        *states : str
            Only these states; all unless given.

        Returns
        -------
        astropy.table.Table
            By stratum, state and time.
        """
        return table_of(answers.population_records(self.ref.product, states=states))

    def mask(
        self,
        at: datetime,
        *,
        base: Path | str | Product | ProductRef | None = None,
        flags: Mapping[str, str | None] | None = None,
        use: Iterable[str] = (),
        do_not_use: Iterable[str] = (),
        strata: Iterable[int] | None = None,
    ) -> DatedMask:
        """Make a MASK reference file for a date: what was hot, dead or unstable then. `save_mask` saves it.

        Parameters
        ----------
        at : datetime
            The date; aware.
        base : path, str, Product or ProductRef, keyword-only, optional
            An older mask of the FULL array or of the same subarray: a file, or a version of the pool. Flags that the
            monitor can't judge are taken from it, and so are all pixels that it did not see. The mask covers what the
            base covers; without a base, the subarray of the exposures.
        flags : mapping of str to str, keyword-only, optional
            Flags by state, e.g. ``{"step": "OTHER_BAD_PIXEL"}``; None for a state that leaves no mark. Other states
            keep the defaults, `FLAGGING`.
        use, do_not_use : iterable of str, keyword-only
            States that do not set DO_NOT_USE, and states that do, where the defaults differ.
        strata : iterable of int, keyword-only, optional
            Numbers of the strata to join, from 0; all are of one detector. By default the only one.

        Returns
        -------
        DatedMask
            Its flags, and which pixels are born and healed since the base.

        Raises
        ------
        InvalidInput
            If the date has no time zone, a state or flag does not exist, there are several strata and none is chosen,
            the monitor has no exposures, or the base is not of the same detector or does not hold all pixels.
        FileMissing
            If there is no such base.
        """
        chosen = choose_flags(flags, use=use, do_not_use=do_not_use)
        return make_mask(self._core, self.ref, at, chosen, base=base, strata=strata)

    def save_mask(
        self, mask: DatedMask, name: str | None = None, *, tag: str | None = None, author: str = "miripool"
    ) -> ProductRef:
        """Save a mask in the pool. `ProductRef.to_fits` gives the file that `DatedMask.write` writes.

        Parameters
        ----------
        mask : DatedMask
            From `mask`.
        name : str, optional
            Of the product; `DatedMask.name` unless given.
        tag : str, keyword-only, optional
            Tag for the version.
        author : str, keyword-only
            For the keyword AUTHOR.

        Returns
        -------
        ProductRef
            A version of kind Product, which names the monitor and the base as what it was made from. If the same mask
            is there already, that version.
        """
        made = read_fits(mask.to_bytes(author=author), name=name or mask.name, kind=Product.kind)
        saved = saving.save(self._core, made, tag=tag, history=[mask.history()], pixels=False)
        return ProductRef(self._core, saved.row, notice=saved.notice)

    @property
    def events(self) -> list[Event]:
        """What happened to the detector, by time."""
        return events_of(self.ref.product)

    def add_events(self, *events: Event) -> None:
        """Note events, for example anneals. Those that are noted already count once.

        Parameters
        ----------
        *events : Event
            Any.
        """
        self._set_events({*self.events, *events})

    def remove_events(self, *events: Event) -> None:
        """Take events out.

        Parameters
        ----------
        *events : Event
            Of the monitor.

        Raises
        ------
        ProductNotFound
            If one of them is none of its events.
        """
        missing = sorted(set(events) - set(self.events))
        if missing:
            one = missing[0]
            raise ProductNotFound(f"monitor {self.name} has no event {one.kind!r} at {one.time.isoformat()}")
        self._set_events(set(self.events) - set(events))

    def _set_events(self, events: set[Event]) -> None:
        core = self._core
        core.catch_up()
        head = core.ref(f"{Monitor.kind}/{self.name}")
        draft = head.product.replace(EVENTS=events_table(events))
        self.ref = save_newest(core, draft, core.manifest(head).history)

    def effects(self, keyword: str | None = None) -> Table:
        """Say what events did: which fraction of the bad pixels healed, and of the good ones became bad.

        Parameters
        ----------
        keyword : str, optional
            Take the changes of this keyword between exposures as events, instead of those that were noted.

        Returns
        -------
        astropy.table.Table
            The columns are those of `events.effect_records`.
        """
        events = self.events if keyword is None else self.changes_of(keyword)
        return table_of(effect_records(self.ref.product, events))

    def changes_of(self, keyword: str) -> list[Event]:
        """Find the exposures at which a keyword changes.

        Parameters
        ----------
        keyword : str
            FITS keyword or datamodel path.

        Returns
        -------
        list of Event
            With the keyword as kind and the values as note; exposures of each stratum by time.
        """
        found = []
        last: dict[int, Any] = {}
        rows = read_rows(self.ref.product, "EXPOSURES")
        for row, ref in zip(rows, self._core.fetch([row["serial"] for row in rows]), strict=True):
            value = ref.meta[keyword].value if keyword in ref.meta else None
            before = last.get(row["stratum"], value)
            if value != before:
                found.append(Event(datetime.fromisoformat(row["start"]), keyword.upper(), f"{before} → {value}"))
            last[row["stratum"]] = value
        return sorted(set(found))

    def survival(self, state: str = "hot") -> Table:
        """Say for how long pixels stay in a state; the columns are those of `survival.survival_records`.

        Parameters
        ----------
        state : str
            The state.

        Returns
        -------
        astropy.table.Table
            By stratum and days.
        """
        return table_of(survival_records(self.ref.product, state=state))

    def alarms(
        self, since: datetime | None = None, *, yellow: Limits | None = None, red: Limits | None = None
    ) -> Table:
        """List the changes of level of each amplifier, and when its level was outside given limits.

        Parameters
        ----------
        since : datetime, optional
            Only alarms raised then or later; aware.
        yellow, red : Limits, keyword-only, optional
            Ranges of levels, DN/s, e.g. ``Limits(-0.1, 0.25)``.

        Returns
        -------
        astropy.table.Table
            By the time of raising. ``what`` is shift or limit; the other columns are those of `alarms.alarm_records`
            and, for limits, of `limits.limit_records`.
        """
        return table_of(self.alarm_records(since, yellow, red))

    def alarm_records(
        self, since: datetime | None = None, yellow: Limits | None = None, red: Limits | None = None
    ) -> list[dict[str, Any]]:
        """Give what `alarms` lists as plain data.

        Parameters
        ----------
        since, yellow, red : object, optional
            As for `alarms`.

        Returns
        -------
        list of dict
            By the time of raising.
        """
        refuse_naive(since)
        levels = read_levels(self.ref.product)
        found = alarm_records(levels) + limit_records(levels, yellow, red)
        kept = [record for record in found if since is None or record["raised"] >= since]
        return sorted(kept, key=lambda record: (record["raised"], record["stratum"], record["amplifier"]))

    def persistence(self, exposure: ProductRef | str) -> Table:
        """Follow the pixels that were saturated in an exposure: how their rates decay to their level.

        Parameters
        ----------
        exposure : ProductRef or str
            A Ramp, RateInts or Rate of the pool; its flags say which pixels were saturated.

        Returns
        -------
        astropy.table.Table
            The columns are those of `decay.persistence_records`: first all pixels together, then each pixel. The model
            is ``rate = level + amplitude * exp(-t / hours)``, t hours after the end of the exposure.

        Raises
        ------
        InvalidInput
            If no pixel was saturated, or fewer than four exposures followed.
        FormatError
            If the header of the exposure does not say when it began.
        ProductNotFound
            If there is no such exposure.
        """
        return table_of(self.persistence_records(exposure))

    def persistence_records(self, exposure: ProductRef | str) -> list[dict[str, Any]]:
        """Give what `persistence` lists as plain data.

        Parameters
        ----------
        exposure : ProductRef or str
            As for `persistence`.

        Returns
        -------
        list of dict
            By stratum; first all pixels together.
        """
        ref = self._core.ref(exposure)
        start = ref.start_time
        if start is None:
            raise FormatError(f"the header of {ref.urn} does not say when the exposure began")
        return persistence_records(self.ref.product, ref.product, to_mjd(start))

    def update(
        self,
        *,
        tag: str | None = None,
        executor: Executor | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Updated:
        """Take in new exposures, and judge all pixels again.

        Only the arrays of versions that the monitor has not seen are read. Versions that are not selected any more, for
        example because there are newer ones, leave it. One update for each exposure gives the same as one for all.

        Parameters
        ----------
        tag : str, keyword-only, optional
            Tag for the result.
        executor : concurrent.futures.Executor, keyword-only, optional
            Executor that reads the exposures: a process pool, or Dask's ``client.get_executor()``; by default threads
            of this process. The result is the same.
        progress : callable, keyword-only, optional
            Called with the number of exposures read and their total number.

        Returns
        -------
        Updated
            What was done.
        """
        done = update(self._core, self.name, tag=tag, executor=executor, progress=progress)
        self.ref = done.ref
        return done

    def life(
        self, x: int, y: int, *, detector: str | None = None, flags: bool = False, ramps: Iterable[datetime] = ()
    ) -> PixelLife:
        """Follow one pixel through the exposures: its rates, its states, and its neighbours.

        Parameters
        ----------
        x, y : int
            Column and row of the FULL array, from 1.
        detector : str, keyword-only, optional
            Name of the detector, in capitals or not; needed only if the monitor follows several.
        flags : bool, keyword-only
            Read the pixel's DQ flags as well, from each exposure: some milliseconds for each.
        ramps : iterable of datetime, keyword-only, optional
            Read its ramps as well, in the last exposures that had begun at these times; aware.

        Returns
        -------
        PixelLife
            Its `exposures` and `episodes` are tables, `plot` draws them. Only the pixels around it are read.

        Raises
        ------
        InvalidInput
            If there is no such pixel or detector; if the monitor does not follow the pixel, or follows it on several
            detectors and none was named; or if the monitor has no exposures.
        """
        life = read_life(self.ref.product, x, y, detector=detector)
        seen = read_flags(self._core, life.courses, life.x, life.y) if flags else None
        return replace(life, flags=seen, ramps=read_ramps_at(self._core, life, ramps))

    def plot(
        self, path: str | Path, what: str = "state", *, at: datetime | None = None, stratum: int | None = None
    ) -> Path:
        """Plot what was found. A file that is there is replaced.

        Parameters
        ----------
        path : path-like
            File for the plot; its name ends in png, pdf, svg, jpg, tif, webp or eps. A file that is there is replaced.
        what : {'state', 'rate', 'noise', 'trends', 'population', 'histogram', 'event'}
            A map of the states, the rates or the noise; amplifiers or populations through time; the distribution of
            the rates; or maps of the states before and after an event.
        at : datetime, keyword-only, optional
            For ``state``, ``rate`` and ``histogram``: of the last exposure that had begun then; aware. The last
            exposure of all unless given. For ``event``: the time of the event.
        stratum : int, keyword-only, optional
            Only this stratum, from 0. Unless given, ``trends`` and ``population`` show the six with the most
            exposures, the others the one with the most.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        InvalidInput
            If there is no such plot or stratum; if the monitor has no exposures, or none so early; if `at` is given for
            a plot of all exposures; or if matplotlib is not installed, or the name of the
            file ends otherwise.
        StorageError
            If the file can't be written.
        """
        refuse_naive(at)
        return plot_monitor(self.ref.product, path, what, at=at, stratum=stratum)


def _settings_in(meta: MetaData) -> dict[str, str]:
    """Give reference files, states of steps and the version of the pipeline, as far as they apply, by keyword."""
    found = {key: str(meta[key].value) for key in meta if key.startswith(("R_", "S_")) or key == "CAL_VER"}
    return {key: value.removeprefix("crds://") for key, value in found.items() if value not in ("", "N/A")}


def create_monitor(pool: HasCore, definition: Definition) -> PixelMonitor:
    """Make a monitor. It has no exposures until it is updated.

    Parameters
    ----------
    pool : Pool or Core
        The pool.
    definition : Definition
        Its name, and what it looks at.

    Returns
    -------
    PixelMonitor
        The monitor.

    Raises
    ------
    AlreadyExists
        If the pool has a monitor of that name.
    InvalidInput
        If the definition is not valid, or the condition can't be read.
    """
    core = core_of(pool)
    definition.check()
    core.catch_up()
    if definition.name in {ref.name for ref in list_monitors(core)}:
        raise AlreadyExists(f"pool {core.name} has a monitor {definition.name!r} already")
    select_exposures(core, definition)
    saved = saving.save(core, build(definition, [], None), pixels=False)
    return PixelMonitor(core, ProductRef(core, saved.row))


def open_monitor(pool: HasCore, name: str) -> PixelMonitor:
    """Give a monitor.

    Parameters
    ----------
    pool : Pool or Core
        The pool.
    name : str
        Of the monitor.

    Returns
    -------
    PixelMonitor
        The monitor.

    Raises
    ------
    ProductNotFound
        If there is none; the message lists those there are.
    """
    core = core_of(pool)
    core.catch_up()
    found = {ref.name: ref for ref in list_monitors(core)}
    if name not in found:
        there = f"its monitors are {', '.join(sorted(found))}" if found else "it has no monitors"
        raise ProductNotFound(f"pool {core.name} has no monitor {name!r}; {there}")
    return PixelMonitor(core, found[name])


def list_monitors(pool: HasCore) -> list[ProductRef]:
    """List the monitors of a pool.

    Parameters
    ----------
    pool : Pool or Core
        The pool.

    Returns
    -------
    list of ProductRef
        The newest version of each, in the order of creation.
    """
    core = core_of(pool)
    core.catch_up()
    return list(find(core, Monitor))
