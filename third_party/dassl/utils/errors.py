"""Errors whose message alone is meant for the user."""

from difflib import SequenceMatcher


class UserError(Exception):
    """Bad input: the message says what was expected, what was found and what to type. Shown without a traceback."""

    def __init__(self, message=""):
        printable = str(message).encode("utf-8", "backslashreplace").decode()
        super().__init__(_without_worker_traceback(printable, type(self)))

    def __str__(self):
        # Defined here because KeyError, a base of some subclasses, would print the message in quotes.
        return str(self.args[0])


class UnknownName(UserError, KeyError):
    """A name that no registry entry, option or config key has."""


class DuplicateName(UserError, KeyError):
    """A second object registered under a name that is taken."""


class MissingFile(UserError, FileNotFoundError):
    """A file that should be there and is not."""


class UnreadableImage(UserError, OSError):
    """An image file that does not decode."""


class DamagedCheckpoint(UserError):
    """A file that is not a checkpoint, or not a whole one."""


class NonFiniteLoss(UserError, FloatingPointError):
    """A loss that is infinite or not a number."""


def brief(error):
    """The message of another library's error, on one line; of a long one the start and the end."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:200]} ... {text[-80:]}"


def nearest(name, known):
    """The names of `known`, the most similar to `name` first."""
    return sorted(known, key=lambda other: -SequenceMatcher(None, str(name).lower(), other.lower()).ratio())


def _without_worker_traceback(message, cls):
    """A data-loader worker re-raises an error with its whole traceback as the message: keep the message proper."""
    marker = f"{cls.__module__}.{cls.__qualname__}: "
    if "Original Traceback" in message and marker in message:
        return message.rsplit(marker, 1)[1].strip()
    return message
