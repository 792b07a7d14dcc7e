"""Settings that are changed while the service runs: sections of typed fields, each stored as one JSON row."""

from typing import Literal, TypeVar

from pydantic import Field, ValidationError
from sqlalchemy.orm import Session

from accordant.config import Section, explain
from accordant.errors import AccordantError
from accordant.store.ids import now
from accordant.store.schema import Setting

S = TypeVar("S", bound=Section)


class AccountSettings(Section):
    """Who may have an account."""

    sign_up: Literal["invitation", "open"] = Field("invitation", description="Whether signing up needs an invitation.")


def load(session: Session, section: type[S]) -> S:
    """The stored section, or its defaults.

    Raises:
        AccordantError: when what is stored no longer fits its fields.
    """
    row = session.get(Setting, section.__name__)
    try:
        return section.model_validate(row.value if row else {})
    except ValidationError as error:
        raise AccordantError(f"stored settings, {section.__name__}: {explain(error)}") from None


def save(session: Session, value: Section) -> None:
    """Replace a section."""
    name = type(value).__name__
    session.merge(Setting(section=name, value=value.model_dump(mode="json"), changed_at=now()))
