"""anchorpy3 in an environment of its own: pip refuses it beside a current solana and solders.

Kept under build/ until its requirements or the Python change; `make clean` removes it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

_FOLDER = Path(__file__).parent / "anchorpy3"
SCRIPT = _FOLDER / "life.py"
_REQUIREMENTS = _FOLDER / "requirements.txt"
_ENVIRONMENT = Path(__file__).parents[2] / "build" / "anchorpy"
_STAMP = _ENVIRONMENT / "made-for"
_PYTHON = _ENVIRONMENT / "bin" / "python"


def why_missing() -> str | None:
    """None when the environment stands or can be made here, else what is missing."""
    if _stands():
        return None
    # Asked as it will be installed: with pip's own settings.
    command = [sys.executable, "-m", "pip", "index", "versions", "anchorpy3", "--disable-pip-version-check"]
    try:
        seen = subprocess.run([*command, "--retries", "0"], capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return "pip's package index doesn't answer within 30 s"
    return None if seen.returncode == 0 else f"pip's package index has no anchorpy3 ({seen.stderr.strip()[-200:]})"


def make() -> Path:
    """The environment's Python. Raises CalledProcessError when it can't be installed."""
    if not _stands():
        shutil.rmtree(_ENVIRONMENT, ignore_errors=True)
        # This Python's pip installs into it: an own one would cost more than all the packages.
        venv.create(_ENVIRONMENT, symlinks=True, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--python", str(_PYTHON), "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "-r", str(_REQUIREMENTS)], check=True, timeout=280)
        _STAMP.write_text(_wanted())
    return _PYTHON


def _stands() -> bool:
    return _STAMP.exists() and _STAMP.read_text() == _wanted()


def _wanted() -> str:
    return f"{sys.version}\n{_REQUIREMENTS.read_text()}"
