"""Commands on the store: its upkeep, accounts, and API keys. The service may run meanwhile, except for `restore`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from accordant.cli import app

if TYPE_CHECKING:
    from accordant.store.database import Database

Database_ = Annotated[
    str | None,
    typer.Option(
        "--database", envvar="ACCORDANT_DATABASE", help="sqlite:///FILE or postgresql://...; default: the workspace's."
    ),
]
Name_ = Annotated[str, typer.Argument(help="Name of the user.")]
FromInput_ = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]

user_app = typer.Typer(help="Accounts.", no_args_is_help=True)
key_app = typer.Typer(help="API keys.", no_args_is_help=True)
store_app = typer.Typer(help="The database of accounts and conversations.", no_args_is_help=True)
app.add_typer(user_app, name="user")
app.add_typer(key_app, name="key")
app.add_typer(store_app, name="store")
console = Console()

ACTOR = "cli"


@user_app.command(name="add")
def user_add(
    name: Name_,
    role: Annotated[list[str] | None, typer.Option(help="trainer, reviewer, red-teamer or admin; repeatable.")] = None,
    from_input: FromInput_ = False,
    database: Database_ = None,
) -> None:
    """Create an account."""
    from accordant.store import audit, passwords, users

    digest = passwords.hash_password(_password(from_input))
    with _store(database) as store, store.write() as session:
        user = users.add(session, name, digest, role or ())
        audit.record(session, ACTOR, "user.add", user.id, roles=user.roles)
    _say(f"{user.name} ({', '.join(user.roles)}): {user.id}")


@user_app.command(name="list")
def user_list(database: Database_ = None) -> None:
    """Show all accounts."""
    from accordant.store import users

    with _store(database) as store, store.read() as session:
        for user in users.everyone(session):
            _say(f"{user.name}  {', '.join(user.roles)}  since {user.created_at:%Y-%m-%d}  {user.id}")


@user_app.command(name="role")
def user_role(
    name: Name_,
    roles: Annotated[list[str] | None, typer.Argument(help="All roles besides user; none takes all away.")] = None,
    database: Database_ = None,
) -> None:
    """Replace somebody's roles."""
    from accordant.store import audit, users

    with _store(database) as store, store.write() as session:
        user = users.named(session, name)
        users.set_roles(session, user, roles or ())
        audit.record(session, ACTOR, "user.roles", user.id, roles=user.roles)
    _say(f"{user.name}: {', '.join(user.roles)}")


@user_app.command(name="password")
def user_password(name: Name_, from_input: FromInput_ = False, database: Database_ = None) -> None:
    """Set a new password and log all of the user's browsers out."""
    from accordant.store import audit, logins, passwords, users

    digest = passwords.hash_password(_password(from_input))
    with _store(database) as store, store.write() as session:
        user = users.named(session, name)
        user.password_hash = digest
        logins.end_all(session, user.id)
        audit.record(session, ACTOR, "user.password", user.id)
    _say(f"{user.name} has a new password")


@user_app.command(name="invite")
def user_invite(
    role: Annotated[list[str] | None, typer.Option(help="A role of whoever comes; repeatable.")] = None,
    days: Annotated[float, typer.Option(help="How long it holds.", min=0.01)] = 7.0,
    database: Database_ = None,
) -> None:
    """Print a code with which one person can sign up."""
    from accordant.store import audit, invitations

    with _store(database) as store, store.write() as session:
        code = invitations.add(session, role or (), days)
        audit.record(session, ACTOR, "user.invite", roles=role or [])
    _say(code)


@user_app.command(name="remove")
def user_remove(name: Name_, database: Database_ = None) -> None:
    """Delete an account and everything in it, for good."""
    from accordant.store import audit, users

    with _store(database) as store:
        with store.write() as session:
            user = users.named(session, name)
            users.delete(session, user)
            audit.record(session, ACTOR, "user.delete", user.id)
        store.forget_deleted()
    _say(f"{user.name} is gone, with all conversations and keys")


@key_app.command(name="create")
def key_create(
    user: Annotated[str, typer.Argument(help="Name of the user it belongs to.")],
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    database: Database_ = None,
) -> None:
    """Print a new API key, this once."""
    from accordant.store import audit, keys, users

    with _store(database) as store, store.write() as session:
        row, text = keys.add(session, users.named(session, user).id, name)
        audit.record(session, ACTOR, "key.create", row.id)
    _say(text)


@key_app.command(name="list")
def key_list(
    user: Annotated[str | None, typer.Argument(help="Only this user's.")] = None, database: Database_ = None
) -> None:
    """Show keys by prefix; what follows it is stored nowhere."""
    from accordant.store import keys, users

    with _store(database) as store, store.read() as session:
        for key, owner in keys.of_user(session, users.named(session, user).id if user else None):
            state = "revoked" if key.revoked_at else "valid"
            _say(
                f"{keys.BEGINNING}{key.prefix}  {owner}  {state}  since {key.created_at:%Y-%m-%d}  {key.name}".rstrip()
            )


@key_app.command(name="revoke")
def key_revoke(
    which: Annotated[str, typer.Argument(help="Its prefix, as `key list` shows it, or its id.")],
    database: Database_ = None,
) -> None:
    """End a key."""
    from accordant.store import audit, keys

    with _store(database) as store, store.write() as session:
        row = keys.revoke(session, which)
        audit.record(session, ACTOR, "key.revoke", row.id)
    _say(f"{keys.BEGINNING}{row.prefix} is revoked")


@store_app.command(name="backup")
def store_backup(
    file: Annotated[Path, typer.Argument(help="The backup; it holds what people wrote.")], database: Database_ = None
) -> None:
    """Write everything into one file, while the service goes on."""
    from accordant.store.backup import back_up

    with _store(database) as store:
        counts = back_up(store, file)
    _say(f"{file}: {sum(counts.values())} rows, {counts['users']} users, {counts['conversations']} conversations")


@store_app.command(name="restore")
def store_restore(
    file: Annotated[Path, typer.Argument(help="What `store backup` wrote.")], database: Database_ = None
) -> None:
    """Fill an empty database from a backup."""
    from accordant.store.backup import restore
    from accordant.store.database import Database

    store = Database(database)
    counts = restore(store, file)
    _say(f"{store.name}: {sum(counts.values())} rows, {counts['users']} users")


@store_app.command(name="upgrade")
def store_upgrade(database: Database_ = None) -> None:
    """Bring the database to this version's schema. Make a backup first."""
    from accordant.store.database import Database
    from accordant.store.migrate import newest, open_database, revision, upgrade

    store = Database(database)
    before = revision(store)
    if before is None:
        open_database(database)
    else:
        upgrade(store)
    _say(f"{store.name}: {before or 'new'} -> {newest()}" if before != newest() else f"{store.name} is up to date")


@contextmanager
def _store(url: str | None) -> "Iterator[Database]":
    from accordant.store.migrate import open_database

    store = open_database(url)
    try:
        yield store
    finally:
        store.close()


def _password(from_input: bool) -> str:
    if from_input:
        return sys.stdin.readline().rstrip("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
