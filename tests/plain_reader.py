"""Read a pool's folder with json, h5py and NumPy alone, and say what is lost: no part of miripool judges itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers the filter that the blobs are coded with
import numpy as np


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What `save` returned to a writer, and how its array was made.

    Attributes
    ----------
    urn, kind, name : str
        The version's URN and its track.
    version : int
        The version's number.
    seed : int
        From which `array_of` makes the array.
    """

    urn: str
    kind: str
    name: str
    version: int
    seed: int


def array_of(seed: int) -> np.ndarray:
    """Make the array that belongs to a seed: float32, shape (8, 8)."""
    return np.random.default_rng(seed).normal(size=(8, 8)).astype("f4")


def journal_of(folder: Path) -> list[dict[str, Any]]:
    """Read the journal by number, from 0; make sure that nothing is missing and each entry follows from the last."""
    names = sorted(path.name for path in folder.glob("journal/*") if not path.name.startswith(".tmp-"))
    assert names == [f"{n:012d}.json" for n in range(len(names))], "the journal has gaps, or files that are no entries"
    entries = [json.loads((folder / "journal" / name).read_bytes()) for name in names]
    previous = None
    for n, entry in enumerate(entries):
        assert entry["n"] == n, f"entry {n} says that it is entry {entry['n']}"
        assert entry["previous"] == previous, f"entry {n} does not follow from entry {n - 1}"
        previous = entry["digest"]
    return entries


def losses(folder: Path, acknowledged: Iterable[Acknowledged]) -> list[str]:
    """Look for all that was acknowledged, and for the files of all that the journal says is there.

    Parameters
    ----------
    folder : pathlib.Path
        The pool's.
    acknowledged : iterable of Acknowledged
        What writers were promised.

    Returns
    -------
    list of str
        One line for each version that is not as it should be; acknowledged ones begin with ``LOST``.
    """
    entries = journal_of(folder)
    saves = _numbered(action for entry in entries for action in entry["actions"] if action["do"] == "save")
    purges = (action for entry in entries for action in entry["actions"] if action["do"] == "purge")
    purged = {serial for action in purges for serial in action["serials"]}
    promised = {int(save.urn.rpartition(":")[2]): save for save in acknowledged}
    found = []
    for serial, save in promised.items():
        there = saves.get(serial)
        if there is None:
            found.append(f"LOST {save.urn}: no entry of the journal saves it")
        elif (there["kind"], there["name"], there["version"]) != (save.kind, save.name, save.version):
            found.append(f"LOST {save.urn}: its number is that of {there['kind']}/{there['name']}@{there['version']}")
        elif serial in purged:
            found.append(f"LOST {save.urn}: given up, which nobody asked for")
        elif problem := _problem(folder, there["manifest"], save.seed):
            found.append(f"LOST {save.urn}: {problem}")
    for serial in sorted(saves.keys() - promised.keys() - purged):
        if problem := _problem(folder, saves[serial]["manifest"], None):
            found.append(f"in the journal, not acknowledged: version {serial}: {problem}")
    return found


def _numbered(saves: Iterable[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Give versions by serial; none is given out twice, and the versions of a track have no gaps."""
    numbered: dict[int, dict[str, Any]] = {}
    tracks: dict[tuple[str, str], int] = {}
    for save in saves:
        assert save["serial"] not in numbered, f"serial {save['serial']} is used twice"
        numbered[save["serial"]] = save
        track = save["kind"], save["name"]
        assert save["version"] == tracks.get(track, -1) + 1, f"{track} has version {save['version']} out of turn"
        tracks[track] = save["version"]
    return numbered


def _problem(folder: Path, digest: str, seed: int | None) -> str | None:
    """Say what is wrong with the files of a version; with its array, where its seed is known."""
    try:
        manifest = json.loads((folder / "manifests" / digest[:2] / f"{digest}.json").read_bytes())
    except FileNotFoundError:
        return f"manifest {digest} is missing"
    arrays = {}
    for name, blob in _blobs(manifest):
        # Small arrays of a version share a file, in which each has the name of its digest.
        file_name = blob.get("bundle", blob["digest"])
        path = folder / "blobs" / file_name[:2] / f"{file_name}.h5"
        try:
            with h5py.File(path, "r") as file:
                array = file[blob["digest"] if "bundle" in blob else "data"][...]
        except FileNotFoundError:
            return f"blob {file_name} of {name} is missing"
        except (OSError, KeyError) as error:
            return f"blob {file_name} of {name} can't be read ({error})"
        if (array.dtype, list(array.shape)) != (np.dtype(blob["dtype"]), blob["shape"]):
            return f"blob {blob['digest']} of {name} is {array.dtype} {array.shape}"
        arrays[name] = array
    if seed is None or ("SCI" in arrays and np.array_equal(arrays["SCI"], array_of(seed))):
        return None
    return f"array SCI is not the one of seed {seed}"


def _blobs(manifest: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for hdu in manifest["hdus"]:
        for part in ("data", "heap", "raw", "tail"):
            if hdu.get(part) is not None:
                yield hdu["name"] if part == "data" else f"{hdu['name']} {part}", hdu[part]
    if manifest.get("trailer") is not None:
        yield "trailer", manifest["trailer"]
