"""What the model or a user says does nothing but stand there."""

import json
from pathlib import Path

from driving import Open, Serve, answered, ask
from playwright.sync_api import expect
from teaching import ONLY_NEW, conversation

from accordant.serve.settings import ServeSettings

PAYLOADS = json.loads(Path(__file__).with_name("payloads.json").read_text())


def test_no_payload_does_anything(serve: Serve, open_page: Open) -> None:
    """As an answer, as a question, as a title; while it is written, and loaded again."""
    everything = "\n\n".join(PAYLOADS)
    page = open_page(serve([everything]))
    page.on("dialog", lambda dialog: dialog.dismiss())
    foreign: list[str] = []
    page.on("request", lambda request: foreign.append(request.url) if "127.0.0.1" not in request.url else None)
    ask(page, everything.replace("\x00", ""))
    answered(page)
    page.locator(".katex").first.wait_for()
    for link in page.locator(".prose a").all():
        assert (link.get_attribute("href") or "").startswith(("https://", "http://", "mailto:"))
    page.reload()
    answered(page)
    page.locator(".katex").first.wait_for()
    assert page.evaluate("window.hacked") is None
    assert foreign == []
    inside = page.locator(":is(.prose, .question) :is(script, img, iframe, style, link, form, object, embed, base)")
    assert inside.count() == 0
    assert "<script>window.hacked = 1</script>" in page.locator(".prose").inner_text()


def test_no_payload_does_anything_to_trainers(serve: Serve, open_page: Open) -> None:
    """As answers to rank, as suggestions, and in the review of both."""
    everything = "\n\n".join(PAYLOADS)
    replies = [f"{everything}\n\n{number}" for number in range(5)]
    page = open_page(serve(replies, settings=ServeSettings(labelling=ONLY_NEW)))
    page.on("dialog", lambda dialog: dialog.dismiss())
    foreign: list[str] = []
    page.on("request", lambda request: foreign.append(request.url) if "127.0.0.1" not in request.url else None)
    conversation(page, everything.replace("\x00", ""))
    page.goto("/label/compare")
    expect(page.locator(".card")).to_have_count(4)
    page.locator(".card .katex").first.wait_for()
    page.keyboard.press("x")
    with page.expect_response("**/submit"):
        page.keyboard.press("Control+Enter")
    page.goto("/label/review")
    expect(page.locator(".item")).to_have_count(1)
    page.goto("/label/write")
    page.get_by_role("button", name="Begin a dialogue").click()
    page.get_by_role("textbox", name="Person").fill(everything.replace("\x00", ""))
    page.keyboard.press("Control+Enter")
    expect(page.locator(".taking").first).to_be_visible()
    assert page.evaluate("window.hacked") is None
    assert foreign == []
    assert page.locator("main :is(script, img, iframe, style, link, form, object, embed, base)").count() == 0
