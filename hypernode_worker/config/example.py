"""The text of .env.example, made from the settings: `python -m hypernode_worker.config.example > .env.example`."""

from __future__ import annotations

import sys
from textwrap import wrap

from pydantic.fields import FieldInfo

from hypernode_worker.config.settings import Settings, extra

_HEAD = """\
# Settings of hypernode-worker: copy to .env and uncomment what you change.
# A flag is stronger than the environment, that than .env, that than ~/.config/hypernode-worker/config.toml.
# `hypernode-worker config` shows each setting's value and where it came from.
"""


def env_example() -> str:
    """Every setting with description, unit and default, in the order of `Settings`."""
    lines = [_HEAD]
    group = ""
    for name, info in Settings.model_fields.items():
        if extra(info, "group") != group:
            group = extra(info, "group")
            lines += ["", f"## {group}", ""]
        lines += _entry(name.upper(), info)
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip("\n") + "\n"


def default_text(info: FieldInfo) -> str:
    """The default as it would be typed; '' where leaving it out means something that can't be."""
    if info.default_factory is not None or info.default is None:
        return ""
    if isinstance(info.default, bool):
        return "true" if info.default else "false"
    return str(info.default)


def _entry(name: str, info: FieldInfo) -> list[str]:
    unit = extra(info, "unit")
    shown = extra(info, "shown")
    default = default_text(info)
    said = f"{info.description}{f' [{unit}]' if unit else ''}"
    said = said[0].upper() + said[1:]
    return [*(f"# {line}" for line in wrap(said, 116)), f"# default: {shown or default}", f"#{name}={default}", ""]


if __name__ == "__main__":
    sys.stdout.write(env_example())
