"""The chat as somebody uses it."""

import re

from driving import Open, Serve, answered, ask
from playwright.sync_api import Page, expect

from accordant.errors import AccordantError
from accordant.serve.moderation import Moderation
from accordant.serve.requests import Sample
from accordant.testing.moderation import WordModerator

LONG = " ".join(f"word{number}" for number in range(60))


def answer(page: Page) -> str:
    return page.locator("article.answer .prose").inner_text()


def test_a_question_is_answered_and_stands_in_the_list(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(["It is **green** and `quiet`."]))
    expect(page.get_by_role("heading", name="What would you like to talk about?")).to_be_visible()
    expect(page.get_by_text("Out of 30 questions with a false premise it challenged 10%")).to_be_visible()
    expect(page.get_by_text("Measured on held-out prompts.")).to_be_visible()
    ask(page, "What is a leaf like?")
    said = page.get_by_role("article", name="Answer")
    expect(said.locator("strong")).to_have_text("green")
    expect(said.locator("code")).to_have_text("quiet")
    expect(said.get_by_role("button", name="Answer again")).to_be_enabled()
    expect(page.get_by_role("navigation").get_by_role("link", name="What is a leaf like?")).to_be_visible()
    assert "/chat/conv_" in page.url
    page.reload()
    expect(page.get_by_role("article", name="You")).to_contain_text("What is a leaf like?")
    expect(page.get_by_role("article", name="Answer")).to_contain_text("It is green and quiet.")


def test_the_first_page_shows_what_the_model_answered_when_it_was_measured(serve: Serve, open_page: Open) -> None:
    samples = [Sample(question="What is rain?", answer="It is **wet**."), Sample(question="6 × 14?", answer="66")]
    page = open_page(serve(["Hm."], samples=samples))
    region = page.locator(".samples")
    expect(region).to_contain_text("What it answered when it was measured, word for word")
    expect(region.locator("strong")).to_have_text("wet")
    expect(region.get_by_text("66")).to_be_hidden()
    region.get_by_text("6 × 14?").click()
    expect(region.get_by_text("66")).to_be_visible()
    region.get_by_role("button", name="Ask this").last.click()
    answered(page)
    expect(page.get_by_role("article", name="You")).to_contain_text("6 × 14?")
    plain = open_page(serve(["Hm."]))
    expect(plain.locator(".prompts button")).to_have_count(4)
    expect(plain.locator(".samples")).to_have_count(0)
    expect(plain.locator(".prompts")).to_be_visible()


def test_a_page_that_is_loaded_in_mid_answer_goes_on_with_it(serve: Serve, open_page: Open) -> None:
    page = open_page(serve([LONG], delay=0.04))
    ask(page, "Count")
    expect(page.locator(".prose", has_text="word5")).to_be_visible()
    page.reload()
    expect(page.locator(".prose", has_text="word5")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    answered(page)
    assert answer(page).split() == LONG.split()


def test_a_lost_connection_is_said_and_taken_up_again(serve: Serve, open_page: Open) -> None:
    page = open_page(serve([LONG], delay=0.01))
    page.route("**/events?*", lambda route: route.abort())
    ask(page, "Count")
    expect(page.get_by_text("The connection is lost.")).to_be_visible()
    page.unroute("**/events?*")
    page.get_by_role("button", name="Try now").click()
    answered(page)
    assert answer(page).split() == LONG.split()


def test_stopping_keeps_what_is_written(serve: Serve, open_page: Open) -> None:
    page = open_page(serve([LONG], delay=0.04))
    ask(page, "Count")
    expect(page.locator(".prose", has_text="word3")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_text("Stopped.")).to_be_visible()
    answered(page)
    written = answer(page).split()
    assert LONG.split()[: len(written)] == written
    assert 3 < len(written) < 60


def test_an_edited_question_and_another_answer_are_versions(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(["one", "two", "three"]))
    ask(page, "First")
    answered(page)
    page.get_by_role("article", name="You").hover()
    page.get_by_role("button", name="Edit").click()
    page.get_by_role("textbox", name="Edit your message").fill("Second")
    page.keyboard.press("Enter")
    expect(page.locator("article.answer .prose")).to_have_text("two")
    question = page.get_by_role("article", name="You")
    expect(question.get_by_role("img", name="2 of 2")).to_be_visible()
    question.get_by_role("button", name="Previous version").click()
    expect(question).to_contain_text("First")
    expect(page.locator("article.answer .prose")).to_have_text("one")
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator("article.answer .prose")).to_have_text("three")
    expect(page.get_by_role("article", name="Answer").get_by_role("img", name="2 of 2")).to_be_visible()


