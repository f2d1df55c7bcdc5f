"""Fault injection, outside of the default test command: runs are killed, files damaged, processes raced.

`python -m pytest -m chaos tests/chaos` tries one case of each kind, in minutes. The variable CHAOS_CASES is the number
of cases of each kind, and CHAOS_SEED chooses other ones:

CHAOS_CASES=100 CHAOS_SEED=3 python -m pytest -m chaos tests/chaos -n 2
"""

import os
import random
import sys

import pytest

CASES = int(os.environ.get("CHAOS_CASES", "1"))


def pytest_collection_modifyitems(items):
    """Everything here has the marker `chaos`."""
    for item in items:
        if item.path.parent.name == "chaos":
            item.add_marker(pytest.mark.chaos)


def pytest_generate_tests(metafunc):
    """A test that takes `rng` is run CASES times, each time with a generator of its own."""
    if "rng" in metafunc.fixturenames:
        metafunc.parametrize("rng", range(CASES), indirect=True)


@pytest.fixture
def rng(request):
    return random.Random(f"{os.environ.get('CHAOS_SEED', '0')} {request.node.name}")


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    if not sys.platform.startswith("linux"):
        pytest.skip("the lab reads /proc")
    from chaos.lab import Lab

    import train  # noqa: F401  (once, for all forked processes)

    return Lab(tmp_path_factory.mktemp("chaos"))
