"""What psql is started with: no secret stands among its arguments, which every user of the machine can see."""

from __future__ import annotations

import os
import tempfile
import urllib.parse
from typing import TYPE_CHECKING, Any

from ..errors import InvalidInput
from ..server.libpq import SECRETS, is_embedded, without_variables
from .connection import quote
from .engine import engine_url

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["psql_call"]


def psql_call(url: str, schema: str, environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Give arguments and environment of a psql that reads one schema.

    Parameters
    ----------
    url : str
        The database; may hold secrets.
    schema : str
        Where tables are looked up.
    environment : mapping of str to str
        Of this process.

    Returns
    -------
    arguments : list of str
        Without the program's name, and without secrets.
    environment : dict of str to str
        A password stands there; other users can't see it. For other secrets it names a file of this process that is
        inherited and has no name on any disk.

    Raises
    ------
    InvalidInput
        If the URL has both a service and a secret that only a service's file can hold.
    """
    made = engine_url(url)
    _, found = made.get_dialect()().create_connect_args(made)
    parameters: dict[str, Any] = {name: value for name, value in found.items() if value is not None}
    embedded = is_embedded(parameters.get("host"))
    child = without_variables(environment) if embedded else dict(environment)
    given = parameters.pop("options", None) or child.get("PGOPTIONS", "")
    schemas = quote(schema).replace("\\", "\\\\").replace(" ", "\\ ")
    # Among the arguments: there they win over a service's.
    parameters["options"] = f"{given} -c search_path={schemas} -c default_transaction_read_only=on".strip()
    secrets = {name: str(parameters.pop(name)) for name in SECRETS if name in parameters}
    if "password" in secrets:
        child["PGPASSWORD"] = secrets.pop("password")
    if secrets:
        if "service" in parameters or "PGSERVICE" in child:
            raise InvalidInput(
                f"psql can take {' and '.join(secrets)} only from a service file, and the connection already uses a "
                "service: move them from the database's URL into the file of that service"
            )
        child |= {"PGSERVICE": "miripool", "PGSERVICEFILE": _service_file(secrets)}
    return ["-X", _written(parameters)], child


def _written(parameters: Mapping[str, Any]) -> str:
    """Write a URL as libpq reads it: unlike SQLAlchemy it takes no `+` for a blank."""
    rest = dict(parameters)
    user, database = (urllib.parse.quote(str(rest.pop(name, "")), safe="") for name in ("user", "dbname"))
    query = "&".join(f"{name}={urllib.parse.quote(str(value), safe='/')}" for name, value in rest.items())
    return f"postgresql://{user}{'@' if user else ''}/{database}?{query}"


def _service_file(secrets: Mapping[str, str]) -> str:
    """Write a service to a file without a name, of mode 0600, that a child inherits; give the path that opens it."""
    descriptor, path = tempfile.mkstemp(prefix="miripool-")
    os.unlink(path)  # noqa: PTH108 - the descriptor is what counts
    os.write(descriptor, "\n".join(["[miripool]", *(f"{n}={v}" for n, v in secrets.items()), ""]).encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.set_inheritable(descriptor, True)
    return f"/dev/fd/{descriptor}"
