"""Files of the ground tests with the telescope (OTIS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import FormatError
from ..instruments.miri import NAMES
from .ground import Bench, GroundHeader, Setup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.cards import Value

__all__ = ["Otis"]

_KEYS = frozenset({"COLCORNR", "ROWCORNR", "NREFIMG", "NINT", "NGROUP"})
_PATTERNS = {"FAST": "FASTR1", "SLOW": "SLOWR1"}


class Otis(Bench):
    """The bench at Johnson Space Center: the corner is given in pixels, the reference rows are counted."""

    name = "OTIS"

    def wrote(self, values: Mapping[str, Value]) -> bool:
        """Tell whether a header is this bench's.

        Parameters
        ----------
        values : mapping
            Cards by keyword.

        Returns
        -------
        bool
            True if it has the corner and counts reference rows.
        """
        return values.keys() >= _KEYS

    def read(self, header: GroundHeader, shape: tuple[int, ...]) -> Setup:
        """Read a header.

        Parameters
        ----------
        header : GroundHeader
            The cards.
        shape : tuple of int
            Frames, rows, columns.

        Returns
        -------
        Setup
            What it says.

        Raises
        ------
        FormatError
            If it says something impossible.
        """
        reference = header.integer("NREFIMG")
        if reference >= shape[1]:
            raise FormatError(f"its header counts {reference} reference rows, but its frames have {shape[1]} rows")
        ngroups = header.integer("NGROUP")
        integration = header.number("INTTIME")
        group = None if integration is None else round(integration / ngroups, 9)
        pattern = (header.text("READOUT") or "").upper()
        return Setup(
            nints=header.integer("NINT"),
            ngroups=ngroups,
            rows=shape[1] - reference,
            x=header.integer("COLCORNR"),
            y=header.integer("ROWCORNR"),
            detector=NAMES.get(header.integer("SCA_ID", least=0)) if "SCA_ID" in header.values else None,
            readpatt=_PATTERNS.get(pattern, pattern or None),
            group_time=group or header.number("TGROUP") or header.number("TFRAME"),
            start=header.time(("DATE-OBS", "TIME-OBS"), ("DATE_OBS", "TIME_OBS")),
            cards={
                "ORIGIN": "OTIS",
                "OBS_ID": header.text("OBS_ID"),
                "EXPOSURE": header.text("EXP_ID") or header.text("EXPOSURE"),
                "NFRAMES": header.integer("NFRAME") if "NFRAME" in header.values else 1,
                "TSAMPLE": header.values.get("TSAMPLE"),
            },
        )
