"""How raw exposures are calibrated: CRDS context, reference files, steps."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FileMissing, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Recipe", "references_in"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to calibrate raw exposures.

    Attributes
    ----------
    context : str or None
        CRDS context, e.g. ``jwst_1234.pmap``; by default that of the CRDS cache or server.
    crds_path : Path or None
        Folder of the CRDS cache; by default the value of CRDS_PATH. Without a cache and without a server, `overrides`
        must name all reference files.
    overrides : mapping of str to Path
        Reference files by type (``gain``, ``dark``, …), used instead of those that CRDS would choose.
    skip : tuple of str
        Steps to skip, e.g. ``dark_current``.
    """

    context: str | None = None
    crds_path: Path | None = None
    overrides: Mapping[str, Path] = field(default_factory=dict)
    skip: tuple[str, ...] = ()

    def check(self) -> None:
        """Check the recipe, as far as this is possible without running the pipeline.

        Raises
        ------
        FileMissing
            If a reference file, the cache or its context does not exist.
        InvalidInput
            If the context is not the name of a CRDS context, or needs a cache or a server and there is none.
        """
        missing = [(kind, path) for kind, path in self.overrides.items() if not Path(path).is_file()]
        if missing:
            raise FileMissing("; ".join(f"reference {kind}: there is no file {path}" for kind, path in missing))
        cache = self.cache
        if cache is not None and not cache.is_dir():
            raise FileMissing(f"there is no CRDS cache {cache}")
        if self.context is not None and not (self.context.endswith(".pmap") and "/" not in self.context):
            raise InvalidInput(f"{self.context!r} is not a CRDS context; write a name such as jwst_1234.pmap")
        if self.context is not None and cache is None and not self.server:
            raise InvalidInput(
                f"the context {self.context} needs a CRDS cache (--crds-path DIR, or CRDS_PATH) or a server "
                "(CRDS_SERVER_URL)"
            )
        if cache is not None and not self.server and self.context is not None:
            mapping = cache / "mappings" / "jwst" / self.context
            flat = cache / "mappings" / self.context
            if not (mapping.is_file() or flat.is_file()):
                raise FileMissing(f"the CRDS cache {cache} has no context {self.context}")

    @property
    def cache(self) -> Path | None:
        """Folder of the CRDS cache, or None."""
        if self.crds_path is not None:
            return Path(self.crds_path)
        named = os.environ.get("CRDS_PATH")
        return Path(named) if named else None

    @property
    def server(self) -> str | None:
        """URL of the CRDS server that CRDS_SERVER_URL names; None to work offline."""
        url = os.environ.get("CRDS_SERVER_URL", "")
        return url if url and "serverless" not in url else None

    def parameters(self) -> dict[str, Any]:
        """Give the overrides and skipped steps, for the history.

        Returns
        -------
        dict
            ``overrides`` (names of the files, without their folders) and ``skip``.
        """
        return {"overrides": {k: Path(p).name for k, p in sorted(self.overrides.items())}, "skip": sorted(self.skip)}


def references_in(folder: str | Path) -> dict[str, Path]:
    """Find the reference files in a folder.

    Parameters
    ----------
    folder : path
        Folder with FITS files. The keyword REFTYPE gives the type of each; files without it are ignored.

    Returns
    -------
    dict of str to Path
        Files by type in lower case, for the overrides of a `Recipe`.

    Raises
    ------
    InvalidInput
        If there are no reference files, or two of one type.
    """
    from astropy.io import fits

    found: dict[str, Path] = {}
    for path in sorted(Path(folder).glob("*.fits")):
        try:
            kind = fits.getheader(path).get("REFTYPE")
        except OSError as error:
            raise InvalidInput(f"{path} can't be read as FITS ({error})") from error
        if not isinstance(kind, str):
            continue
        other = found.setdefault(kind.strip().lower(), path)
        if other != path:
            raise InvalidInput(f"{folder} has two reference files of type {kind.lower()}: {other.name} and {path.name}")
    if not found:
        raise InvalidInput(f"{folder} has no reference files, i.e. FITS files with the keyword REFTYPE")
    return found
