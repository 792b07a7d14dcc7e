"""The errors that reach a user, each one clear line."""


class AccordantError(Exception):
    """Something the user can mend: says where (file, row, field), what was found and what to do.

    Args:
        message: one line.
        code: names the fault where the page says it in the reader's language; it never changes.
    """

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class BadRow(AccordantError):
    """A data row that cannot be used.

    Args:
        path: the file as the user named it.
        line: 1-based line (or element) number in that file.
        reason: what is wrong and what was expected.
    """

    def __init__(self, path: object, line: int, reason: str) -> None:
        super().__init__(f"{path}, row {line}: {reason}")
        self.path, self.line, self.reason = path, line, reason


class BadReward(AccordantError):
    """A reward that cannot be learned from; raised before its step changes anything, so that the loop can save."""


class Stopped(AccordantError):
    """The user pressed Ctrl-C (or sent SIGTERM) and the work so far has been saved."""


class NotFinite(AccordantError):
    """A value that decides what comes next is infinite or not a number."""
