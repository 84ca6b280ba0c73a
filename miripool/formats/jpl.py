"""Files of the ground tests at JPL: `FPM <number> <exposure>` cubes as the test equipment wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import FormatError
from ..instruments.miri import IMAGER, NAMES
from .ground import Bench, GroundHeader, Setup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model.cards import Value

__all__ = ["Jpl"]

_KEYS = frozenset({"ROWSTART", "COLSTART", "NGROUPS", "NINT", "SCA_ID"})
_DETECTORS = {20: IMAGER.name, **NAMES}
"""By SCA_ID: the bench numbered the imager 20, and called it IC."""


class Jpl(Bench):
    """The bench at JPL. Four of five columns that it counts are pixels, the fifth is reference output."""

    name = "JPL"

    def wrote(self, values: Mapping[str, Value]) -> bool:
        """Tell whether a header is this bench's.

        Parameters
        ----------
        values : mapping
            Cards by keyword.

        Returns
        -------
        bool
            True if it is JPL's, and says where on the detector.
        """
        return values.get("ORIGIN") == "JPL" and values.keys() >= _KEYS

    def read(self, header: GroundHeader, shape: tuple[int, ...]) -> Setup:
        """Read a header.

        Parameters
        ----------
        header : GroundHeader
            The cards.
        shape : tuple of int
            Frames, rows, columns; a fifth of the rows is reference output.

        Returns
        -------
        Setup
            What it says. The time between groups is INTTIME / NGROUPS, for TGROUP is rounded.

        Raises
        ------
        FormatError
            If it says something impossible.
        """
        if shape[1] % 5:
            raise FormatError(f"its frames have {shape[1]} rows; one fifth of them should be reference output")
        ngroups = header.integer("NGROUPS")
        integration = header.number("INTTIME")
        samples = header.integer("NSAMPLE")
        return Setup(
            nints=header.integer("NINT"),
            ngroups=ngroups,
            rows=shape[1] // 5 * 4,
            x=(header.integer("COLSTART") - 1) // 5 * 4 + 1,
            y=header.integer("ROWSTART"),
            detector=self._detector(header),
            readpatt="FASTR1" if samples == 1 else "SLOWR1",
            group_time=None if integration is None else round(integration / ngroups, 9),
            start=header.time(("DATE_OBS", "TIME_OBS"), ("DATE-OBS", "TIME-OBS")),
            cards={
                "ORIGIN": "JPL",
                "OBS_ID": header.text("OBS_ID"),
                "EXPOSURE": header.text("EXP_ID"),
                "NFRAMES": header.integer("NFRAME") if "NFRAME" in header.values else 1,
                "NSAMPLES": samples,
                "TSAMPLE": header.values.get("TSAMPLE"),
                "NRSTSTRT": header.values.get("INITLRST", 0),
                "NRESETS": max(1, header.integer("FRMRSTS", least=0) if "FRMRSTS" in header.values else 1),
            },
        )

    def _detector(self, header: GroundHeader) -> str | None:
        found = _DETECTORS.get(header.integer("SCA_ID", least=0))
        return found or (IMAGER.name if header.text("DETECTOR") == "IC" else None)