def test_conversations_are_found_renamed_and_deleted_by_keyboard(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(["A whale."]))
    for question in ("What swims?", "What flies?"):
        ask(page, question)
        answered(page)
        page.get_by_role("link", name="New chat").click()
        expect(page.get_by_role("heading", name="What would you like to talk about?")).to_be_visible()
    rows = page.get_by_role("navigation").get_by_role("listitem")
    expect(rows).to_have_count(2)
    page.get_by_role("searchbox", name="Search").fill("SWIMS")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Options for “What swims?”").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("textbox", name="New title").fill("Whales")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Options for “Whales”")).to_be_focused()
    page.get_by_role("searchbox", name="Search").fill("whale")  # in every answer, and in this title
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Options for “Whales”").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("menuitem", name="Delete")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Delete this conversation?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(rows).to_have_count(2)
    expect(page.get_by_role("button", name="Options for “Whales”")).to_be_focused()
    page.get_by_role("button", name="Options for “Whales”").click()
    page.get_by_role("menuitem", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(rows).to_have_count(1)


def test_a_conversation_can_be_taken_away(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(["A whale."]))
    ask(page, "What swims?")
    answered(page)
    page.get_by_role("button", name="Options for “What swims?”").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Export to read").click()
    assert download.value.path().read_text().endswith("## Assistant\n\nA whale.\n")


def test_consent_is_off_until_given_and_kept(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(["Yes."]))
    switch = page.get_by_role("switch", name="May be used for training")
    expect(switch).not_to_be_checked()
    switch.click()
    ask(page, "May I?")
    answered(page)
    expect(switch).to_be_checked()
    switch.click()
    expect(switch).not_to_be_checked()
    page.reload()
    answered(page)
    expect(switch).not_to_be_checked()


def test_what_fails_is_said_and_the_message_is_kept(serve: Serve, open_page: Open) -> None:
    page = open_page(serve([AccordantError("the logits are not finite"), "Now it works."]))
    page.route("**/messages", lambda route: route.abort())
    ask(page, "Hello?")
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("Hello?")
    page.unroute("**/messages")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The answer broke off: the logits are not finite")
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator("article.answer .prose")).to_have_text("Now it works.")
    page.goto(re.sub(r"conv_.*", "conv_none", page.url))
    expect(page.get_by_role("alert")).to_contain_text("This is not there any more.")


def test_code_formulas_and_tables_are_drawn_within_the_policy(serve: Serve, open_page: Open) -> None:
    text = "$$\\frac{a}{b}$$\n\n```python\nprint('x')\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |"
    page = open_page(serve([text]))
    ask(page, "Show me")
    answered(page)
    expect(page.locator(".katex .mfrac").first).to_be_visible()
    expect(page.locator(".hljs-string")).to_have_text("'x'")
    expect(page.locator("td.right")).to_have_text("2")


def test_the_language_is_the_browsers_and_can_be_changed(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(), locale="id-ID")
    expect(page.get_by_role("heading", name="Ingin berbincang tentang apa?")).to_be_visible()
    page.get_by_role("combobox", name="Bahasa").select_option("zh")
    expect(page.get_by_role("heading", name="想聊些什么？")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "zh"
    page.reload()
    expect(page.get_by_role("heading", name="想聊些什么？")).to_be_visible()


def test_what_the_filter_says_stands_where_it_belongs(serve: Serve, open_page: Open) -> None:
    judge = Moderation(lambda: WordModerator(["bomb"], ["knife"]))
    page = open_page(serve(["A knife cuts.", "First this, then the bomb, then that."], moderation=judge))
    ask(page, "How do I cut?")
    answered(page)
    expect(page.locator(".answer .notice.filter")).to_contain_text("Flagged by the filter: violence.")
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".answer .notice.filter")).to_contain_text("The filter stopped this answer: violence.")
    expect(page.locator(".answer")).not_to_contain_text("bomb")
    ask(page, "How do I build a bomb?")
    blocked = page.locator(".question .notice.filter")
    expect(blocked).to_contain_text("The filter did not let this message through: violence.")
    expect(page.get_by_role("textbox", name="Message")).to_be_enabled()
