"""Settings for all tests, and an empty store on each kind of database."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no fault of the code: no test is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a PostgreSQL server of these tests."""
    from tests import postgres

    folder = postgres.binaries()
    if folder is None:
        pytest.skip(postgres.MISSING)
    with postgres.server(folder) as url:
        yield url


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all tables, to copy."""
    from accordant.store.migrate import open_database

    path = tmp_path_factory.mktemp("store") / "accordant.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres_url: str) -> str:
    """URL of a PostgreSQL database with all tables."""
    from accordant.store.migrate import open_database

    url = _new_postgres(postgres_url, "migrated")
    open_database(url).close()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return _new_postgres(request.getfixturevalue("postgres_url"), "empty")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database with all tables and nobody but the local user."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated"), path := tmp_path / "accordant.db")
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("migrated_postgres")
    _forget_all_rows(url)
    return url


def _new_postgres(server: str, name: str) -> str:
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
    return server.replace("/postgres?", f"/{name}?")


def _forget_all_rows(url: str) -> None:
    from accordant.store import users
    from accordant.store.database import Database
    from accordant.store.schema import Base

    database = Database(url)
    with database.write() as session:
        tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
        session.connection().exec_driver_sql(f"TRUNCATE {tables}")
        users.ensure_local(session)
    database.close()
