"""How scripts show errors: a sentence and an exit code, whatever their output is connected to."""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

LONGEST = 5000  # characters of a message: what it quotes of a file may be the whole file
ELSEWHERE = "OUTPUT=DIR names another folder for the results"
HINTS = {
    errno.ENOSPC: "make room, then give the same command again: it goes on from here",
    errno.EDQUOT: "make room, then give the same command again: it goes on from here",
    errno.EFBIG: "the limit on the size of files is too low: ulimit -f unlimited",
    **dict.fromkeys(
        (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG), ELSEWHERE
    ),
}


def say_errors(function: Callable[..., int | None], *arguments) -> NoReturn:
    """Exits with the function's code (None: 0). Of what the user can mend, the message alone is shown, exit code 2."""
    open_outputs()
    try:
        try:
            code = function(*arguments) or 0
        except SystemExit as end:  # argparse's, after --help
            code = end.code
        sys.stdout.flush()
    except BrokenPipeError:  # as in `... --help | head -1`
        code = 128 + 13
    except KeyboardInterrupt:
        code = tell("interrupted", 130)
    except Exception as error:
        # dassl's UserError is a class of its own, and to import it would load PyTorch.
        known = any(kind.__name__ == "UserError" for kind in type(error).__mro__)
        if not isinstance(error, OSError) and not known:
            raise
        code = tell(f"error: {sentence(error)}", 2)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.exit(code)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer has no place to go
    sys.exit(code)


def tell(text: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
    return code


def sentence(error: Exception) -> str:
    """What went wrong and, where that is known, what to do."""
    if isinstance(error, OSError) and error.strerror:
        hint = HINTS.get(error.errno or 0)
        return f"{error.filename or 'output'}: {error.strerror}" + (f"; {hint}" if hint else "")
    said = str(error)
    return said if len(said) <= LONGEST else f"{said[: LONGEST // 2]} ... {said[-LONGEST // 2 :]}"


def open_outputs():
    """A closed output becomes one that nobody reads; a character that a terminal cannot show is written as \\x..."""
    for name in ("stdin", "stdout", "stderr"):  # in this order each closed one gets its own number back
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))
        elif isinstance(stream, io.TextIOWrapper) and name != "stdin":
            stream.reconfigure(errors="backslashreplace")
