"""The pages for trainers and reviewers, as they use them."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from driving import CHROMIUM, Open, Serve, answered, ask
from playwright.sync_api import Browser, Locator, Page, expect
from teaching import ALTERNATIVES, ONLY_NEW, conversation
from test_looks import DESK, PHONE

from accordant.serve.settings import ServeSettings
from accordant.store import passwords, users
from accordant.store.database import Database
from accordant.store.ids import now
from accordant.store.schema import Annotation


def works(page: Page, **query: str) -> list[dict[str, Any]]:
    """What reviewers see."""
    found: list[dict[str, Any]] = page.request.get("/api/labelling/annotations", params=query).json()["works"]
    return found


def places(page: Page) -> dict[str, list[str]]:
    """Which answers stand in each box of the board."""
    boxes = page.locator(".board .box").all()
    return {box.get_attribute("aria-label") or "": box.locator(".chip").all_inner_texts() for box in boxes}


def saved(page: Page) -> Locator:
    return page.locator(".saved", has_text=re.compile("^Saved$"))


def back_to(page: Page, goal: Locator) -> None:
    """Shift and Tab until the focus is there."""
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        if goal.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"{goal} cannot be reached by Tab")


def ranking(serve: Serve, open_page: Open, **options: Any) -> Page:
    """A page with answers to rank."""
    page = open_page(serve(["It rains.", *ALTERNATIVES], settings=ServeSettings(labelling=ONLY_NEW)), **options)
    conversation(page, "How is the weather?")
    page.goto("/label/compare")
    expect(page.locator(".card")).to_have_count(4)
    return page


def test_answers_are_ranked_by_keyboard_alone(serve: Serve, open_page: Open) -> None:
    page = ranking(serve, open_page)
    expect(page.get_by_role("region", name="Conversation")).to_contain_text("How is the weather?")
    shown = [card.locator(".text").inner_text() for card in page.locator(".card").all()]
    assert sorted(shown) == sorted(ALTERNATIVES)
    assert "starter/ppo" not in page.locator("main").inner_text(), "the model is hidden"
    press = page.keyboard.press
    for key in ("c", "1", "a", "2", "b", "2", "d", "ArrowUp", "ArrowUp"):
        press(key)
    expect(saved(page)).to_be_visible()
    assert places(page) == {
        "Place 1 of 4": ["C"],
        "Place 2 of 4": ["A", "B"],
        "Place 3 of 4": ["D"],
        "Place 4 of 4": [],
        "Not ranked yet": [],
    }
    press("u")
    expect(page.get_by_role("group", name="Not ranked yet").locator(".chip")).to_have_count(0)
    press("d")
    press("Backspace")
    expect(page.get_by_role("group", name="Not ranked yet").locator(".chip")).to_have_text(["D"])
    expect(page.get_by_role("button", name="Hand in")).to_be_disabled()
    press("3")
    no = (
        page.get_by_role("article", name="Answer D")
        .get_by_role("group", name="Harmless")
        .get_by_role("button", name="No")
    )
    back_to(page, no)
    press("Enter")
    expect(no).to_have_attribute("aria-pressed", "true")
    expect(saved(page)).to_be_visible()
    press("Control+Enter")
    expect(page.get_by_role("heading", name="There is nothing to rank just now.")).to_be_visible()
    expect(page.get_by_text("You have handed in 1 ranking.")).to_be_visible()
    [work] = works(page)
    assert work["state"] == "submitted"
    order = [[work["candidates"][one]["content"] for one in tier] for tier in work["ranking"]]
    assert [sorted(tier) for tier in order] == [[shown[2]], sorted(shown[:2]), [shown[3]]]
    assert [marks["harmless"] for marks in work["comparison"]["marks"]] == [None, None, None, False]


def test_answers_are_ranked_by_pulling(serve: Serve, open_page: Open) -> None:
    page = ranking(serve, open_page)
    for chip, place in (("A", "Place 2 of 4"), ("B", "Place 2 of 4"), ("C", "Place 1 of 4"), ("D", "Place 4 of 4")):
        page.get_by_role("button", name=f"Answer {chip}", exact=True).last.drag_to(
            page.get_by_role("group", name=place), target_position={"x": 40, "y": 50}
        )
    assert places(page)["Place 2 of 4"] == ["A", "B"]
    page.get_by_role("button", name="All bad").click()
    expect(saved(page)).to_be_visible()
    page.get_by_role("button", name="Hand in").click()
    expect(page.get_by_role("heading", name="There is nothing to rank just now.")).to_be_visible()
    [work] = works(page)
    assert [len(tier) for tier in work["ranking"]] == [1, 2, 1]
    assert work["comparison"]["all_bad"]


def by_keys(page: Page, answer: str, place: int) -> None:
    page.keyboard.press(answer.lower())
    page.keyboard.press(str(place))


def by_clicks(page: Page, answer: str, place: int) -> None:
    chip(page, answer).click()
    box(page, place).click(position={"x": 4, "y": 4})


def by_mouse(page: Page, answer: str, place: int) -> None:
    chip(page, answer).drag_to(box(page, place), target_position={"x": 40, "y": 20})


def by_finger(page: Page, answer: str, place: int) -> None:
    page.locator(".board").scroll_into_view_if_needed()
    (x, y), (to_x, to_y) = (middle(one) for one in (chip(page, answer), box(page, place)))
    touch = page.context.new_cdp_session(page)
    points = [[{"x": x + (to_x - x) * step / 8, "y": y + (to_y - y) * step / 8}] for step in range(9)]
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[0]})
    for point in points[1:]:
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": point})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def chip(page: Page, answer: str) -> Locator:
    return page.locator(".board").get_by_role("button", name=f"Answer {answer}")


def box(page: Page, place: int) -> Locator:
    return page.get_by_role("group", name=f"Place {place} of 4")


def middle(one: Locator) -> tuple[float, float]:
    found = one.bounding_box()
    assert found is not None
    return found["x"] + found["width"] / 2, found["y"] + found["height"] / 2


@pytest.mark.parametrize(
    ("way", "options"),
    [(by_keys, DESK), (by_clicks, DESK), (by_mouse, DESK), (by_finger, PHONE), (by_clicks, PHONE)],
    ids=["keys", "clicks", "mouse", "finger", "taps"],
)
def test_every_way_of_ranking_stores_the_same(
    way: Callable[[Page, str, int], None], options: dict[str, Any], serve: Serve, open_page: Open
) -> None:
    page = ranking(serve, open_page, **options)
    for answer, place in zip("ABCD", (2, 1, 4, 4), strict=True):
        way(page, answer, place)
        expect(box(page, place).get_by_role("button", name=f"Answer {answer}")).to_be_visible()
    expect(saved(page)).to_be_visible()
    page.get_by_role("button", name="Hand in").click()
    expect(page.get_by_role("heading", name="There is nothing to rank just now.")).to_be_visible()
    assert [work["comparison"]["tiers"] for work in works(page)] == [[[1], [0], [2, 3]]]


def test_work_is_left_to_others_with_a_reason(serve: Serve, open_page: Open) -> None:
    page = ranking(serve, open_page)
    page.get_by_role("button", name="Skip").click()
    dialog = page.get_by_role("dialog", name="Leave this to somebody else?")
    dialog.get_by_role("radio", name="I do not know the field").check()
    dialog.get_by_role("textbox", name="Anything else").fill("meteorology")
    dialog.get_by_role("button", name="Skip").click()
    expect(page.get_by_role("heading", name="There is nothing to rank just now.")).to_be_visible()
    assert [(work["state"], work["skip_reason"]) for work in works(page)] == [
        ("skipped", "I do not know the field: meteorology")
    ]


def test_steps_wait_for_a_lost_server_and_come_through_in_order(serve: Serve, open_page: Open) -> None:
    page = ranking(serve, open_page)
    page.context.set_offline(True)
    page.keyboard.press("a")
    page.keyboard.press("1")
    expect(page.get_by_role("alert")).to_contain_text("Your work is still here")
    page.keyboard.press("b")
    page.keyboard.press("2")
    page.context.set_offline(False)  # which the page is told of: it does not wait any longer
    expect(saved(page)).to_be_visible()
    assert [work["comparison"]["tiers"] for work in works(page)] == [[[0], [1]]]


def test_work_that_was_left_alone_and_given_away_is_said_so(serve: Serve, open_page: Open, database: Database) -> None:
    page = ranking(serve, open_page)
    with database.write() as session:
        session.execute(sa.update(Annotation).values(leased_until=now() - timedelta(hours=1), state="expired"))
    page.keyboard.press("a")
    page.keyboard.press("1")
    expect(page.get_by_role("alert")).to_contain_text("somebody else has this work now")
    expect(page.get_by_role("button", name="Skip")).to_be_disabled()
    page.get_by_role("button", name="Go on with another one").click()
    expect(page.get_by_role("heading", name="There is nothing to rank just now.")).to_be_visible()


def test_who_comes_back_late_is_told_and_goes_on(serve: Serve, open_page: Open) -> None:
    short = ServeSettings(labelling=ONLY_NEW.model_copy(update={"lease_minutes": 0.05}))
    page = open_page(serve(["It rains.", *ALTERNATIVES], settings=short))
    conversation(page, "How is the weather?")
    page.goto("/label/compare")
    late = page.get_by_role("alert").filter(has_text="You have been away for a while")
    expect(late).to_be_visible()
    late.get_by_role("button", name="Go on with it").click()
    expect(late).to_have_count(0)
    expect(saved(page)).to_be_visible()


@pytest.fixture
def doomed(browser: Browser, tmp_path: Path) -> Iterator[tuple[Browser, "subprocess.Popen[bytes]"]]:
    """A browser that can be killed."""
    assert CHROMIUM is not None
    place = tmp_path / "profile"
    options = ["--headless=new", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={place}"]
    process = subprocess.Popen([CHROMIUM, *options], start_new_session=True, stderr=subprocess.DEVNULL)
    port = place / "DevToolsActivePort"
    until = time.monotonic() + 20
    while not (port.exists() and port.read_text().strip()) and time.monotonic() < until:
        time.sleep(0.05)
    try:
        yield browser.browser_type.connect_over_cdp(f"http://127.0.0.1:{port.read_text().split()[0]}"), process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_browser_that_is_killed_in_mid_ranking_loses_nothing(
    serve: Serve, open_page: Open, doomed: tuple[Browser, "subprocess.Popen[bytes]"]
) -> None:
    address = serve(["It rains.", *ALTERNATIVES], settings=ServeSettings(labelling=ONLY_NEW))
    conversation(open_page(address), "How is the weather?")
    browser, process = doomed
    page = browser.new_context(locale="en-GB").new_page()
    page.goto(f"{address}/label/compare")
    page.locator(".board .chip").first.click()
    for key in ("2", "d", "1"):
        page.keyboard.press(key)
    page.get_by_role("textbox", name="A remark for the reviewers").fill("half done")
    page.wait_for_timeout(800)  # what is typed is saved after a pause
    expect(saved(page)).to_be_visible()
    before = places(page)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    again = open_page(f"{address}/label/compare")
    expect(again.get_by_role("textbox", name="A remark for the reviewers")).to_have_value("half done")
    assert {box: chips for box, chips in places(again).items() if chips} == {
        box: chips for box, chips in before.items() if chips
    }
    expect(again.get_by_role("button", name="Undo")).to_be_enabled()


def test_a_dialogue_is_written_with_a_suggestion(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(["falls from clouds. It is wet.", "is water.", "comes down."]))
    page.goto("/label/write")
    page.get_by_role("button", name="Begin a dialogue").click()
    person = page.get_by_role("textbox", name="Person")
    expect(person).to_be_focused()
    person.fill("what is rain")
    page.keyboard.press("Control+Enter")
    assistant = page.get_by_role("textbox", name="Assistant")
    expect(assistant).to_be_focused()
    assistant.fill("Rain ")
    suggestions = page.get_by_role("region", name="Suggestions").get_by_role("listitem")
    expect(page.get_by_role("button", name="Insert Alt+3")).to_be_visible()
    expect(suggestions.first).to_contain_text("Rain")
    suggestions.first.get_by_role("button", name="Only the first sentence").click()
    expect(assistant).to_be_focused()
    inserted = assistant.input_value()
    assert inserted.startswith("Rain")
    page.keyboard.type(" That is all.")
    expect(saved(page)).to_be_visible()
    page.reload()
    expect(assistant).to_have_value(f"{inserted} That is all.")
    page.get_by_role("button", name="The person asks on").click()
    expect(page.get_by_role("button", name="Hand in")).to_be_disabled()
    page.get_by_role("button", name="Remove the last turn").click()
    page.get_by_role("button", name="Hand in").click()
    expect(page.get_by_role("link", name="what is rain")).to_be_visible()
    [work] = works(page, kind="demonstration")
    said = [(one["role"], one["content"]) for one in work["demonstration"]["messages"]]
    assert said == [("user", "what is rain"), ("assistant", f"{inserted} That is all.")]
    assert [one["message"] for one in work["demonstration"]["taken"]] == [1]


def test_a_suggestion_is_taken_by_keys_and_a_dialogue_thrown_away(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(["a b c", "d e f", "g h i"]))
    page.goto("/label/write")
    page.get_by_role("button", name="Begin a dialogue").click()
    page.get_by_role("textbox", name="Person").fill("letters?")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("button", name="Insert Alt+2")).to_be_visible()
    second = page.locator(".suggestions li p").nth(1).inner_text()
    page.keyboard.press("Alt+2")
    expect(page.get_by_role("textbox", name="Assistant")).to_have_value(second)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("textbox", name="Assistant")).to_have_value("")
    page.get_by_role("button", name="Throw away").click()
    page.get_by_role("dialog").get_by_role("button", name="Throw away").click()
    expect(page.get_by_role("button", name="Begin a dialogue")).to_be_visible()
    expect(page.get_by_role("link", name="letters?")).to_have_count(0)


def test_work_is_reviewed(serve: Serve, open_page: Open) -> None:
    page = ranking(serve, open_page)
    for key in ("a", "1", "b", "2", "c", "3", "d", "4"):
        page.keyboard.press(key)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="There is nothing to rank just now.")).to_be_visible()
    page.get_by_role("link", name="Review").click()
    item = page.get_by_role("article")
    expect(item).to_contain_text("starter/ppo")
    expect(page.get_by_role("region", name="People")).to_contain_text("local")
    item.get_by_role("button", name="Reject").click()
    dialog = page.get_by_role("dialog", name="Reject this?")
    dialog.get_by_role("textbox").fill("in a hurry")
    dialog.get_by_role("button", name="Reject").click()
    expect(page.get_by_text("Nothing here.")).to_be_visible()
    page.get_by_role("button", name="Rejected").click()
    expect(item).to_contain_text("Rejected by local. in a hurry")
    item.get_by_role("button", name="Take back").click()
    page.get_by_role("button", name="To be looked at").click()
    item.get_by_role("button", name="Accept").click()
    page.get_by_role("button", name="Accepted").click()
    expect(item).to_contain_text("Accepted by local.")
    assert [work["review"]["review"] for work in works(page)] == ["accepted"]
    page.get_by_role("button", name="Feedback").click()
    expect(page.get_by_text("Nothing here.")).to_be_visible()


def test_a_reviewer_who_is_no_admin_sees_names_and_how_far_people_are_to_be_trusted(
    serve: Serve, open_page: Open, database: Database
) -> None:
    digest = passwords.hash_password("correct horse")
    with database.write() as session:
        for name, role in (("kim@one.example", "trainer"), ("rex", "reviewer")):
            users.add(session, name, digest, [role])
    one = ServeSettings(labelling=ONLY_NEW.model_copy(update={"gold_share": 1.0}))
    address = serve(["It rains.", *ALTERNATIVES], settings=one, accounts=True)

    def come(name: str, place: str) -> Page:
        page = open_page(f"{address}{place}")
        page.get_by_role("textbox", name="Name").fill(name)
        page.get_by_label("Password").fill("correct horse")
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("button", name="Sign in", exact=True)).to_have_count(0)
        return page

    kim = come("kim@one.example", "/chat")
    kim.get_by_role("switch", name="May be used for training").click()
    ask(kim, "How is the weather?")
    answered(kim)
    kim.goto(f"{address}/label/compare")
    expect(kim.locator(".card")).to_have_count(4)
    for key in ("a", "1", "b", "2", "c", "3", "d", "4"):
        kim.keyboard.press(key)
    kim.keyboard.press("Control+Enter")
    expect(kim.get_by_text("Handed in. Thank you.")).to_be_attached()
    rex = come("rex", "/label/review")
    expect(rex.get_by_role("article", name="By kim")).to_be_visible()
    row = rex.get_by_role("region", name="People").get_by_role("row", name="kim")
    expect(row).to_be_visible()
    rex.get_by_role("button", name="Use as the known ranking").click()
    expect(row).to_contain_text("100%61% – 100%, 6 pairs61%")  # Wilson: 6 / (6 + 1.96²) = 0.61
    expect(rex.locator("main")).not_to_contain_text("example")


def test_the_way_to_these_pages_is_shown_to_those_who_may_use_them(
    serve: Serve, open_page: Open, database: Database
) -> None:
    digest = passwords.hash_password("correct horse")
    with database.write() as session:
        for name, roles in (("ada", []), ("ben", ["trainer"]), ("rex", ["reviewer"])):
            users.add(session, name, digest, roles)
    address = serve(accounts=True)
    seen = {}
    for name in ("ada", "ben", "rex"):
        page = open_page(f"{address}/label/compare")
        page.get_by_role("textbox", name="Name").fill(name)
        page.get_by_label("Password").fill("correct horse")
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("button", name="Sign in", exact=True)).to_have_count(0)
        page.goto(f"{address}/chat")
        expect(page.get_by_title(f"Signed in as {name}")).to_be_visible()
        if page.get_by_role("link", name="Teach the model").count():
            page.get_by_role("link", name="Teach the model").click()
            expect(page.get_by_role("navigation", name="Teach the model")).to_be_visible()
            seen[name] = page.get_by_role("navigation").get_by_role("link").all_inner_texts()
    assert seen == {"ben": ["Rank", "Write"], "rex": ["Review"]}
