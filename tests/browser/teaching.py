"""What trainers need before they can begin."""

from playwright.sync_api import Page
from tests.serve.live import until

from accordant.labelling.settings import LabellingSettings

ALTERNATIVES = ["It is wet.", "It is cold.", "It is grey.", "It is loud."]
ONLY_NEW = LabellingSettings(gold_share=0.0, repeat_share=0.0, overlap_share=0.0)


def conversation(page: Page, *questions: str) -> str:
    """A conversation that may be used for training, with an answer to each question: its id."""
    made = page.request.post("/api/conversations", data={"consent": True}).json()["id"]
    for question in questions:
        page.request.post(f"/api/conversations/{made}/messages", data={"content": question})
        until(lambda: not _running(page, made))
    return str(made)


def _running(page: Page, conversation: str) -> bool:
    messages = page.request.get(f"/api/conversations/{conversation}").json()["messages"]
    return any(one["generation"] and one["generation"]["status"] == "running" for one in messages)
