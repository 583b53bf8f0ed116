"""Which environment variables look like secrets: a definition is public."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|AUTH|COOKIE|MNEMONIC|SEED_PHRASE",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"hf_[A-Za-z0-9]|sk-[A-Za-z0-9]|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AKIA[0-9A-Z]{12}|AIza|-----BEGIN|"
    r"eyJ[A-Za-z0-9_-]+\.eyJ|[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s@]+@"
)


def secret_like(env: Mapping[str, str]) -> tuple[str, ...]:
    """Names of those variables whose name or value looks like a secret; IPFS is public."""
    return tuple(
        sorted(
            name
            for name, value in env.items()
            if value and (_SECRET_NAME.search(name) is not None or _SECRET_VALUE.match(value) is not None)
        )
    )
