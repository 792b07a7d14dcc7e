"""One's own account: keys, usage, password, data, and the end of it."""

import json
import urllib.error
import urllib.request
from datetime import timedelta
from typing import Any

import pytest
from driving import Open, Serve, answered, ask
from playwright.sync_api import Page, expect
from test_accounts_page import enter
from test_looks import LOOKS, PHONE, look

from accordant.serve.limits import Limits
from accordant.serve.settings import ServeSettings
from accordant.store import keys, settings, users
from accordant.store.database import Database
from accordant.store.ids import now
from accordant.store.schema import Usage
from accordant.store.settings import AccountSettings

PASSWORD = "correct horse battery"


def sign_up(serve: Serve, open_page: Open, database: Database, **options: Any) -> Page:
    """A service with accounts, and somebody on it who has just come."""
    address = serve(["Hello there, it is a fine day."], accounts=True)
    with database.write() as session:
        settings.save(session, AccountSettings(sign_up="open"))
    page = open_page(address, **options)
    page.locator("form .quiet").click()
    page.locator("[name=name]").fill("ada")
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("form .main").click()
    expect(page.locator(".composer textarea")).to_be_visible()
    return page


def status_of(page: Page, key: str) -> int:
    """What a program with this key is told."""
    request = urllib.request.Request(
        page.url.replace("/account", "/v1/chat/completions"),
        json.dumps({"model": "starter/ppo", "messages": [{"role": "user", "content": "Hello?"}]}).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_key_works_until_it_is_revoked(serve: Serve, open_page: Open, database: Database) -> None:
    page = sign_up(serve, open_page, database)
    page.get_by_title("Signed in as ada").click()
    expect(page.get_by_text("No keys yet.")).to_be_visible()
    expect(page.get_by_text("Nothing was used in this time.")).to_be_visible()
    page.get_by_role("button", name="Create a key").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Name", exact=True).fill("notebook")
    page.get_by_label("Tokens a day").fill("10000")
    page.keyboard.press("Enter")
    fresh = page.get_by_role("dialog", name="Your new key")
    key = fresh.get_by_label("Key").input_value()
    page.keyboard.press("Escape")
    expect(page.get_by_text(key)).to_have_count(0)
    expect(page.get_by_role("button", name="Create a key")).to_be_focused()
    row = page.locator(".keys li", has_text="notebook")
    expect(row).to_contain_text("Tokens a day: 10,000")
    assert status_of(page, key) == 200

    page.get_by_role("button", name="Options for “notebook”").click()
    page.get_by_role("menuitem", name="Name and limits").click()
    page.get_by_label("Tokens a day").fill("2")
    page.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("Tokens a day: 2")
    assert status_of(page, key) == 429

    page.get_by_role("button", name="Options for “notebook”").click()
    page.get_by_role("menuitem", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("Revoked keys: 1")).to_be_visible()
    assert status_of(page, key) == 401
    page.reload()
    with database.read() as session:
        (counted,) = session.query(Usage).all()
    cells = page.locator("tbody tr").first.locator("td")
    expect(cells.nth(1)).to_contain_text("notebook")
    expect(cells.nth(2)).to_have_text("1")
    expect(cells.nth(3)).to_have_text(str(counted.prompt_tokens))
    expect(cells.nth(4)).to_have_text(str(counted.answer_tokens))


def test_people_change_their_password_take_their_data_and_leave(
    serve: Serve, open_page: Open, database: Database
) -> None:
    page = sign_up(serve, open_page, database)
    ask(page, "Is it me?")
    answered(page)
    page.get_by_title("Signed in as ada").click()
    page.get_by_role("button", name="Change password").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Old password").fill("not her password")
    dialog.get_by_label("New password").fill("another horse battery")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("The password is wrong.")
    dialog.get_by_label("Old password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_text("The password is changed.")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download your data").click()
    assert "Is it me?" in download.value.path().read_text()

    page.get_by_role("button", name="Delete account").click()
    dialog.get_by_label("Your password").fill("another horse battery")
    dialog.get_by_role("button", name="Delete forever").click()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    enter(page, "ada", "another horse battery", "Sign in")
    expect(page.get_by_role("alert")).to_contain_text("Name or password is wrong.")


def test_without_accounts_it_says_where_programs_go(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(["Hello."]))
    ask(page, "Hello?")
    answered(page)
    page.get_by_role("link", name="Programs and usage").click()
    expect(page.get_by_text("no key is needed")).to_be_visible()
    expect(page.locator("code")).to_have_text(page.url.replace("/account", "/v1"))
    expect(page.locator("tbody tr")).to_contain_text("Without a key")
    expect(page.get_by_role("button", name="Delete account")).to_have_count(0)


@pytest.mark.parametrize(("name", "options"), LOOKS, ids=[name for name, _ in LOOKS])
def test_everybody_can_look_after_their_account(
    name: str, options: dict[str, Any], serve: Serve, open_page: Open, database: Database
) -> None:
    page = sign_up(serve, open_page, database, **options)
    page.goto("/account")
    expect(page.locator(".empty").first).to_be_visible()
    look(page, f"{name}-account-empty")
    page.locator(".heading .plain").first.click()
    page.locator("dialog input").first.fill("notebook")
    page.locator("dialog input[type=number]").nth(2).fill("100000")
    look(page, f"{name}-account-new-key")
    page.keyboard.press("Enter")
    expect(page.locator(".key-text")).to_be_visible()
    look(page, f"{name}-account-fresh-key")
    page.keyboard.press("Escape")
    used_for_weeks(database)
    page.reload()
    expect(page.locator(".chart")).to_be_visible()
    look(page, f"{name}-account")
    page.locator(".totals").scroll_into_view_if_needed()
    page.locator(".scroller").evaluate("all => all.scrollTo(0, all.scrollHeight)")
    look(page, f"{name}-account-end")
    page.locator(".doings .danger").click()
    look(page, f"{name}-account-delete")


def used_for_weeks(database: Database) -> None:
    """Make ada an admin who asked something on most days, on the page and by key."""
    with database.write() as session:
        user = users.find(session, "ada")
        assert user is not None
        users.set_roles(session, user, ["admin"])
        ((key, _),) = keys.of_user(session, user.id)
        for days in range(31):
            day = now().date() - timedelta(days=days)
            for place, key_id in enumerate(("", key.id)):
                if amount := (days * 7 + place * 11) % 13:
                    counters = {"requests": amount, "prompt_tokens": 120 * amount, "answer_tokens": 310 * amount}
                    session.add(Usage(user_id=user.id, key_id=key_id, day=day, model="starter/ppo", **counters))


def test_what_is_left_of_the_limits_is_shown(serve: Serve, open_page: Open) -> None:
    limits = Limits(requests_per_minute=1000, tokens_per_day=5)
    address = serve(["one two three"], settings=ServeSettings(limits=limits))
    page = open_page(address, **PHONE, color_scheme="dark")
    ask(page, "Count")
    answered(page)
    page.goto("/account")
    shown = page.get_by_role("region", name="Limits of your account")
    expect(shown.get_by_role("listitem").first).to_contain_text("of 1,000 left")
    expect(shown.get_by_role("meter", name="Tokens a day")).to_have_attribute("value", "0")
    expect(shown).to_contain_text("0 of 5 left")
    look(page, "phone-dark-en-limits")
    page.goto("/chat")
    ask(page, "And on?")
    expect(page.get_by_role("alert")).to_contain_text("You have used your tokens of today.")
    without = open_page(serve())
    without.goto("/account")
    expect(without.get_by_text("Your account has no limits.")).to_be_visible()
