"""The built on-chain program that ships in this package, and how it was built."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from hypernode_worker.errors import PermanentError

PROGRAM_FILE = Path(__file__).parent / "artifacts" / "hypernode_markets.so"
"""The program as a loadable ELF file."""
_RECORD_FILE = PROGRAM_FILE.with_suffix(".json")


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """Written by programs/build.sh: the same compiler gives the same hash from any folder."""

    sha256: str
    bytes: int
    compiler: str


def build_record() -> BuildRecord:
    """How the packaged program was built."""
    raw = json.loads(_RECORD_FILE.read_bytes())
    return BuildRecord(raw["sha256"], raw["bytes"], raw["compiler"])


def program_elf() -> bytes:
    """The packaged program's bytes. Raises PermanentError when they aren't the recorded ones."""
    data = PROGRAM_FILE.read_bytes()
    if hashlib.sha256(data).hexdigest() != build_record().sha256:
        raise PermanentError(f"{PROGRAM_FILE} is not the program that was packaged: install hypernode-worker again.")
    return data
