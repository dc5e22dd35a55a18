"""The errors that cross package borders. A package's own errors subclass these."""

from __future__ import annotations


class MetamonError(Exception):
    """Something the user can act on. The message names what was wrong and what would be right."""


class UnavailableError(MetamonError):
    """What the work needs is not there: a database, a server, room on a disk. It says nothing about what was asked."""


class TransientError(UnavailableError):
    """The world was not ready (a time-out, a refused connection): the same call may succeed later."""


class PermanentError(MetamonError):
    """Trying again cannot help: the job goes to the dead letters at once."""


class NotFoundError(MetamonError):
    """The thing that was named does not exist."""


class ForbiddenTransitionError(MetamonError):
    """A state change that the table of transitions does not allow."""

    def __init__(self, subject: str, current: str, target: str, allowed: frozenset[str]) -> None:
        self.subject = subject
        self.current = current
        self.target = target
        options = ", ".join(sorted(allowed)) or "nothing: it is a final state"
        super().__init__(f"{subject} is {current!r} and cannot become {target!r}; allowed from here: {options}")
