"""`config`: every setting, its value and where it came from."""

from __future__ import annotations

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.command import Invocation, command


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "config")(config)


def config(invocation: Invocation) -> None:
    """Show every setting, its value and where it came from. Secrets are masked."""
    from hypernode_worker.config import Settings, shown
    from hypernode_worker.config.settings import extra

    loaded = invocation.load()
    rows: list[tuple[str, str, str]] = []
    values: dict[str, object] = {}
    for name, info in Settings.model_fields.items():
        value = shown(loaded.settings, name)
        values[name.upper()] = {"value": value, "origin": loaded.origin(name), "unit": extra(info, "unit")}
        meant = f"({extra(info, 'shown') or 'none'})" if value is None else value
        text = str(meant).lower() if isinstance(meant, bool) else str(meant)
        unit = extra(info, "unit").split(",")[0]
        rows.append((name.upper(), f"{text} {unit}".strip() if value is not None else text, loaded.origin(name)))
    invocation.result(values, screen.table(("setting", "value", "from"), rows))
