"""fdi's LocalPool: products saved and found by their metadata. Argument: a folder."""

from __future__ import annotations

import logging
import sys
import time
from importlib.metadata import version
from typing import Any

from answering import answer_questions

logging.disable(logging.WARNING)

from fdi.dataset.arraydataset import ArrayDataset  # noqa: E402
from fdi.dataset.numericparameter import NumericParameter  # noqa: E402
from fdi.dataset.product import Product  # noqa: E402
from fdi.dataset.stringparameter import StringParameter  # noqa: E402
from fdi.pal.productstorage import ProductStorage  # noqa: E402
from fdi.pal.query import MetaQuery  # noqa: E402

storage = ProductStorage("benchmark", poolurl=f"file://{sys.argv[1]}/benchmark", makenew=True)


def save(headers: list[dict[str, Any]]) -> dict[str, Any]:
    """Save small products with these metadata."""
    begin = time.perf_counter()
    for header in headers:
        product = Product(description=header["obs_id"])
        for key, value in header.items():
            product.meta[key] = StringParameter(value) if isinstance(value, str) else NumericParameter(value)
        product["SCI"] = ArrayDataset([[1.0] * 4] * 4)
        storage.save(product)
    return {"seconds": time.perf_counter() - begin}


def select(where: str) -> dict[str, Any]:
    """Find products; the references that come have their metadata."""
    begin = time.perf_counter()
    found = storage.select(MetaQuery(Product, where))
    names = [ref.getMeta()["obs_id"].value for ref in found]
    return {"seconds": time.perf_counter() - begin, "names": names}


answer_questions(version("fdi"), {"save": save, "select": select})
