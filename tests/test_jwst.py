"""Kinds, names and datamodels of the pipeline's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from awkward import image, line, primary
from test_fits import REAL, SHARED

from miripool.errors import InvalidInput
from miripool.formats import read_fits, to_datamodel, track_name
from miripool.model.product import Product

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("filename", "name"),
    [
        ("jw01033005001_03103_00001_mirimage_uncal.fits", "jw01033005001_03103_00001_mirimage"),
        ("jw01033005001_03103_00001_mirimage_rateints.fits.gz", "jw01033005001_03103_00001_mirimage"),
        ("x_ramp.FITS", "x"),
        ("x_rate.fit", "x"),
        ("x_cal.fits", "x_cal"),
        ("x_ramp_fit.fits", "x_ramp_fit"),
        ("x_rate_ramp.fits", "x_rate"),
        ("a.b_rate.fits", "a.b"),
        ("_rate.fits", "_rate"),
        (".fits", ".fits"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_track_names(filename: str, name: str) -> None:
    assert track_name(filename) == name


def jwst_file(shape: tuple[int, ...], kind: str, *science: bytes, model: str | None = None, more: bytes = b"") -> bytes:
    lines = [] if model is None else [line("DATAMODL", f"'{model}'")]
    return primary(*lines) + image(np.zeros(shape, kind), line("EXTNAME", "'SCI'"), *science) + more


UNSIGNED = line("BZERO", "32768")
DN = line("BUNIT", "'DN/s'")
GROUPDQ = image(np.zeros((1, 2, 3, 4), "u1"), line("EXTNAME", "'GROUPDQ'"))
FOUR, THREE, TWO = (1, 2, 3, 4), (2, 3, 4), (3, 4)


@pytest.mark.parametrize(
    ("content", "filename", "kind"),
    [
        (jwst_file(FOUR, "i2", UNSIGNED, model="Level1bModel"), "x.fits", "Raw"),
        (jwst_file(FOUR, "f4", model="RampModel"), "x.fits", "Ramp"),
        (jwst_file(THREE, "f4", DN, model="CubeModel"), "x_rate.fits", "RateInts"),
        (jwst_file(TWO, "f4", DN, model="ImageModel"), "x.fits", "Rate"),
        (jwst_file(TWO, "f4", model="ImageModel"), "x_rate.fits", "Product"),
        (jwst_file(TWO, "f4", line("BUNIT", "'MJy/sr'"), model="ImageModel"), "x_rate.fits", "Product"),
        (jwst_file(TWO, "f4", DN, line("PHOTMJSR", "0.5"), model="ImageModel"), "x_rate.fits", "Product"),
        (jwst_file(TWO, "f4", DN, model="DarkModel"), "x_rate.fits", "Product"),
        (jwst_file(THREE, "f4", DN, model="RampModel"), "x.fits", "Product"),
        (jwst_file(FOUR, "i2", UNSIGNED), "x.fits", "Raw"),
        (jwst_file(FOUR, "f4", more=GROUPDQ), "x.fits", "Ramp"),
        (jwst_file(FOUR, "f4"), "x_ramp.fits", "Ramp"),
        (jwst_file(FOUR, "f4"), "x.fits", "Product"),
        (jwst_file(FOUR, "f4"), "x_uncal.fits", "Raw"),
        (jwst_file(THREE, "f4"), "x_rateints.fits", "RateInts"),
        (jwst_file(THREE, "f4"), "x_rate.fits", "Product"),
        (jwst_file(TWO, "f4"), "x_rate.fits", "Rate"),
        (jwst_file(TWO, "f4", DN), "x.fits", "Rate"),
        (jwst_file(TWO, "f4"), "x.fits", "Product"),
        (image(np.zeros((4, 3, 4), "i2"), UNSIGNED, first=True), "x_uncal.fits", "Product"),
        (primary(), "x_rate.fits", "Product"),
    ],
)
def test_kinds(content: bytes, filename: str, kind: str) -> None:
    assert read_fits(content, filename=filename).kind == kind
    assert read_fits(content, filename=filename, kind="ramp").kind == "Ramp"


@pytest.mark.skipif(not REAL, reason=f"no real data in {SHARED}; set MIRIPOOL_SHARED_DATA")
def test_kinds_of_real_files() -> None:
    kinds = {"uncal": "Raw", "ramp": "Ramp", "rateints": "RateInts", "rate": "Rate", "SCE1": "Raw"}
    for path in REAL:
        assert read_fits(path).kind == kinds[path.stem.split("_")[-1]]


@pytest.mark.slow
@pytest.mark.jwst
@pytest.mark.skipif(not REAL, reason=f"no real data in {SHARED}; set MIRIPOOL_SHARED_DATA")
@pytest.mark.parametrize("path", REAL, ids=lambda p: f"{p.parent.name}-{p.stem.split('_')[-1]}")
def test_datamodels(path: Path) -> None:
    product = read_fits(path)
    model = to_datamodel(product)
    assert model.meta.model_type == product.meta["DATAMODL"].value
    assert model.meta.filename == path.name
    np.testing.assert_array_equal(model.data, product["SCI"][...])
    date = model.meta.date
    again = read_fits(model)
    assert model.meta.date == date
    assert again.kind == product.kind
    assert again.name == product.name
    assert list(again) == list(product)
    for name in set(product) - {"ASDF"}:
        assert again[name].source[...].tobytes() == product[name].source[...].tobytes()


@pytest.mark.slow
@pytest.mark.jwst
def test_datamodel_of_a_product_made_in_memory() -> None:
    from miripool.model.kinds import Ramp

    ramp = Ramp({"ngroups": 2}, {"SCI": np.ones((1, 2, 3, 4), np.float32)}, name="x")
    model = to_datamodel(ramp)
    assert type(model).__name__ == "RampModel"
    assert model.meta.exposure.ngroups == 2
    assert model.data.shape == (1, 2, 3, 4)
    with pytest.raises(InvalidInput, match="HDUList"):
        to_datamodel(Product(name="x"))
