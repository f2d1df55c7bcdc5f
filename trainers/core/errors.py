"""Errors whose message alone is shown to the user."""

import difflib

try:
    from dassl.utils import UserError
except ImportError:  # an upstream dassl has no such class

    class UserError(Exception):  # type: ignore[no-redef]
        """An error of the user's input: the message says what was expected, what was found and what to type."""


class ClassesUnsupported(UserError):
    """A trained head cannot be applied to other class names; the message says why."""


def nearest(name: str, known) -> list[str]:
    """`known`, the ones spelt most like `name` first."""

    def distance(candidate):
        return -difflib.SequenceMatcher(None, str(name).lower(), str(candidate).lower()).ratio()

    return sorted(known, key=distance)
