"""This user's folders, and DATA_DIR by itself: `status` has no time for the library that checks all settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

NAME = "hypernode-worker"


def data_home() -> Path:
    """Where this user's programs keep data (XDG), with our own folder in it."""
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / NAME


def config_file() -> Path:
    """The optional config file of this user (XDG)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / NAME / "config.toml"


def absolute(path: str | Path) -> Path:
    """A path with ~ and $VARIABLES expanded; links are kept as they are."""
    return Path(os.path.abspath(Path(os.path.expandvars(path)).expanduser()))  # noqa: PTH100 -- resolve() follows links


def given_data_dir(flags: Mapping[str, str], env_file: Path | None) -> Path | None:
    """DATA_DIR of a flag or the environment, or its default when no file could say otherwise; None: load them all."""
    if text := flags.get("data_dir") or os.environ.get("DATA_DIR"):
        return absolute(text)
    if env_file is not None or os.access(".env", os.F_OK) or config_file().exists():
        return None
    return data_home()
