"""How the service behaves: one typed section."""

import ipaddress
import os
import tomllib
from pathlib import Path

from pydantic import Field, ValidationError

from accordant.config import Count, Positive, Section, explain
from accordant.errors import AccordantError
from accordant.serve.limits import Limits

SECRET = "ACCORDANT_SECRET"
"""Environment variable with the key that opens a service which is reachable from elsewhere."""

SHORTEST_SECRET = 32


class ServeSettings(Section):
    """`accordant serve --settings FILE` reads these from TOML."""

    answers_at_once: Count = Field(16, description="Answers in the making together; each needs room in the cache.")
    most_waiting: Count = Field(256, description="Requests that may wait; one more is refused with 429.")
    most_waiting_each: Count = Field(256, description="Requests of one person or key that may wait.")
    limits: Limits = Field(Limits(), description="Of each person or key.")
    shutdown_seconds: Positive = Field(30.0, description="How long answers in the making may take to end on shutdown.")
    request_seconds: Positive = Field(30.0, description="How long a client may take to send a request.")
    write_seconds: Positive = Field(60.0, description="How long a client may leave a piece of an answer unread.")
    connections: Count = Field(1024, description="Open connections; one more is answered with 503.")
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


def secret_for(host: str) -> str | None:
    """The secret of the environment, if there is one.

    Raises:
        AccordantError: where others can reach the address and there is none, or it can be guessed.
    """
    secret = os.environ.get(SECRET) or None
    if secret is None and not is_loopback(host):
        raise AccordantError(
            f"{host} can be reached from elsewhere, and nobody would be asked for a key: set {SECRET} to a secret of "
            f"at least {SHORTEST_SECRET} characters, or listen on 127.0.0.1"
        )
    if secret is not None and (len(secret) < SHORTEST_SECRET or not secret.isascii()):
        raise AccordantError(f"{SECRET} must have at least {SHORTEST_SECRET} characters, all of them ASCII")
    return secret


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
