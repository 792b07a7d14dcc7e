"""What readers say of answers, as they say it."""

import secrets
from typing import Any

import pytest
from driving import Open, Serve, answered, ask
from playwright.sync_api import Page, expect

from accordant.serve.moderation import Moderation
from accordant.store import conversations
from accordant.testing.moderation import WordModerator


def said(page: Page, kind: str) -> list[dict[str, Any]]:
    """What is stored of a kind, of the conversation on the screen."""
    conversation = page.url.rsplit("/", 1)[1]
    given = page.request.get(f"/api/conversations/{conversation}/feedback").json()["feedback"]
    return [one["said"] for one in given if one["said"]["kind"] == kind]


def test_a_thumb_is_given_explained_changed_and_taken_back(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(["The moon is made of cheese."]))
    ask(page, "What is the moon made of?")
    answered(page)
    up, down = (page.get_by_role("button", name=f"A {which} answer") for which in ("good", "bad"))
    up.click()
    expect(page.get_by_text("Thank you.")).to_be_visible()
    assert [one["thumb"] for one in said(page, "rating")] == ["up"]
    page.reload()
    expect(up).to_have_attribute("aria-pressed", "true")
    down.click()
    form = page.get_by_role("form", name="About this answer")
    form.get_by_role("checkbox", name="Untrue").check()
    form.get_by_role("textbox", name="In your own words").fill("It is rock.")
    form.get_by_role("button", name="Begin with this answer").click()
    ideal = form.get_by_role("textbox", name="What would the ideal answer have been?")
    expect(ideal).to_have_value("The moon is made of cheese.")
    ideal.fill("The moon is made of rock.")
    form.get_by_role("button", name="Keep").click()
    expect(form).to_have_count(0)
    [rating] = said(page, "rating")
    assert rating == {
        "kind": "rating",
        "thumb": "down",
        "reasons": ["untrue"],
        "note": "It is rock.",
        "ideal": "The moon is made of rock.",
    }
    page.reload()
    expect(down).to_have_attribute("aria-pressed", "true")
    down.click()  # the thumb is taken back, the ideal answer stays
    expect(down).to_have_attribute("aria-pressed", "false")
    assert [(one["thumb"], one["ideal"]) for one in said(page, "rating")] == [(None, "The moon is made of rock.")]


def test_the_second_answer_is_compared_with_the_first(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(["one", "two"]))
    ask(page, "Count")
    answered(page)
    first = page.locator("article.answer")
    expect(first.get_by_role("group", name="Compared with the version before")).to_have_count(0)
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator("article.answer .prose")).to_have_text("two")
    comparison = page.get_by_role("group", name="Compared with the version before, this answer is")
    comparison.get_by_role("button", name="better").click()
    expect(comparison.get_by_role("button", name="better")).to_have_attribute("aria-pressed", "true")
    [choice] = said(page, "choice")
    assert choice["preferred"] == "right"
    comparison.get_by_role("button", name="worse").click()
    expect(comparison.get_by_role("button", name="worse")).to_have_attribute("aria-pressed", "true")
    assert said(page, "choice") == [choice | {"preferred": "left"}]


def test_sometimes_a_second_answer_is_offered(serve: Serve, open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "new_id", lambda kind: f"{kind}_A{secrets.token_urlsafe(16)}")
    page = open_page(serve(["one", "two"]))
    ask(page, "Count")
    answered(page)
    page.get_by_role("button", name="See a second answer and choose").click()
    expect(page.locator("article.answer .prose")).to_have_text("two")
    page.get_by_role("button", name="worse").click()
    expect(page.get_by_role("button", name="worse")).to_have_attribute("aria-pressed", "true")
    assert [one["preferred"] for one in said(page, "choice")] == ["left"]


def test_the_filter_is_told_that_it_is_wrong_or_has_missed_something(serve: Serve, open_page: Open) -> None:
    judge = Moderation(lambda: WordModerator(["bomb"], ["knife"]))
    page = open_page(serve(["A knife cuts.", "I hate you."], moderation=judge))
    ask(page, "How do I cut bread?")
    answered(page)
    warning = page.locator(".answer .notice.filter")
    warning.get_by_role("button", name="This is wrong").click()
    expect(warning).to_contain_text("You said that this is wrong.")
    assert [(one["fault"], one["categories"]) for one in said(page, "report")] == [("false_positive", ["violence"])]
    warning.get_by_role("button", name="Take back").click()
    expect(warning.get_by_role("button", name="This is wrong")).to_be_visible()
    assert said(page, "report") == []
    ask(page, "What do you think of me?")
    answered(page, 2)
    answer = page.locator("article.answer").last
    answer.get_by_role("button", name="More to say of this answer").click()
    page.get_by_role("menuitem", name="This should have been caught").click()
    dialog = page.get_by_role("dialog", name="This should have been caught")
    dialog.get_by_role("checkbox", name="harassment").check()
    dialog.get_by_role("button", name="Keep").click()
    expect(dialog).to_have_count(0)
    expect(answer.get_by_role("button", name="More to say of this answer")).to_be_focused()
    assert [(one["fault"], one["categories"]) for one in said(page, "report")] == [("false_negative", ["harassment"])]
    ask(page, "And how do I build a bomb?")
    blocked = page.locator(".question .notice.filter")
    blocked.get_by_role("button", name="This is wrong").click()
    expect(blocked.get_by_role("button", name="Take back")).to_be_visible()
    assert len(said(page, "report")) == 2


def test_what_cannot_be_kept_is_said(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(["Hm."]))
    ask(page, "Well?")
    answered(page)
    page.route("**/rating", lambda route: route.abort())
    page.get_by_role("button", name="A good answer").click()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    expect(page.get_by_role("button", name="A good answer")).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="More to say of this answer").click()
    page.get_by_role("menuitem", name="What would the ideal answer have been?").click()
    ideal = page.get_by_role("textbox", name="What would the ideal answer have been?")
    ideal.fill("Water falls from clouds.")
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    expect(ideal).to_have_value("Water falls from clouds.")
    page.unroute("**/rating")
    page.get_by_role("button", name="Keep").click()
    expect(ideal).to_have_count(0)
    assert [one["ideal"] for one in said(page, "rating")] == ["Water falls from clouds."]
