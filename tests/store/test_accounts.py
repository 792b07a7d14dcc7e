"""Users, logins, invitations, keys, usage, settings, audit."""

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from accordant.config import Section
from accordant.errors import AccordantError
from accordant.store import audit, invitations, keys, logins, passwords, settings, usage, users
from accordant.store.database import Changed, Database, NotFound, Unusable
from accordant.store.schema import Base, LoginSession, Setting, User
from accordant.store.settings import AccountSettings


class Clock:
    """A time that tests set, in every module that asks for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        for module in (logins, invitations, usage, keys):
            monkeypatch.setattr(module, "now", lambda: self.now)

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_password_is_stored_as_argon2id_and_only_the_right_one_fits() -> None:
    digest = passwords.hash_password("correct horse")
    assert digest.startswith("$argon2id$")
    assert "horse" not in digest
    assert digest != passwords.hash_password("correct horse")
    assert passwords.password_fits(digest, "correct horse")
    assert not passwords.password_fits(digest, "correct house")
    assert not passwords.password_fits(None, "correct horse")


def test_the_shipped_cost_is_that_of_rfc_9106(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    hasher = passwords.HASHER
    assert (hasher.memory_cost, hasher.time_cost, hasher.parallelism) == (65536, 3, 4)  # section 4, second choice


@pytest.mark.parametrize("password", ["", "short", "x" * 1001])
def test_a_bad_password_is_one_line(password: str) -> None:
    with pytest.raises(AccordantError, match=f"this one has {len(password)}"):
        passwords.hash_password(password)


def test_names_are_checked_and_taken_once(database: Database) -> None:
    with database.write() as session:
        assert users.add(session, " Ada ", None).name == "ada"
        with pytest.raises(AccordantError, match="already"):
            users.add(session, "ADA", None)
        for name in ("", "a b", "a/b", "-a", "x" * 65, "a\nb", "ä"):
            with pytest.raises(AccordantError, match="is no user name"):
                users.add(session, name, None)
        with pytest.raises(AccordantError, match="'root' is no role"):
            users.add(session, "eve", None, ["root"])
        with pytest.raises(NotFound, match="no user 'eve'"):
            users.named(session, "eve")


def test_roles_are_kept_in_order_and_somebody_stays_admin(database: Database) -> None:
    with database.write() as session:
        ada = users.add(session, "ada", None, ["admin", "reviewer"])
        grace = users.add(session, "grace", None, ["trainer"])
        assert ada.roles == ["user", "reviewer", "admin"]
        with pytest.raises(AccordantError, match="ada is the only admin"):
            users.set_roles(session, ada, ["trainer"])
        with pytest.raises(AccordantError, match="only admin"):
            users.delete(session, ada)
        users.set_roles(session, grace, ["admin"])
        users.set_roles(session, ada, [])
        assert ada.roles == ["user"]
    with database.read() as session:
        assert [(user.name, user.roles) for user in users.everyone(session)] == [
            ("ada", ["user"]),
            ("grace", ["user", "admin"]),
            ("local", ["user", "admin"]),
        ]


def test_a_login_lasts_30_days_from_the_last_visit(database: Database, ada: str, clock: Clock) -> None:
    with database.write() as session:
        token = logins.begin(session, ada)
        other = logins.begin(session, ada)
    assert token != other

    def found() -> bool:
        with database.read() as session:
            return logins.find(session, token) is not None

    clock.later(days=29)
    with database.write() as session:
        login = logins.find(session, token)
        assert login
        assert login[1].name == "ada"
        logins.prolong(session, login[0].id)
    clock.later(days=29)
    assert found()
    clock.later(days=2)
    assert not found()
    with database.write() as session:
        logins.clean(session)
        assert session.scalar(sa.select(sa.func.count()).select_from(LoginSession)) == 0


def test_logging_out_ends_one_and_a_new_password_all_others(database: Database, ada: str) -> None:
    with database.write() as session:
        first, second, third = (logins.begin(session, ada) for _ in range(3))

    def alive() -> list[str]:
        with database.read() as session:
            return [token for token in (first, second, third) if logins.find(session, token)]

    with database.write() as session:
        one = logins.find(session, first)
        assert one
        logins.end(session, one[0].id)
    assert alive() == [second, third]
    with database.write() as session:
        two = logins.find(session, second)
        assert two
        logins.end_all(session, ada, but=two[0].id)
    assert alive() == [second]


def test_wrong_tries_wait_longer_and_longer(database: Database, clock: Clock) -> None:
    def attempt() -> float:
        with database.write() as session:
            wait = logins.attempt(session, {"ada": 3})
        return wait.total_seconds() if wait else 0.0

    assert [attempt() for _ in range(4)] == [0, 0, 0, 0]
    for beyond in range(1, 14):
        wait = attempt()
        assert wait == min(2.0**beyond, 900)
        clock.later(seconds=wait - 0.1)
        assert attempt() == pytest.approx(0.1)
        clock.later(seconds=0.1)
        assert attempt() == 0


def test_others_are_not_slowed_and_time_heals(database: Database, clock: Clock) -> None:
    def attempt(**free: int) -> bool:
        with database.write() as session:
            return logins.attempt(session, free) is None

    assert [attempt(ada=1) for _ in range(4)] == [True, True, False, False]
    assert attempt(grace=1)
    assert not attempt(ada=1, grace=5)  # one of the two is enough
    clock.later(hours=2)
    assert [attempt(ada=1) for _ in range(3)] == [True, True, False]
    with database.write() as session:
        logins.succeeded(session, "ada", [])
    assert attempt(ada=1)


def test_an_own_login_gives_no_new_tries_at_another_account(database: Database, clock: Clock) -> None:
    def attempt(name: str) -> bool:
        with database.write() as session:
            return logins.attempt(session, {f"{name} from there": 9, "from there": 3}) is None

    for guess in range(3):
        assert attempt("ada"), guess
        assert attempt("eve")
        with database.write() as session:
            logins.succeeded(session, "eve from there", ["eve from there", "from there"])
    assert attempt("ada")
    assert not attempt("ada")


def test_tries_at_the_same_moment_count_as_well(database: Database) -> None:
    passed = []

    def work() -> None:
        with database.write() as session:
            if logins.attempt(session, {"ada": 2}) is None:
                passed.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 3


def test_an_invitation_is_for_one_person_and_a_week(database: Database, clock: Clock) -> None:
    with database.write() as session:
        code, late = invitations.add(session, ["trainer"]), invitations.add(session)
    with database.write() as session:
        invitation = invitations.find(session, code)
        assert invitation.roles == ["user", "trainer"]
        invitations.use(invitation, users.add(session, "ada", None, invitation.roles))
    clock.later(days=8)
    for gone in (code, late, "nonsense"):
        with database.read() as session, pytest.raises(AccordantError, match="used already or has expired"):
            invitations.find(session, gone)


def test_a_key_is_known_by_its_text_alone_and_stored_as_a_digest(database: Database, ada: str) -> None:
    with database.write() as session:
        row, text = keys.add(session, ada, "laptop")
        other = keys.add(session, ada, "").text
    assert text.startswith(f"acc-{row.prefix}-")
    assert len(text.split("-", 2)[2]) >= 20
    with database.read() as session:
        found = keys.find(session, text)
        assert found
        assert (found[0].id, found[1].name) == (row.id, "ada")
        secret = text.split("-", 2)[2]
        stored = " ".join(
            str(value) for line in session.execute(sa.select(keys.ApiKey)) for value in vars(line[0]).values()
        )
        assert secret not in stored
        other_secret = other.split("-", 2)[2]
        wrong = [
            text[:-1],
            text + "x",
            f"acc-{row.prefix}-{other_secret}",
            text.removeprefix("acc-"),
            "acc-",
            "",
            row.id,
        ]
        assert [keys.find(session, one) for one in wrong] == [None] * len(wrong)


def test_a_revoked_key_is_unknown_and_only_its_owner_may_revoke(database: Database, ada: str) -> None:
    with database.write() as session:
        eve = users.add(session, "eve", None).id
        row, text = keys.add(session, ada, "laptop")
    with database.write() as session, pytest.raises(NotFound):
        keys.revoke(session, row.id, eve)
    with database.write() as session:
        assert keys.revoke(session, row.prefix).revoked_at
    with database.read() as session:
        assert keys.find(session, text) is None
        assert [(key.id, name) for key, name in keys.of_user(session)] == [(row.id, "ada")]
        assert not keys.of_user(session, eve)


def test_usage_is_counted_by_day_and_key_under_many_writers(database: Database, ada: str, clock: Clock) -> None:
    def work() -> None:
        for _ in range(5):
            with database.write() as session:
                usage.add(session, ada, None, "tiny", 10, 3)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.later(days=1)
    with database.write() as session:
        usage.add(session, ada, "key_1", "tiny", 7, 0)
    with database.read() as session:
        found = [
            (r.day.day, r.key_id, r.requests, r.prompt_tokens, r.answer_tokens) for r, _ in usage.of_user(session, ada)
        ]
    assert found == [(2, "key_1", 1, 7, 0), (1, "", 20, 200, 60)]


def test_settings_have_defaults_are_typed_and_stay(database: Database) -> None:
    with database.read() as session:
        assert settings.load(session, AccountSettings).sign_up == "invitation"
    for value in ("open", "invitation", "open"):
        with database.write() as session:
            settings.save(session, AccountSettings(sign_up=value))  # type: ignore[arg-type]
        with database.read() as session:
            assert settings.load(session, AccountSettings).sign_up == value
    with database.write() as session:
        row = session.get(Setting, "AccountSettings")
        assert row
        row.value = {"sign_up": "never"}
    with database.read() as session, pytest.raises(AccordantError, match="AccountSettings: sign_up = 'never'"):
        settings.load(session, AccountSettings)


def test_every_setting_says_what_it_is() -> None:
    for section in [
        value for value in vars(settings).values() if isinstance(value, type) and issubclass(value, Section)
    ]:
        assert all(field.description for field in section.model_fields.values())


def test_the_audit_log_tells_deeds_in_order_and_only_if_they_happened(database: Database, ada: str) -> None:
    with database.write() as session:
        audit.record(session, ada, "user.roles", ada, roles=["admin"])
    with suppress(ZeroDivisionError), database.write() as session:
        audit.record(session, ada, "never")
        _ = 1 / 0
    with database.write() as session:
        audit.record(session, "cli", "key.revoke", "key_1")
    with database.read() as session:
        found = [(entry.actor, entry.action, entry.subject, entry.details) for entry in audit.latest(session)]
    assert found == [("cli", "key.revoke", "key_1", {}), (ada, "user.roles", ada, {"roles": ["admin"]})]


def test_times_come_back_in_utc(database: Database) -> None:
    east = datetime(2026, 7, 1, 1, 30, 0, 123456, tzinfo=UTC) + timedelta(0)
    with database.write() as session:
        session.add(User(id="u", name="u", password_hash=None, roles=[], created_at=east.astimezone()))
    with database.read() as session:
        user = session.get(User, "u")
        assert user
        assert user.created_at == east
        assert user.created_at.tzinfo is UTC


def test_a_write_that_fails_leaves_nothing(database: Database) -> None:
    with suppress(SystemExit), database.write() as session:
        users.add(session, "ada", None)
        raise SystemExit
    with database.read() as session:
        assert users.find(session, "ada") is None


def test_of_two_who_take_a_name_at_once_one_is_told(database: Database) -> None:
    """Both have looked before either writes, as PostgreSQL allows."""
    user = {"name": "ada", "password_hash": None, "roles": [], "created_at": datetime.now(UTC)}
    with database.write() as session:
        session.add(User(id="user_1", **user))
    with pytest.raises(Changed, match="try again"), database.write() as session:
        session.add(User(id="user_2", **user))


def test_what_cannot_be_opened_is_one_line(tmp_path: object) -> None:
    for url, said in (
        ("nonsense", "is no database URL"),
        ("oracle9://x", "is no database URL"),
        ("sqlite://", "must be a file"),
    ):
        with pytest.raises(AccordantError, match=said):
            Database(url)
    database = Database("postgresql://u:secret@127.0.0.1:1/x")
    with pytest.raises(AccordantError, match="cannot be used") as caught, database.read() as session:
        session.execute(sa.text("select 1"))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_statement_has_a_time_limit_and_a_migration_has_none(database_url: str) -> None:
    counting = sa.text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n"
    )
    hurried = Database(database_url, statement_seconds=0.01)
    for transaction in (hurried.read, hurried.write):
        with (
            pytest.raises(Unusable, match=r"a statement ran for more than 0\.01 s and was ended$"),
            transaction() as session,
        ):
            session.scalar(counting)
    with hurried.connect() as connection:
        assert connection.scalar(counting) == 300_000
    with pytest.raises(Unusable), hurried.read() as session:
        session.scalar(counting)
    hurried.close()


def test_foreign_keys_are_indexed() -> None:
    """Without an index a delete walks through the whole table, on PostgreSQL as on SQLite."""
    for table in Base.metadata.sorted_tables:
        leading = {next(iter(index.columns)).name for index in table.indexes}
        leading |= {
            next(iter(c.columns)).name
            for c in table.constraints
            if isinstance(c, sa.UniqueConstraint | sa.PrimaryKeyConstraint)
        }
        for key in table.foreign_keys:
            assert key.parent.name in leading or (table.name, key.parent.name) == ("invitations", "used_by")
