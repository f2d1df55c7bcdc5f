"""What the server of launcher.py imports before it forks runs: all that costs time in each of them.

None of it starts threads of OpenMP or touches a GPU, which no fork would survive.
"""

import signal
import warnings
from contextlib import suppress

# A signal that reaches all processes at once must not end the server before the runs have saved.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
    signal.signal(number, signal.SIG_IGN)

# What cannot be imported is left to the run, in whose log the reason belongs.
with warnings.catch_warnings(), suppress(Exception):
    warnings.simplefilter("ignore")
    import timm  # noqa: F401
    import torch._dynamo  # noqa: F401
    import torchvision  # noqa: F401

    import train

    train.with_defaults()  # registers the trainers
