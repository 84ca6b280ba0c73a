"""A pixel as a session holds it: its ramps and rates, and its life in a monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InvalidInput
from ..monitors import list_monitors, open_monitor
from ..pixels.pixel import Pixel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from ..monitors import PixelLife

__all__ = ["PoolPixel"]


class PoolPixel(Pixel):
    """One detector pixel, followed through versions and monitors of a pool; the parameters are those of `Pixel`."""

    def life(self, monitor: str | None = None, *, flags: bool = False, ramps: Iterable[datetime] = ()) -> PixelLife:
        """Give the pixel's life as a monitor found it: rates, states, and the pixels beside it.

        Parameters
        ----------
        monitor : str, optional
            Name of the monitor; needed unless the pool has just one.
        flags, ramps : object, keyword-only, optional
            Read the pixel's DQ flags and ramps as well; see `PixelMonitor.life`.

        Returns
        -------
        PixelLife
            Its `exposures` and `episodes` are tables, `plot` draws them.

        Raises
        ------
        InvalidInput
            If the pool has no monitor, or several and none was named; else as for `PixelMonitor.life`.
        ProductNotFound
            If there is no monitor of that name.
        """
        if monitor is None:
            names = [ref.name for ref in list_monitors(self._pool)]
            if len(names) != 1:
                words = (
                    f"several monitors; name one of {', '.join(names)}" if names else "no monitors; create one first"
                )
                raise InvalidInput(f"pool {self._pool.name} has {words}")
            monitor = names[0]
        return open_monitor(self._pool, monitor).life(self.x, self.y, detector=self.detector, flags=flags, ramps=ramps)
