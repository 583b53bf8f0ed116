"""Where settings come from, before they are checked: flag > environment > .env > config file > default."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from hypernode_worker.errors import ConfigError

ENV_FILE = ".env"
# Its own variables, which are no settings: what the tests need, and Bash's and Typer's completion.
_NOT_SETTINGS = ("HYPERNODE_TEST_", "_HYPERNODE_")
_NEAR = 0.9


@dataclass(frozen=True, slots=True)
class Given:
    """One value as it was given, and where, in words for people."""

    value: object
    origin: str


@dataclass(frozen=True, slots=True)
class Flag:
    """A command-line flag that sets a setting: its spelling and its text."""

    spelling: str
    text: str


def gather(
    names: Collection[str],
    *,
    flags: Mapping[str, Flag],
    environ: Mapping[str, str],
    env_file: Path | None,
    config_file: Path | None,
) -> dict[str, Given]:
    """The strongest given value of each setting, by lower-case name. Empty text counts as not given.

    Raises:
        ConfigError: a file that can't be read, or a name in it that is no setting.
    """
    layers = (
        _config_file(config_file, names) if config_file else {},
        _env_file(env_file, names) if env_file else {},
        {name: Given(environ[name.upper()], "environment") for name in names if name.upper() in environ},
        {name: Given(flag.text, f"flag {flag.spelling}") for name, flag in flags.items()},
    )
    merged: dict[str, Given] = {}
    for layer in layers:
        merged.update({name: given for name, given in layer.items() if given.value != ""})
    return merged


def suspicious(names: Collection[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Sentences about variables that look like misspelt settings: nothing else would notice them."""
    import difflib

    known = {name.upper() for name in names}
    found: list[str] = []
    for variable in sorted(environ):
        if variable in known or variable.startswith(_NOT_SETTINGS):
            continue
        near = difflib.get_close_matches(variable.removeprefix("HYPERNODE_"), known, n=1, cutoff=_NEAR)
        if near:
            found.append(f"The environment variable {variable} is no setting and is ignored; did you mean {near[0]}?")
        elif variable.startswith("HYPERNODE_"):
            found.append(f"The environment variable {variable} is no setting and is ignored.")
    return tuple(found)


def unknown(name: str, names: Collection[str], where: str) -> ConfigError:
    """The error for a name that is no setting, with the nearest that is."""
    import difflib

    near = difflib.get_close_matches(name.upper(), [known.upper() for known in names], n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "remove it, or see 'hypernode-worker config' for the names."
    return ConfigError(f"{name[:80]} in {where} is no setting; {hint}")


def _env_file(path: Path, names: Collection[str]) -> dict[str, Given]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The file {path} can't be read ({_why(error)}); correct it or name another.") from error
    import io

    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            raise ConfigError(f"Line {binding.original.line} of {path} is not NAME=value; correct it.")
    found: dict[str, Given] = {}
    for key, value in dotenv_values(stream=io.StringIO(text)).items():
        if key.lower() not in names or key != key.upper():
            raise unknown(key, names, str(path))
        found[key.lower()] = Given(value or "", str(path))
    return found


def _config_file(path: Path, names: Collection[str]) -> dict[str, Given]:
    import tomllib

    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"The config file {path} can't be read ({_why(error)}); correct it.") from error
    found: dict[str, Given] = {}
    for key, value in content.items():
        if key.lower() not in names:
            raise unknown(key, names, str(path))
        found[key.lower()] = Given(value, str(path))
    return found


def _why(error: Exception) -> str:
    return str(error.strerror if isinstance(error, OSError) else error)[:200]


def default_env_file() -> Path | None:
    """The .env of the working directory, when there is one."""
    return Path(ENV_FILE).absolute() if os.access(ENV_FILE, os.F_OK) else None
