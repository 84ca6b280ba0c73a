"""Positions, regions, polygons and footprints: the mathematics, without a database."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skies import BruteForce, Sky, directions, frames, positions, random_sky

from miripool.errors import InvalidInput
from miripool.instruments.known import DETECTORS
from miripool.pixels.skypixels import DISTORTION
from miripool.sky.cells import cell_at, cells_of
from miripool.sky.circle import Circle
from miripool.sky.footprint import footprint_of, is_dark, is_image, pointing_of
from miripool.sky.pointing import Pointing
from miripool.sky.polygon import SkyPolygon
from miripool.sky.position import SkyPosition, read_position, separation
from miripool.sky.region import read_region

RAS, DECS = st.floats(0, 360), st.floats(-90, 90)


def polygon(*numbers: float) -> SkyPolygon:
    return SkyPolygon([SkyPosition(ra, dec) for ra, dec in zip(numbers[::2], numbers[1::2], strict=True)])


@pytest.mark.parametrize(
    "written",
    [
        ("10h00m28s +02d12m21s",), ("10h00m28s", "+02d12m21s"), ("10:00:28 +02:12:21",), ("10:00:28, 02:12:21",),
        ("10 00 28 +02 12 21",), ("10h 00m 28s +02d 12m 21s",), ("150d07m00s +2.2058333333333333",),
        (150 + 7 / 60, 2 + 12 / 60 + 21 / 3600), ("150.11666666666667 2.2058333333333333",),
        ("10h0m28.0s", "2\N{DEGREE SIGN}12\N{PRIME}21\N{DOUBLE PRIME}"),
    ],
)  # fmt: skip
def test_positions_are_read(written: tuple[Any, ...]) -> None:
    found = read_position(*written)
    assert found.ra == pytest.approx(150.116666667)
    assert found.dec == pytest.approx(2.205833333)


def test_the_sign_of_a_small_declination_is_kept() -> None:
    assert read_position("00h00m00s -00d00m36s") == SkyPosition(0.0, -0.01)


def test_coordinates_of_astropy_are_read() -> None:
    from astropy.coordinates import Galactic, SkyCoord

    assert read_position(SkyCoord("10h00m28s +02d12m21s")).ra == pytest.approx(150.116666667)
    galactic = SkyCoord(0, 90, unit="deg", frame="galactic")
    assert read_position(galactic).dec == pytest.approx(27.128251, abs=1e-5)
    assert read_position(galactic.frame) == read_position(galactic)
    with pytest.raises(InvalidInput, match="this coordinate can't be turned into ICRS"):
        read_position(SkyCoord(alt=10, az=20, unit="deg", frame="altaz"))
    with pytest.raises(InvalidInput, match="this coordinate can't be turned into ICRS"):
        read_position(Galactic())
    with pytest.raises(InvalidInput, match="one position is wanted here, and this coordinate is an array of 2"):
        read_position(SkyCoord([1, 2], [3, 4], unit="deg"))


def test_angles_of_astropy_are_read() -> None:
    from astropy import units as u
    from astropy.coordinates import Angle, Latitude, Longitude

    there = SkyPosition(150.0, 2.5)
    for ra in (150 * u.deg, 10 * u.hourangle, Angle("10h"), Longitude("10h00m00s"), 150, np.float32(150)):
        for dec in (2.5 * u.deg, 150 * u.arcmin, Angle("2d30m"), Latitude("2d30m00s"), "2d30m"):
            found = read_position(ra, dec)
            assert (found.ra, found.dec) == pytest.approx((there.ra, there.dec))
    for ra, dec, words in (
        (150 * u.s, 2 * u.deg, "150. s> is no RA; give degrees, or an angle with a unit"),
        (150 * u.deg, u.Quantity(2), "2.> is no Dec"),
        ([150, 151] * u.deg, 2 * u.deg, "one RA is wanted here, and this is an array of 2"),
        (25 * u.hourangle, 2 * u.deg, r"RA 25.0 hourangle \(375 degrees\) is not between 0 and 360 degrees"),
    ):
        with pytest.raises(InvalidInput, match=words):
            read_position(ra, dec)


def test_a_position_in_sexagesimal_text_keeps_its_text() -> None:
    assert read_position("10h00m28s,  +02d12m21s").text == "10h00m28s, +02d12m21s"
    assert read_position("10 00 28 +02 12 21").text == "10 00 28 +02 12 21"
    assert read_position("10:00:28", "02:12:21").text == "10:00:28 02:12:21"
    assert read_position("150.1 2.2").text is read_position(150.1, "2d12m").text is None


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ((400, 0), "RA 400"), ((-1, 0), "RA -1"), ((0, 91), "Dec 91"), ((math.nan, 0), "RA nan"),
        ((0, math.nan), "Dec nan"), (("10h70m00s +1d",), "60 or more"), (("10h00m28s",), "write a position as"),
        (("here",), "no position"), ((1, "2h00m00s"), "Dec can't be read"), ((True, 0), "RA can't be read"),
        ((1, 2, 3), "two coordinates"), (("x 1",), "RA can't be read"),
        (("25h00m00s +02d12m21s",), r"RA '25h00m00s' \(375 degrees\) is not between 0 and 360 degrees"),
        (("10h00m28s", "-91d30m00s"), r"Dec '-91d30m00s' \(-91.5 degrees\) is not between -90 and 90 degrees"),
    ],
)  # fmt: skip
def test_what_is_no_position_is_refused(written: tuple[Any, ...], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read_position(*written)


@given(RAS, DECS)
def test_a_direction_is_a_position(ra: float, dec: float) -> None:
    there = SkyPosition(ra, dec)
    again = SkyPosition.towards(there.vector)
    assert separation(there.vector, again.vector) < 1e-12
    assert 0 <= again.ra < 360


def test_separations_are_exact_for_small_angles_and_for_large_ones() -> None:
    here = SkyPosition(10, 20).vector
    assert separation(here, SkyPosition(10, 20 + 1e-9).vector) == pytest.approx(1e-9, rel=1e-5)
    assert separation(here, SkyPosition(190, -20).vector) == pytest.approx(180, abs=1e-12)
    assert separation(here, SkyPosition(10, -70).vector) == pytest.approx(90)


REGIONS = {
    # Of the tests of stcal and jwst (assign_wcs, cube_build, resample, extract_1d), and of their documents.
    "POLYGON ICRS  247.883569817 30.206692493 247.901987783 30.174116268 247.864126916 30.158804440 "
    "247.846405241 30.190721550": 1,
    "POLYGON ICRS  339.813915797 39.049575409 339.816080118 39.049575409 339.816080118 39.051260090 "
    "339.813915797 39.051260090": 1,
    "POLYGON ICRS  10.355323877 -22.353560934 10.355437846 -22.353464295 10.355437846 -22.353664295": 1,
    "POLYGON ICRS 0 0 0 1 1 1 1 0": 1,
    "POLYGON ICRS 150.0 2.0 150.1 2.0 150.1 2.1 150.0 2.1 POLYGON ICRS  151.0 2.0 151.1 2.0 151.1 2.1 151.0 2.1  ": 2,
    "POLYGON ICRS  247.901987783 30.174116268 247.864126916 30.158804440 247.846405241 30.190721550 "
    "247.852683427 30.193419510 247.851405241 30.195721550 247.888569817 30.211692493 247.906987783 30.179116268 "
    "247.900617472 30.176539964": 1,
    "POLYGON ICRS  22.041995703 11.984458479 22.041980486 11.984462467 22.038319420 11.984418718 "
    "22.038318266 11.984414505 22.038377332 11.980791478 22.042066180 11.980835622": 1,
    "POLYGON J2000 359.9 -89.9 89.9 -89.9 179.9 -89.9 269.9 -89.9 359.9 -89.9": 1,
    "POLYGON ICRS 49.0 -1e-05 51 -0.5 50 1.0E0": 1,
    "POLYGON ICRS 150 2 151 2 151 3 POLYGON ICRS 1 2 3 4 5 95 POLYGON ICRS 10 2 11 2 11 3 CIRCLE ICRS 1 2 3": 2,
    "POLYGON ICRS 10 2 10.0000000002 2 10.0000000002 2.0000000002": 1,
    "Polygon icrs 359.99 0, 0.01 0, 0.01 0.02, -0.01 0.02": 1,
}


@pytest.mark.parametrize("text", REGIONS)
def test_regions_of_headers_are_read(text: str) -> None:
    found = read_region(text)
    assert len(found) == REGIONS[text]
    assert all(one.covers(one.centroid) for one in found)


@pytest.mark.parametrize(
    "text",
    [
        "CIRCLE ICRS 10 20 0.1", "POLYGON GALACTIC 0 0 0 1 1 1", "nonsense", "UNION ICRS (…)",
        "POLYGON ICRS 1 2 3 x 4 5", "POLYGON ICRS  nan nan nan nan nan nan",
    ],
)  # fmt: skip
def test_other_regions_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_region(text)


@pytest.mark.parametrize(
    "text",
    [
        "POLYGON ICRS 1 2 3 4 5 95",
        "POLYGON ICRS 1 2 3",
        "POLYGON ICRS 1 2 1 2 1 2",
        "POLYGON ICRS 0 0 1 1",
        "POLYGON ICRS 0 0 1 0 2 0",
        "POLYGON ICRS 0 0 1 1 1 0 0 1",
    ],
)
def test_polygons_without_an_inside_are_left_out(text: str) -> None:
    assert read_region(text) == ()
    assert footprint_of({"S_REGION": text}) is None


def test_the_inside_is_the_same_in_either_sense() -> None:
    one, other = polygon(10, 10, 11, 10, 11, 11, 10, 11), polygon(10, 11, 11, 11, 11, 10, 10, 10)
    for there, inside in (
        (SkyPosition(10.5, 10.5), True),
        (SkyPosition(11.5, 10.5), False),
        (SkyPosition(190, -10), False),
    ):
        assert one.covers(there.vector) is other.covers(there.vector) is inside


def test_a_pole_and_ra_0_are_places_like_others() -> None:
    around_pole = polygon(0, 89.9, 120, 89.9, 240, 89.9)
    assert around_pole.covers(SkyPosition(77, 90).vector)
    assert not around_pole.covers(
        SkyPosition(60, 89.9).vector
    )  # an edge is an arc of a great circle, not of a parallel
    across = polygon(359.9, -0.1, 0.1, -0.1, 0.1, 0.1, 359.9, 0.1)
    assert across.covers(SkyPosition(0, 0).vector)
    assert across.covers(SkyPosition(360, 0.05).vector)
    assert not across.covers(SkyPosition(180, 0).vector)


def test_a_polygon_with_a_notch() -> None:
    notched = polygon(0, 0, 4, 0, 4, 4, 2, 1, 0, 4)
    assert len(notched.pieces) == 3
    assert notched.covers(SkyPosition(0.3, 3).vector)
    assert notched.covers(SkyPosition(2, 0.5).vector)
    assert not notched.covers(SkyPosition(2, 3).vector)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0, 0, 1, 1), "three"),
        ((0, 0, 1, 1, 1, 0, 0, 1), "cross|no inside"),
        ((0, 0, 90, 0, 45, 80), "40 degrees"),
        ((0, 0, 1, 0, 2, 0), "no inside"),
    ],
)
def test_what_is_no_polygon_is_refused(numbers: tuple[float, ...], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        polygon(*numbers)


def test_footprints_cover_what_brute_force_says() -> None:
    sky = random_sky(600, 3)
    brute = BruteForce(sky)
    seen = [footprint_of({"S_REGION": sky.s_region(i)}) for i in range(600)]
    found = 0
    for ra, dec in positions(sky, 300, 4):
        direction = SkyPosition(ra, dec).vector
        covering = {i for i, one in enumerate(seen) if one is not None and one.covers(direction)}
        assert covering == brute.covering(ra, dec), (ra, dec)
        found += len(covering)
    assert found > 100


def test_cells_hold_all_that_a_shape_covers() -> None:
    sky, draw = random_sky(300, 5), random.Random(6)
    for number in range(300):
        (one,) = read_region(sky.s_region(number))
        ranges = cells_of(one)
        corners = directions(*sky.corners[number].T)
        for _ in range(5):
            weights = np.array([draw.random() ** 3 for _ in range(4)])
            x, y, z = corners.T @ weights
            cell = cell_at(SkyPosition.towards((x, y, z)))
            assert any(low <= cell < high for low, high in ranges)
    assert cells_of(Circle(SkyPosition(0, 0), 90)) == [(0, 12 << 58)]


@settings(max_examples=200, deadline=None)
@given(st.floats(199.7, 200.4), st.floats(9.7, 10.4), st.floats(1e-3, 0.5))
def test_a_circle_overlaps_what_is_near(ra: float, dec: float, radius: float) -> None:
    square = Sky(np.array([[[200, 10], [200.1, 10], [200.1, 10.1], [200, 10.1]]], float))
    (one,) = read_region(square.s_region(0))
    middle = SkyPosition(ra, dec)
    samples = directions(*_outline(square).T)
    nearest = min(separation(middle.vector, tuple(v)) for v in samples)
    inside = one.covers(middle.vector)
    step = 0.1 / 200
    if inside or nearest < radius - step:
        assert one.meets_circle(middle.vector, radius)
    elif nearest > radius + step:
        assert not one.meets_circle(middle.vector, radius)


def _outline(sky: Sky) -> np.ndarray[Any, Any]:
    """Give points along the edges of the first footprint, as RA and Dec."""
    share = np.linspace(0, 1, 200)[:, None]
    corners = sky.corners[0]
    edges = [a + (b - a) * share for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    return np.concatenate(edges)


def test_polygons_overlap_where_they_share_a_part_of_the_sky() -> None:
    draw = random.Random(7)
    for _ in range(60):
        ra, dec = draw.choice((0.0, 359.99, 120.0)), draw.choice((-89.99, 0.0, 45.0, 89.995))
        scale = 0.02
        one, other = (_star(draw, ra, dec, scale) for _ in range(2))
        points = [_around(ra, dec, draw.uniform(0, 2 * scale), draw.uniform(0, 360)) for _ in range(150)]
        shared = any(one.covers(p.vector) and other.covers(p.vector) for p in points)
        if shared:
            assert one.meets(other)
            assert other.meets(one)
        assert one.meets(other) is other.meets(one)
    left, right = polygon(10, 0, 10.1, 0, 10.1, 0.1, 10, 0.1), polygon(10.2, 0, 10.3, 0, 10.3, 0.1, 10.2, 0.1)
    cross = polygon(9.9, 0.04, 10.4, 0.04, 10.4, 0.06, 9.9, 0.06)
    assert not left.meets(right)
    assert left.meets(cross)
    assert right.meets(cross)  # without a corner of one within the other
    assert not left.meets(polygon(190, 0, 190.1, 0, 190.1, 0.1))


def _around(ra: float, dec: float, distance: float, angle: float) -> SkyPosition:
    """Give a position some degrees from another one."""
    (east, north, middle) = frames(np.array([ra]), np.array([dec]))[0]
    far, turn = math.radians(distance), math.radians(angle)
    x, y, z = math.cos(far) * middle + math.sin(far) * (math.sin(turn) * east + math.cos(turn) * north)
    return SkyPosition.towards((float(x), float(y), float(z)))


def _star(draw: random.Random, ra: float, dec: float, scale: float) -> SkyPolygon:
    middle = _around(ra, dec, draw.uniform(0, scale), draw.uniform(0, 360))
    angles = sorted(draw.uniform(0, 90) + 90 * k for k in range(4))
    return SkyPolygon([_around(middle.ra, middle.dec, draw.uniform(0.2, 1) * scale, angle) for angle in angles])


POINTING = {
    "DETECTOR": "MIRIMAGE", "EXP_TYPE": "MIR_IMAGE", "FILTER": "F770W", "RA_REF": 83.8, "DEC_REF": -69.2,
    "ROLL_REF": 37.0, "V2_REF": -453.559, "V3_REF": -373.814, "V3I_YANG": 4.83544897, "VPARITY": -1,
    "SUBSIZE1": 1032, "SUBSIZE2": 1024,
}  # fmt: skip


@pytest.mark.jwst
@pytest.mark.slow
@pytest.mark.parametrize("roll", [0.0, 37.0, 211.5])
@pytest.mark.parametrize("dec", [-69.2, 0.0, 89.9])
def test_pointings_agree_with_the_pipeline(roll: float, dec: float) -> None:
    from jwst.assign_wcs.pointing import _v23tosky
    from jwst.assign_wcs.util import calc_rotation_matrix

    values = {**POINTING, "ROLL_REF": roll, "DEC_REF": dec}
    pointing = pointing_of(values)
    assert pointing is not None
    scale = DETECTORS["MIRIMAGE"].pixel_scale
    assert scale is not None
    wanted = calc_rotation_matrix(math.radians(roll), math.radians(values["V3I_YANG"]), vparity=-1)
    assert pointing.matrix == pytest.approx([part * scale / 3600 for part in wanted])
    sky = _v23tosky(values["V2_REF"] / 3600, values["V3_REF"] / 3600, roll, values["RA_REF"], dec)
    turn = math.radians(values["V3I_YANG"])
    for x, y in ((1, 1), (1032, 1), (516.5, 512.5), (300, 900)):
        ideal_x, ideal_y = (x - 516.5) * scale, (y - 512.5) * scale
        v2 = values["V2_REF"] - ideal_x * math.cos(turn) + ideal_y * math.sin(turn)
        v3 = values["V3_REF"] + ideal_x * math.sin(turn) + ideal_y * math.cos(turn)
        ra, found = sky(v2, v3)
        there = SkyPosition(float(ra) % 360, float(found))
        assert separation(pointing.position(x, y).vector, there.vector) * 3600 < 0.02  # of 0.11 arcseconds


CORNERS = {
    "FULL": (1032, 1024, (83.8153801, -69.2257597), (83.8078234, -69.1814781)),
    "BRIGHTSKY": (512, 512, (83.8018923, -69.2110573), (83.7983140, -69.1889299)),
    "SUB256": (256, 256, (83.8009849, -69.2055143), (83.7990944, -69.1944570)),
    "SUB128": (136, 128, (83.8009173, -69.2028539), (83.7995656, -69.1971423)),
    "SUB64": (72, 64, (83.8005915, -69.2015143), (83.7996636, -69.1985685)),
    "SLITLESSPRISM": (72, 416, (83.7851985, -69.2076994), (83.8044299, -69.1966544)),
    "MASK1065": (288, 224, (83.8014114, -69.2049523), (83.7955733, -69.1940614)),
    "MASK1140": (288, 224, (83.8012674, -69.2050234), (83.7956284, -69.1940109)),
    "MASK1550": (288, 224, (83.8011599, -69.2050803), (83.7956075, -69.1940281)),
    "MASKLYOT": (320, 304, (83.7995895, -69.2067921), (83.7965887, -69.1932848)),
}
"""Columns, rows, and where the corners (0.5, 0.5) and the one opposite look, with distortion, for the pointing of
`POINTING`: by pysiaf 0.29 with PRDOPSSOC-075, `attitude_matrix` and `sci_to_sky` of MIRIM_FULL, MIRIM_SUB64 …"""


@pytest.mark.parametrize("subarray", CORNERS)
def test_apertures_agree_with_siaf(subarray: str) -> None:
    columns, rows, *corners = CORNERS[subarray]
    pointing = pointing_of({**POINTING, "SUBARRAY": subarray, "SUBSIZE1": columns, "SUBSIZE2": rows})
    assert pointing is not None
    for (x, y), (ra, dec) in zip(((0.5, 0.5), (columns + 0.5, rows + 0.5)), corners, strict=True):
        error = separation(pointing.position(x, y).vector, SkyPosition(ra, dec).vector) * 3600 / 0.11
        assert error < DISTORTION * math.hypot(x - pointing.x, y - pointing.y)


@given(RAS, DECS, st.floats(0, 360), st.floats(0.5, 1032.5), st.floats(0.5, 1024.5))
def test_a_pixel_is_found_where_it_looks(ra: float, dec: float, roll: float, x: float, y: float) -> None:
    pointing = pointing_of({**POINTING, "RA_REF": ra, "DEC_REF": dec, "ROLL_REF": roll})
    assert pointing is not None
    found = pointing.pixel(pointing.position(x, y))
    assert found == pytest.approx((x, y), abs=1e-5)


@pytest.mark.parametrize("with_matrix", ["CD", "PC"])
def test_world_coordinates_of_a_header_agree_with_astropy(with_matrix: str) -> None:
    from astropy.wcs import WCS

    values = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 359.999, "CRVAL2": 85.0,
              "CRPIX1": 30.5, "CRPIX2": 20.0}  # fmt: skip
    matrix = dict(zip(("1_1", "1_2", "2_1", "2_2"), (-3e-5, 1e-5, 1.1e-5, 3.1e-5), strict=True))
    scale = 1.0 if with_matrix == "CD" else 2.0
    values |= {f"{with_matrix}{place}": part / scale for place, part in matrix.items()}
    values |= {} if with_matrix == "CD" else {"CDELT1": scale, "CDELT2": scale}
    pointing = Pointing.read(values, DETECTORS["MIRIMAGE"])
    assert pointing is not None
    wcs = WCS({**values, "NAXIS": 2})
    for x, y in ((1.0, 1.0), (500.0, 100.0)):
        ra, dec = wcs.all_pix2world(x, y, 1)
        there = SkyPosition(float(ra) % 360, float(dec))
        assert separation(pointing.position(x, y).vector, there.vector) < 1e-9
        assert pointing.pixel(there) == pytest.approx((x, y), abs=1e-4)
    assert pointing.pixel(SkyPosition(180, -85)) is None


def test_a_pointing_makes_a_footprint_where_no_region_does() -> None:
    seen = footprint_of({**POINTING, "S_REGION": " "})
    assert seen is not None
    assert not seen.dark
    assert seen.covers(SkyPosition(83.8, -69.2).vector)
    assert separation(seen.centre, SkyPosition(83.8, -69.2).vector) < 1e-6
    (outline,) = seen.polygons
    assert math.degrees(math.sqrt(outline.area)) * 3600 == pytest.approx(math.sqrt(1032 * 1024) * 0.11, rel=1e-4)
    assert footprint_of({**POINTING, "S_REGION": "CIRCLE ICRS 1 2 3"}) == seen
    sub64 = footprint_of({**POINTING, "SUBSIZE1": 72, "SUBSIZE2": 64})
    assert sub64 is not None
    assert not sub64.covers(SkyPosition(83.8, -69.21).vector)


@pytest.mark.parametrize(
    "changes",
    [
        {"DETECTOR": "MIRIFUSHORT"}, {"EXP_TYPE": "MIR_LRS-FIXEDSLIT"}, {"FILTER": "P750L"}, {"DETECTOR": "NRCA1"},
        {"RA_REF": math.nan}, {"DEC_REF": 100.0}, {"ROLL_REF": "37"}, {"VPARITY": 0}, {"VPARITY": None},
        {"SUBSIZE1": None}, {"SUBSIZE1": -5}, {"RA_REF": None},
    ],
)  # fmt: skip
def test_what_says_nothing_of_the_sky_has_no_footprint(changes: dict[str, Any]) -> None:
    assert footprint_of({**POINTING, **changes}) is None


@pytest.mark.parametrize("said", [{"EXP_TYPE": "MIR_DARKIMG"}, {"EXP_TYPE": "MIR_DARKMRS"}, {"FILTER": "OPAQUE"}])
def test_darks_are_marked(said: dict[str, str]) -> None:
    assert is_dark(said)
    seen = footprint_of({**POINTING, **said})
    assert seen is not None
    assert seen.dark


def test_images_are_told_from_spectra() -> None:
    assert is_image(POINTING)
    assert is_image({**POINTING, "EXP_TYPE": "MIR_LYOT", "FILTER": "F2300C"})
    assert not is_image({**POINTING, "EXP_TYPE": "MIR_LRS-SLITLESS"})
    assert not is_image({**POINTING, "DETECTOR": "MIRIFULONG"})
