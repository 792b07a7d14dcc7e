"""Signing up, in and out, where there are accounts."""

import re

from driving import Open, Serve, answered, ask
from playwright.sync_api import Page, expect

from accordant.store import settings
from accordant.store.database import Database
from accordant.store.settings import AccountSettings


def enter(page: Page, name: str, password: str, button: str) -> None:
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name=button, exact=True).click()


def test_people_come_in_and_out_and_keep_what_is_theirs(serve: Serve, open_page: Open, database: Database) -> None:
    address = serve(["Hello."], accounts=True)
    with database.write() as session:
        settings.save(session, AccountSettings(sign_up="open"))
    page = open_page(address)
    enter(page, "ada", "not her password", "Sign in")
    expect(page.get_by_role("alert")).to_contain_text("Name or password is wrong.")
    page.get_by_role("button", name="I have no account").click()
    enter(page, "ada", "correct horse battery", "Create an account")
    ask(page, "Is it me?")
    answered(page)
    expect(page.get_by_title("Signed in as ada")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
    enter(page, "ada", "correct horse battery", "Sign in")
    page.get_by_role("link", name="Is it me?").click()
    answered(page)


def test_a_session_that_has_ended_leads_to_the_way_in(serve: Serve, open_page: Open, database: Database) -> None:
    address = serve(["Hello."], accounts=True)
    with database.write() as session:
        settings.save(session, AccountSettings(sign_up="open"))
    page = open_page(address)
    page.get_by_role("button", name="I have no account").click()
    enter(page, "ada", "correct horse battery", "Create an account")
    expect(page.get_by_role("textbox", name=re.compile("Message"))).to_be_visible()
    page.context.clear_cookies()
    ask(page, "Am I here?")
    expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
