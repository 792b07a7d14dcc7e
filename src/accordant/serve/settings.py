"""How the service behaves: one typed section."""

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from accordant.config import Count, Positive, Section, explain
from accordant.errors import AccordantError
from accordant.labelling.settings import LabellingSettings
from accordant.moderation.policy import Policy
from accordant.moderation.stream import Mode
from accordant.serve.limits import Limits


class ModerationSettings(Section):
    """What is done about harmful words."""

    mode: Mode | Literal["off"] = Field(
        "hold",
        description="hold: an answer is shown as far as it was judged; window: sooner, a block may come after some of "
        "its span; audit: nothing is withheld; off: nothing is judged.",
    )
    policy: Policy = Field(Policy(), description="From which probability on a category warns or blocks.")


class ServeSettings(Section):
    """`accordant serve --settings FILE` reads these from TOML."""

    answers_at_once: Count = Field(16, description="Answers in the making together; each needs room in the cache.")
    most_waiting: Count = Field(256, description="Requests that may wait; one more is refused with 429.")
    most_waiting_each: Count = Field(256, description="Requests of one person or key that may wait.")
    limits: Limits = Field(Limits(), description="Of each person, over all their keys; a key may have some of its own.")
    moderation: ModerationSettings = Field(ModerationSettings(), description="What is done about harmful words.")
    shutdown_seconds: Positive = Field(30.0, description="How long answers in the making may take to end on shutdown.")
    request_seconds: Positive = Field(30.0, description="How long a client may take to send a request.")
    write_seconds: Positive = Field(60.0, description="How long a client may leave a piece of an answer unread.")
    statement_seconds: Positive = Field(60.0, description="How long one statement of the database may run.")
    connections: Count = Field(1024, description="Open connections; one more is answered with 503.")
    labelling: LabellingSettings = Field(LabellingSettings(), description="What trainers are given to rank.")
    log_requests: bool = Field(False, description="One line of JSON on stderr for each request.")
    log_text: bool = Field(False, description="Write the answers into the log as well.")


def load_settings(path: Path) -> ServeSettings:
    """Read a TOML file.

    Raises:
        AccordantError: one line with file, field, value and what to do, for the first fault.
    """
    try:
        return ServeSettings.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError:
        raise AccordantError(f"settings {path} do not exist") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AccordantError(f"settings {path} are not valid TOML: {error}") from None
    except ValidationError as error:
        raise AccordantError(f"settings {path}: {explain(error)}") from None
