"""scripts/setup.sh, test.sh and quickstart.sh with a fake Python: what is made, when it is made again, when not."""

import signal
import subprocess
from pathlib import Path

import pytest
from helpers.checkout import OF_THE_QUICKSTART
from helpers.waiting import wait_for

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
PIP = "-m pip install"


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.sh")) + ["../.ci/run"])
def test_shell_syntax(script):
    subprocess.run(["bash", "-n", str(SCRIPTS / script)], check=True)


def test_first_call_installs_and_second_does_nothing(checkout):
    first = checkout.run("setup.sh")
    assert first.returncode == 0, first.stderr
    assert (checkout.root / ".venv" / ".ship-ready").read_text() == "torch>=2.4\n"
    assert len(checkout.calls(PIP)) == 1
    second = checkout.run("setup.sh")
    assert (second.returncode, second.stdout) == (0, "")
    assert checkout.calls("") == []  # not even an interpreter is started


def test_pip_gets_the_requirements_and_no_index(checkout):
    checkout.run("setup.sh")
    (call,) = checkout.calls(PIP)
    assert call.endswith("-r requirements.txt")
    assert "index" not in call


def test_an_interrupted_set_up_is_made_again_from_the_start(checkout):
    failed = checkout.run("setup.sh", FAKE_PIP_FAILS="1")
    assert failed.returncode == 2
    assert "run the same command again" in failed.stderr
    half_installed = checkout.root / ".venv" / "half-installed"
    half_installed.touch()
    again = checkout.run("setup.sh")
    assert again.returncode == 0 and "not complete" in again.stdout
    assert not half_installed.exists()
    assert checkout.run("setup.sh").stdout == ""


def test_interrupted_while_the_environment_is_made(checkout):
    assert checkout.run("setup.sh", FAKE_VENV_FAILS="1").returncode == 2
    assert checkout.run("setup.sh").returncode == 0


def test_packages_that_do_not_import_are_no_set_up(checkout):
    failed = checkout.run("setup.sh", FAKE_IMPORT_FAILS="1")
    assert failed.returncode == 2 and "do not import" in failed.stderr
    assert not (checkout.root / ".venv" / ".ship-ready").exists()


def test_changed_requirements_are_installed_into_the_same_environment(checkout):
    checkout.run("setup.sh")
    kept = checkout.root / ".venv" / "installed-package"
    kept.touch()
    checkout.calls("")
    (checkout.root / "requirements.txt").write_text("torch>=2.5\n")
    assert checkout.run("setup.sh").returncode == 0
    assert kept.exists()
    assert len(checkout.calls(PIP)) == 1
    assert checkout.run("setup.sh").stdout == ""


def test_an_environment_of_the_users_own_is_never_cleared(checkout):
    own = checkout.root / "own"
    checkout.run("setup.sh", VENV="own")
    (own / ".ship-made").unlink()  # now it looks like one that the user made
    (own / ".ship-ready").unlink()
    (own / "precious").touch()
    assert checkout.run("setup.sh", VENV="own", FAKE_PIP_FAILS="1").returncode == 2
    assert checkout.run("setup.sh", VENV="own").returncode == 0
    assert (own / "precious").exists()
    assert not (checkout.root / ".venv").exists()


def test_a_folder_of_other_files_is_left_alone(checkout):
    folder = checkout.root / "photos"
    folder.mkdir()
    (folder / "cat.jpg").touch()
    result = checkout.run("setup.sh", VENV="photos")
    assert result.returncode == 2 and "neither empty nor a working Python environment" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["cat.jpg"]


def test_an_old_python_is_named(checkout):
    result = checkout.run("setup.sh", FAKE_OLD="1", FAKE_VERSION="3.8.2")
    assert result.returncode == 2
    assert "Python 3.10 or newer is needed" in result.stderr and "Python 3.8.2" in result.stderr
    assert not (checkout.root / ".venv").exists()


def test_a_python_without_venv_is_named(checkout):
    result = checkout.run("setup.sh", FAKE_NO_VENV="1")
    assert result.returncode == 2 and "no venv module" in result.stderr


def test_two_set_ups_at_once_install_once(checkout):
    command = ["bash", str(checkout.root / "scripts" / "setup.sh")]
    env = {"PATH": f"{checkout.bin}:/usr/bin:/bin", "HOME": str(checkout.root)}
    both = [subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    if subprocess.run(["bash", "-c", "command -v flock"], capture_output=True).returncode == 0:
        assert len(checkout.calls(PIP)) == 1


def test_test_sh_sets_up_and_passes_arguments_on(checkout):
    assert checkout.run("test.sh", "tests/scripts", "-k", "a or b").returncode == 0
    calls = checkout.calls("-m p")
    assert calls[0].startswith(PIP)
    assert calls[-1] == "-m pytest -q --numprocesses 2 --dist loadscope --durations=10 tests/scripts -k a or b"


def test_quickstart_sh_sets_up_and_passes_arguments_on(checkout, tmp_path):
    checkout.add_configs(*OF_THE_QUICKSTART)
    assert checkout.run("quickstart.sh", "--seeds", "1", "2", cwd=tmp_path).returncode == 0
    assert checkout.calls("scripts/quickstart.py") == ["scripts/quickstart.py --seeds 1 2"]


@pytest.mark.parametrize("script", ["quickstart.sh", "test.sh"])
def test_a_script_that_is_interrupted_in_its_set_up_does_not_go_on(checkout, script):
    process = checkout.start(script, FAKE_PIP_SECONDS="2")
    wait_for(lambda: checkout.log.exists() and PIP in checkout.log.read_text())
    process.send_signal(signal.SIGINT)  # the script alone: what it has called ends in its own time
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert not checkout.calls("scripts/quickstart.py") and not checkout.calls("-m pytest")
