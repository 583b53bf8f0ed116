"""Settings: flag > environment > .env > config file > default, each with where it came from.

layers.py    what was given, and where; names that are no setting
settings.py  every setting: meaning, unit, default, bounds
values.py    how text becomes a value
load.py      load(flags=...) -> Loaded; masking
example.py   .env.example
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypernode_worker.config.layers import Flag
    from hypernode_worker.config.loading import Loaded, is_secret, load, masked_url, shown
    from hypernode_worker.config.settings import LOCALNET_PROGRAM_ID, Settings

__all__ = ["LOCALNET_PROGRAM_ID", "Flag", "Loaded", "Settings", "is_secret", "load", "masked_url", "shown"]

_HOME = {"Flag": "layers", "LOCALNET_PROGRAM_ID": "settings", "Settings": "settings"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME.get(name, 'loading')}"), name)
    globals()[name] = value
    return value
