"""Footprints at random places, and an independent answer to what they cover.

The answer uses no code of `miripool.sky`: each footprint is turned to the pole of a frame of its own, where its edges
are lines of the plane that touches the sky there, and a ray through that plane counts the edges it crosses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Corners = NDArray[np.float64]
"""RA and Dec of each corner, degrees, shape (corners, 2)."""


@dataclass(frozen=True, slots=True)
class Sky:
    """Many quadrilaterals.

    Attributes
    ----------
    corners : ndarray, shape (n, 4, 2)
        RA and Dec, degrees.
    """

    corners: NDArray[np.float64]

    def s_region(self, number: int) -> str:
        """Write one as a header does; each second one the other way round."""
        corners = self.corners[number][:: 1 if number % 2 else -1]
        return "POLYGON ICRS  " + " ".join(f"{value:.9f}" for value in corners.ravel())


def directions(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give unit vectors, shape (..., 3)."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def frames(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the axes east, north and outwards at positions, shape (n, 3, 3)."""
    ra, dec = np.radians(ra), np.radians(dec)
    zero = np.zeros_like(ra)
    east = np.stack([-np.sin(ra), np.cos(ra), zero], axis=-1)
    north = np.stack([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)], axis=-1)
    return np.stack([east, north, np.cross(east, north)], axis=1)


def random_sky(n: int, seed: int, *, half_width: float = 60.0) -> Sky:
    """Draw quadrilaterals, up to some arcseconds from their middle; some over the poles and RA 0.

    Of 200, one contains a pole, one is near it, and four lie across RA 0.
    """
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    which = np.arange(n) % 200
    size = math.radians(half_width / 3600) * rng.uniform(0.2, 1, n)
    pole = np.where(rng.uniform(size=n) < 0.5, -90.0, 90.0)
    within = np.degrees(size) * rng.uniform(0, 0.5, n)
    dec = np.where(which == 0, pole - np.sign(pole) * within, dec)
    dec = np.where(which == 1, pole * (1 - rng.uniform(0, 0.01, n)), dec)
    ra = np.where((which >= 2) & (which < 6), (rng.uniform(-1, 1, n) * np.degrees(size)) % 360, ra)
    axes = frames(ra, dec)
    turn = rng.uniform(0, 2 * math.pi, n)
    angles = turn[:, None] + np.arange(4) * math.pi / 2 + rng.uniform(-0.3, 0.3, (n, 4))
    reach = size[:, None] * rng.uniform(0.8, 1.4, (n, 4))
    plane = np.stack([reach * np.cos(angles), reach * np.sin(angles), np.ones((n, 4))], axis=-1)
    seen = np.einsum("nki,nij->nkj", plane, axes)
    found = np.stack([np.degrees(np.arctan2(seen[..., 1], seen[..., 0])) % 360,
                      np.degrees(np.arctan2(seen[..., 2], np.hypot(seen[..., 0], seen[..., 1])))], axis=-1)  # fmt: skip
    return Sky(np.round(found, 9))  # as many digits as a header has


class BruteForce:
    """Looks at every footprint.

    Parameters
    ----------
    sky : Sky
        They.
    """

    def __init__(self, sky: Sky) -> None:
        corners = directions(sky.corners[..., 0], sky.corners[..., 1])
        middle = corners.sum(axis=1)
        middle /= np.linalg.norm(middle, axis=-1, keepdims=True)
        ra, dec = np.degrees(np.arctan2(middle[:, 1], middle[:, 0])), np.degrees(np.arcsin(middle[:, 2]))
        self._axes = frames(ra, dec)
        turned = np.einsum("nij,nkj->nki", self._axes, corners)
        self._plane = turned[..., :2] / turned[..., 2:]

    def covering(self, ra: float, dec: float) -> set[int]:
        """Number the footprints that cover a position, by crossings of a ray to the right."""
        turned = self._axes @ directions(np.array(ra), np.array(dec))
        with np.errstate(divide="ignore", invalid="ignore"):
            x, y = turned[:, 0] / turned[:, 2], turned[:, 1] / turned[:, 2]
            inside = np.zeros(len(x), bool)
            for i in range(self._plane.shape[1]):
                (ax, ay), (bx, by) = self._plane[:, i - 1].T, self._plane[:, i].T
                crossed = (ay > y) != (by > y)
                inside ^= crossed & (x < ax + (y - ay) * (bx - ax) / (by - ay))
        return set(np.flatnonzero(inside & (turned[:, 2] > 0)).tolist())


def positions(sky: Sky, n: int, seed: int) -> list[tuple[float, float]]:
    """Draw positions: most within footprints or next to them, some anywhere, and the poles."""
    rng = np.random.default_rng(seed)
    found: list[tuple[float, float]] = [(0.0, 90.0), (0.0, -90.0), (123.0, 90.0)]
    while len(found) < n:
        if len(found) % 5 == 0:
            found.append((float(rng.uniform(0, 360)), math.degrees(math.asin(rng.uniform(-1, 1)))))
            continue
        # Two of five among those over poles and RA 0.
        number = int(rng.integers(len(sky.corners)))
        if len(found) % 5 < 3:
            number -= number % 200 - int(rng.integers(6))
        corners = directions(*sky.corners[number % len(sky.corners)].T)
        weights = rng.dirichlet(np.ones(4)) * rng.uniform(0.7, 1.3) + (rng.uniform(-0.2, 0.2, 4))
        x, y, z = corners.T @ weights if weights.sum() > 0.2 else corners[0]
        found.append((math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y)))))
    return found[:n]


def corners_text(corners: Sequence[Sequence[float]]) -> str:
    """Write the arguments of ``polygon(…)``."""
    return ", ".join(repr(float(value)) for corner in corners for value in corner)
