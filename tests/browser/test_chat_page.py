"""The chat as somebody uses it."""

from driving import Open, Serve, ask
from playwright.sync_api import expect


def test_a_question_is_answered_and_stands_in_the_list(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(["It is **green** and `quiet`."]))
    expect(page.get_by_role("heading", name="What would you like to talk about?")).to_be_visible()
    ask(page, "What is a leaf like?")
    answer = page.get_by_role("article", name="Answer")
    expect(answer.locator("strong")).to_have_text("green")
    expect(answer.locator("code")).to_have_text("quiet")
    expect(answer.get_by_role("button", name="Answer again")).to_be_enabled()
    expect(page.get_by_role("navigation").get_by_role("link", name="What is a leaf like?")).to_be_visible()
    assert "/chat/conv_" in page.url
    page.reload()
    expect(page.get_by_role("article", name="You")).to_contain_text("What is a leaf like?")
    expect(page.get_by_role("article", name="Answer")).to_contain_text("It is green and quiet.")
