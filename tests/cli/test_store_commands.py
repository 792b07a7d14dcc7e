"""Accounts, keys, backups from the command line: output, exit codes, and no secret in a listing."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accordant.cli import app, store
from accordant.errors import AccordantError
from accordant.store import keys, passwords, users
from accordant.store.database import Database
from accordant.store.migrate import downgrade, newest

assert store  # registers the commands
PASSWORD = "correct horse\n"


def run(*arguments: str, home: Path, input: str | None = None) -> str:
    done = CliRunner().invoke(app, list(arguments), input=input, env={"ACCORDANT_HOME": str(home), "COLUMNS": "300"})
    if isinstance(done.exception, AccordantError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output.strip()


def test_accounts_from_first_to_last(tmp_path: Path) -> None:
    added = run("user", "add", "ada", "--role", "admin", "--password-stdin", home=tmp_path, input=PASSWORD)
    assert re.fullmatch(r"ada \(user, admin\): user_\S+", added)
    run("user", "add", "eve", "--password-stdin", home=tmp_path, input=PASSWORD)
    assert run("user", "role", "eve", "trainer", "reviewer", home=tmp_path) == "eve: user, trainer, reviewer"
    run("user", "password", "eve", "--password-stdin", home=tmp_path, input="battery staple\n")
    database = Database(f"sqlite:///{tmp_path / 'accordant.db'}")
    with database.read() as session:
        digest = users.named(session, "eve").password_hash
    assert passwords.password_fits(digest, "battery staple")
    listed = run("user", "list", home=tmp_path)
    assert [line.split()[0] for line in listed.splitlines()] == ["ada", "eve", "local"]
    assert "argon2" not in listed
    assert len(run("user", "invite", "--role", "trainer", home=tmp_path)) == 43
    assert "eve is gone" in run("user", "remove", "eve", home=tmp_path)
    for arguments, said in (
        (["user", "role", "eve"], "no user 'eve'"),
        (["user", "role", "ada"], "only admin"),
        (["user", "remove", "ada"], "only admin"),
        (["user", "invite", "--role", "god"], "'god' is no role"),
    ):
        with pytest.raises(AccordantError, match=said):
            run(*arguments, home=tmp_path)
    with pytest.raises(AccordantError, match="a password has 10"):
        run("user", "add", "joan", "--password-stdin", home=tmp_path, input="short\n")


def test_a_key_is_shown_once(tmp_path: Path) -> None:
    run("user", "add", "ada", "--password-stdin", home=tmp_path, input=PASSWORD)
    key = run("key", "create", "ada", "--name", "laptop", home=tmp_path)
    prefix = "-".join(key.split("-")[:2])
    listed = run("key", "list", home=tmp_path)
    assert listed.startswith(f"{prefix}  ada  valid  since ")
    assert key.split("-", 2)[2] not in listed
    database = Database(f"sqlite:///{tmp_path / 'accordant.db'}")
    with database.read() as session:
        assert keys.find(session, key)
    assert run("key", "revoke", prefix, home=tmp_path) == f"{prefix} is revoked"
    with database.read() as session:
        assert keys.find(session, key) is None
    assert "revoked" in run("key", "list", "ada", home=tmp_path)


def test_backup_and_restore_round_trip(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    run("user", "add", "ada", "--password-stdin", home=here, input=PASSWORD)
    key = run("key", "create", "ada", home=here)
    assert "2 users" in run("store", "backup", str(tmp_path / "b.zip"), home=here)
    with pytest.raises(AccordantError, match="is not empty"):
        run("store", "restore", str(tmp_path / "b.zip"), home=here)
    assert "2 users" in run("store", "restore", str(tmp_path / "b.zip"), home=there)
    database = Database(f"sqlite:///{there / 'accordant.db'}")
    with database.read() as session:
        assert keys.find(session, key)


def test_upgrade_says_from_where_to_where(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    assert run("store", "upgrade", "--database", url, home=tmp_path).endswith(f"new -> {newest()}")
    assert run("store", "upgrade", "--database", url, home=tmp_path).endswith("is up to date")
    downgrade(Database(url), "0001")
    with pytest.raises(AccordantError, match="run accordant store upgrade"):
        run("user", "list", "--database", url, home=tmp_path)
    assert run("store", "upgrade", "--database", url, home=tmp_path).endswith(f"0001 -> {newest()}")
    assert run("user", "list", "--database", url, home=tmp_path).startswith("local")


def test_the_store_is_for_its_owner_alone(tmp_path: Path) -> None:
    run("user", "list", home=tmp_path)
    assert (tmp_path / "accordant.db").stat().st_mode & 0o077 == 0
    assert sqlite3.connect(tmp_path / "accordant.db").execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_fault_is_one_line_without_torch(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['accordant', 'key', 'create', 'nobody']\nfrom accordant.cli import main\n"
    code += "try:\n    main()\nfinally:\n    assert 'torch' not in sys.modules and 'fastapi' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "ACCORDANT_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 1
    assert done.stderr == "accordant: there is no user 'nobody'; see: accordant user list\n"
