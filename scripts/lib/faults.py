"""How scripts show errors: a sentence and an exit code, whatever their output is connected to."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from trainers.core.files import UserError


def say_errors(function: Callable[[], int | None]) -> NoReturn:
    """Exits with the function's code (None: 0). Of what the user can mend, the message alone is shown, exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a character that a terminal cannot show becomes \x...
    try:
        code = function() or 0
        sys.stdout.flush()
    except BrokenPipeError:  # as in `... | head -1`; what is left in the buffer has no place to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + 13
    except KeyboardInterrupt:
        code = 130
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    sys.exit(code)
