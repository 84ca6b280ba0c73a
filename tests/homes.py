"""Empty homes for tests, quickly: one database for all of them, from which each takes its schemas away afterwards.

Making and dropping a database takes some 0.5 s, for PostgreSQL writes a checkpoint; a schema takes 0.1 s.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest
from astropy.io import fits
from psycopg2 import sql
from typer.testing import CliRunner, Result

from miripool import Home, Pool
from miripool.cli.app import app
from miripool.pool.core import core_of
from miripool.store.arrays.blob import Blob
from miripool.store.manifest import BlobRef
from miripool.store.storage.local import LocalStorage

_made: set[str] = set()
_SCHEMAS = r"SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$|public$)'"


def own_database(server: str, name: str = "homes") -> str:
    """Give the URL of a database on a server; made when it is first asked for."""
    head, _, query = server.partition("?")
    url = f"{head.rpartition('/')[0]}/{name}?{query}"  # whichever of the server's databases was given
    if url not in _made:
        with closing(psycopg2.connect(server)) as connection:
            connection.autocommit = True
            connection.cursor().execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        _made.add(url)
    return url


def file_of(blob: Any) -> Path:
    """Give the file of a blob of a folder."""
    path: Path = blob._storage.files.path(blob.key)
    return path


def dataset_of(blob: Any) -> str:
    """Give the path of a blob's array within its HDF5 file."""
    return "data" if blob.ref.bundle is None else blob.ref.digest


def blob_at(path: Path, ref: BlobRef) -> Blob:
    """Give the blob in a file, which is below the folders of a pool."""
    return Blob(LocalStorage(path.parents[2]), ref, key="/".join(path.parts[-3:]))


def ask(url: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run one statement in autocommit."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []


def ask_pool(pool: Pool, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Ask a pool's schema, as its owner."""
    database = core_of(pool).catalog.database
    with closing(psycopg2.connect(database.psql_url)) as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(database.schema)))
        cursor.execute(statement, values or None)
        return cursor.fetchall()


def drop_schemas(url: str) -> None:
    """Drop all pools' schemas of a database, whoever still uses them."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            cursor.execute(_SCHEMAS)
            for (name,) in cursor.fetchall():
                cursor.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


@contextmanager
def empty_home(folder: Path, server: str, database: str) -> Iterator[Home]:
    """Make a home whose config.toml names a database of its own."""
    url = own_database(server, database)
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(f'database_url = "{url}"\n')
    yield Home(folder)
    drop_schemas(url)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def home(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """An empty home, the default one of this test's processes, with an empty database on the shared server."""
    url = own_database(database_url)
    monkeypatch.setenv("MIRIPOOL_DATABASE_URL", url)
    monkeypatch.setenv("MIRIPOOL_HOME", str(tmp_path / "home"))
    yield Home()
    drop_schemas(url)


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """Mount something on a folder for a while; skips the test where that can't be done."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    done = subprocess.run(["mount", *options, folder], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Let a folder and all in it be read only, for root too."""
    if os.geteuid() == 0:
        with mounted(folder, "--bind", str(folder)):
            subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
            yield
        return
    paths = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in paths:
        path.chmod(0o555)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(0o755)


def write_image(
    path: Path, cards: Mapping[str, Any] | None = None, data: Sequence[Any] | np.ndarray | None = None
) -> Path:
    """Write a small FITS file: some cards and one image."""
    image = np.arange(6, dtype="f4").reshape(2, 3) if data is None else np.asarray(data)
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, name="SCI")])
    for key, value in (cards or {}).items():
        hdus[0].header[key] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    hdus.writeto(path, overwrite=True)
    return path


def environment(**changes: str | None) -> dict[str, str]:
    """Give the environment of a process."""
    merged = {**os.environ, **changes}
    return {key: value for key, value in merged.items() if value is not None}


def call(*arguments: Any, stdin: str | None = None) -> Result:
    """Run a command in this process; errors of miripool are raised."""
    result = CliRunner().invoke(app, list(map(str, arguments)), input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
