"""Loads and checks the settings, and shows them with their origins; secrets are never shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr, ValidationError

from hypernode_worker.config.layers import Flag, Given, default_env_file, gather, suspicious
from hypernode_worker.config.places import config_file
from hypernode_worker.config.settings import Settings, extra
from hypernode_worker.errors import ConfigError

MASK = "****"
_RULES = {
    "int_parsing": "write a whole number",
    "int_type": "write a whole number",
    "int_from_float": "write a whole number",
    "float_parsing": "write a number",
    "bool_parsing": "write true or false",
    "bool_type": "write true or false",
}
_KEY_LIKE = re.compile(r"[A-Za-z0-9_-]{20,}")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Checked settings, where each came from (by lower-case name), and what looked wrong in the environment."""

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    def origin(self, name: str) -> str:
        return self.origins.get(name, "default")

    def require_market(self) -> str:
        """The market's address. Raises ConfigError when none is set."""
        if self.settings.market_pubkey is None:
            raise ConfigError(
                "No market is set: give --market ADDRESS or set MARKET_PUBKEY ('hypernode-worker market list' shows "
                "those of this program, 'market create' makes one)."
            )
        return self.settings.market_pubkey


def load(
    *,
    flags: Mapping[str, Flag] | None = None,
    environ: Mapping[str, str] | None = None,
    env_file: Path | None = None,
    use_files: bool = True,
) -> Loaded:
    """Settings from all layers.

    Args:
        flags: by lower-case name of the setting.
        environ: None: this process's.
        env_file: None: the .env of the working directory, when there is one.
        use_files: False: neither .env nor config file.

    Raises:
        ConfigError: names the setting, its value unless secret, where it came from, and the rule.
    """
    environment = os.environ if environ is None else environ
    names = Settings.model_fields.keys()
    configured = config_file()
    given = gather(
        names,
        flags=flags or {},
        environ=environment,
        env_file=(env_file or default_env_file()) if use_files else None,
        config_file=configured if use_files and configured.exists() else None,
    )
    try:
        settings = Settings.model_validate({name: item.value for name, item in given.items()})
    except ValidationError as error:
        raise ConfigError(_explain(error, given)) from None
    _refuse_contradictions(settings, given)
    origins = {name: item.origin for name, item in given.items()}
    return Loaded(settings, origins, suspicious(names, environment))


def _explain(error: ValidationError, given: Mapping[str, Given]) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0])
    rule = _RULES.get(first["type"], first["msg"].removeprefix("Value error, ").rstrip("."))
    rule = rule.replace("Input should be", "it must be")
    unit = extra(Settings.model_fields[name], "unit")
    if unit and rule in _RULES.values():
        rule += f" ({unit})"
    where = given[name].origin if name in given else "default"
    shown = "" if is_secret(name) or name not in given else f" can't be {str(given[name].value)[:80]!r}"
    return f"{name.upper()}{shown or ' is wrong'} (from {where}): {rule}."


def _refuse_contradictions(settings: Settings, given: Mapping[str, Given]) -> None:
    if "ipfs_api_auth" in given and settings.ipfs_api_url is None:
        raise ConfigError(
            f"IPFS_API_AUTH is set (from {given['ipfs_api_auth'].origin}) but IPFS_API_URL is not: "
            "set the address of Kubo's RPC, or remove the other."
        )
    if (
        settings.allow_network
        and settings.container_runtime in ("auto", "docker")
        and settings.docker_network == "none"
    ):
        raise ConfigError(
            f"ALLOW_NETWORK is true (from {given['allow_network'].origin}) but DOCKER_NETWORK is none: "
            "set DOCKER_NETWORK=hypernode (made when missing), or the name of one of your own bridges."
        )
    if settings.container_runtime == "mock" and not settings.allow_mock:
        where = given["container_runtime"].origin
        raise ConfigError(
            f"CONTAINER_RUNTIME is mock (from {where}), which runs nothing and would be paid for it: "
            "it is for tests; choose docker or process, or set ALLOW_MOCK=true on a chain of your own."
        )


def is_secret(name: str) -> bool:
    """Whether a setting's value must not be shown."""
    return "SecretStr" in str(Settings.model_fields[name].annotation)


def shown(settings: Settings, name: str) -> Any:
    """A setting's value for people and JSON: secrets and keys in URLs masked, paths as text."""
    value: object = getattr(settings, name)
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, tuple):
        return ", ".join(masked_url(str(part)) for part in value) or "none"  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, str) and "://" in value:
        return masked_url(value)
    return str(value) if isinstance(value, Path) else value


def masked_url(url: str) -> str:
    """A URL without what may be a key: user and password, query values, long segments of the path."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if "@" in parts.netloc:
        host = f"{MASK}@{host}"
    path = "/".join(MASK if _KEY_LIKE.fullmatch(part) else part for part in parts.path.split("/"))
    query = re.sub(r"=[^&]*", f"={MASK}", parts.query)
    return urlunsplit((parts.scheme, host, path, query, ""))
