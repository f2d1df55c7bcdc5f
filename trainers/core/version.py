"""Which version of these trainers runs, and from which commit: results.json keeps both."""

import subprocess
from pathlib import Path

__version__ = "0.3.0"  # the one place: pyproject.toml reads it here

FOLDER = Path(__file__).resolve().parents[1]  # trainers/, whatever it is called


def commit(folder: Path = FOLDER) -> str:
    """The commit of the checkout whose top level holds `folder`, with "-dirty" behind it where files differ from it or
    are not in it; "" outside a checkout (an installed package, a copy in another project) and without git."""
    if not (folder.parent / ".git").exists():
        return ""
    command = ["git", "-C", str(folder.parent), "--no-optional-locks", "status", "--porcelain=v2", "--branch"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return ""
    name = next((line.split()[-1] for line in found if line.startswith("# branch.oid ")), "")
    return f"{name}-dirty" if any(not line.startswith("#") for line in found) else name
