"""Products as datamodels of the jwst package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..model.kinds import kind_of
from .write import to_hdulist

if TYPE_CHECKING:
    from ..model.product import Product

__all__ = ["to_datamodel"]


def to_datamodel(product: Product) -> Any:
    """Give the jwst datamodel of a product.

    Parameters
    ----------
    product : Product
        One that has a datamodel: by DATAMODL in its header, else by its kind.

    Returns
    -------
    stdatamodels.jwst.datamodels.JwstDataModel
        E.g. RampModel; in memory, independent of the product and its files.

    Raises
    ------
    InvalidInput
        If neither header nor kind name a datamodel.
    """
    from stdatamodels.jwst import datamodels

    named = product.meta.get("PRIMARY.DATAMODL")
    model = str(named.value) if named is not None else kind_of(product).datamodel or None
    cls = getattr(datamodels, model or "", None)
    if cls is None or model not in datamodels.__all__:
        raise InvalidInput(
            f"{product.name or 'this product'} is a {product.kind} without a jwst datamodel "
            f"(DATAMODL = {model!r}); use its HDUList instead"
        )
    hdus = to_hdulist(product)
    try:
        loaded = cls(hdus)
        made = loaded.copy()
        loaded.close()
    finally:
        hdus.close()
    # The datamodel has put the name of what it was opened from in its place.
    filename = product.meta.get("FILENAME")
    made.meta.filename = None if filename is None else str(filename.value)
    return made
