"""How scripts show errors: a sentence and an exit code, whatever their output is connected to."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from trainers.core.files import UserError

LONGEST = 5000  # characters of a message: what it quotes of a file may be the whole file
ROOM = "make room, then give the same command again: it goes on from here"
ELSEWHERE = "OUTPUT=DIR names another folder for the results"
HINTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), ROOM),
    **dict.fromkeys((errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG), ELSEWHERE),
}


def say_errors(function: Callable[..., int | None], *arguments) -> NoReturn:
    """Exits with the function's code (None: 0). Of what the user can mend, the message alone is shown, exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a character that a terminal cannot show becomes \x...
    try:
        try:
            code = function(*arguments) or 0
        except SystemExit as end:  # argparse's, after --help
            code = end.code
        sys.stdout.flush()
    except BrokenPipeError:  # as in `... --help | head -1`
        code = 128 + 13
    except KeyboardInterrupt:
        code = say("interrupted", 130)
    except (UserError, OSError) as error:
        code = say(f"error: {sentence(error)}", 2)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.exit(code)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer has no place to go
    sys.exit(code)


def say(text: str, code: int) -> int:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
    return code


def sentence(error: Exception) -> str:
    """What went wrong and, where that is known, what to do."""
    if isinstance(error, OSError) and error.strerror:
        hint = HINTS.get(error.errno or 0)
        return f"{error.filename or 'output'}: {error.strerror}" + (f"; {hint}" if hint else "")
    text = str(error)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
