"""scripts/setup.sh and the scripts that call it, with a fake Python: what is made, when it is made again, when not."""

import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
PIP = "-m pip install"


def test_shell_syntax():
    for script in [*SCRIPTS.glob("*.sh"), SCRIPTS.parent / ".ci/run"]:
        subprocess.run(["bash", "-n", str(script)], check=True)


def test_first_call_installs_second_does_nothing_changed_requirements_are_added(checkout):
    first = checkout.run("setup.sh")
    assert first.returncode == 0, first.stderr
    assert (checkout.root / ".venv/.ship-ready").read_text() == "torch>=2.4\n"
    (call,) = checkout.calls(PIP)
    assert call.endswith("-r requirements.txt") and "index" not in call
    second = checkout.run("setup.sh")
    assert (second.returncode, second.stdout) == (0, "")
    assert checkout.calls("") == []  # not even an interpreter is started
    kept = checkout.root / ".venv/installed-package"
    kept.touch()
    (checkout.root / "requirements.txt").write_text("torch>=2.5\n")
    assert checkout.run("setup.sh").returncode == 0
    assert kept.exists() and len(checkout.calls(PIP)) == 1
    assert checkout.run("setup.sh").stdout == ""


@pytest.mark.parametrize("fault", ["FAKE_PIP_FAILS", "FAKE_VENV_FAILS", "FAKE_IMPORT_FAILS"])
def test_a_set_up_that_failed_is_made_again_from_the_start(checkout, fault):
    failed = checkout.run("setup.sh", **{fault: "1"})
    assert failed.returncode == 2 and failed.stderr.startswith("error: ")
    assert not (checkout.root / ".venv/.ship-ready").exists()
    half_installed = checkout.root / ".venv/half-installed"
    half_installed.touch()
    assert "not complete" in checkout.run("setup.sh").stdout
    assert not half_installed.exists() and checkout.run("setup.sh").stdout == ""


def test_what_is_the_users_own_is_never_cleared(checkout):
    own, photo = checkout.root / "own", checkout.root / "photos/cat.jpg"
    checkout.run("setup.sh", VENV="own")
    (own / ".ship-made").unlink()  # now it looks like one that the user made
    (own / ".ship-ready").unlink()
    (own / "precious").touch()
    assert checkout.run("setup.sh", VENV="own").returncode == 0
    assert (own / "precious").exists() and not (checkout.root / ".venv").exists()
    photo.parent.mkdir()
    photo.touch()
    result = checkout.run("setup.sh", VENV="photos")
    assert result.returncode == 2 and "neither empty nor a working Python environment" in result.stderr
    assert list(photo.parent.iterdir()) == [photo]


def test_a_python_that_does_not_do_is_named(checkout):
    old = checkout.run("setup.sh", FAKE_OLD="1", FAKE_VERSION="3.8.2")
    assert old.returncode == 2 and "Python 3.10 or newer is needed" in old.stderr and "3.8.2" in old.stderr
    bare = checkout.run("setup.sh", FAKE_NO_VENV="1")
    assert bare.returncode == 2 and "no venv module" in bare.stderr and not (checkout.root / ".venv").exists()
