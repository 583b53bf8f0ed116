"""Key files in the Solana CLI's format: a JSON array of 64 numbers, readable by their owner alone."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import cast

from solders.keypair import Keypair

from hypernode_worker.errors import ConfigError

MAX_FILE_BYTES = 4096
KEY_BYTES = 64


def load_keypair(path: Path) -> Keypair:
    """Reads a key file.

    Raises:
        ConfigError: missing, not a regular file, not ours, readable by others, or malformed. The message never holds
            anything of the file's content.
    """
    path = path.expanduser()
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise ConfigError(
            f"There is no key file at {path}: set KEYPAIR_PATH, or make one with 'hypernode-worker key new'."
        ) from error
    except OSError as error:
        raise ConfigError(f"The key file {path} can't be opened ({error.strerror}): check KEYPAIR_PATH.") from error
    try:
        # The open file is checked, not the path: it can't be exchanged in between.
        _verify_private(path, os.fstat(handle))
        return _parse(path, os.read(handle, MAX_FILE_BYTES + 1))
    finally:
        os.close(handle)


def _verify_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"The key file {path} is no regular file: set KEYPAIR_PATH to one.")
    if os.geteuid() not in (0, status.st_uid):
        raise ConfigError(
            f"The key file {path} belongs to another user (uid {status.st_uid}): "
            f"run 'sudo chown {os.geteuid()} {path}' if the key is yours."
        )
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            f"The key file {path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}): "
            f"run 'chmod 600 {path}', and make a new key if somebody may have read it."
        )


def _parse(path: Path, data: bytes) -> Keypair:
    malformed = ConfigError(
        f"The key file {path} is no Solana key file: it must be a JSON array of {KEY_BYTES} numbers, "
        "as 'solana-keygen new' and 'hypernode-worker key new' write it."
    )
    if len(data) > MAX_FILE_BYTES:
        raise malformed
    try:
        parsed: object = json.loads(data)
        if not isinstance(parsed, list):
            raise malformed
        numbers = cast("list[object]", parsed)
        if len(numbers) != KEY_BYTES or any(type(n) is not int for n in numbers):
            raise malformed
        key = bytes(cast("list[int]", numbers))
        keypair = Keypair.from_bytes(key)
        # The second half must be the first one's public key: a file that was cut and mended would sign for nobody.
        if bytes(Keypair.from_seed(key[:32]).pubkey()) != key[32:]:
            raise malformed
    except (ValueError, RecursionError):
        # Not chained: such an error may quote what it read.
        raise malformed from None
    return keypair


def create_keypair(path: Path) -> Keypair:
    """Makes a new key and writes it with mode 0600.

    Raises:
        ConfigError: there is a file already (it is left alone), or it can't be written.
    """
    path = path.expanduser()
    keypair = Keypair()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise ConfigError(
            f"There is a file at {path} already: choose another path, so that no key is overwritten."
        ) from error
    except OSError as error:
        raise ConfigError(f"The key file {path} can't be made ({error.strerror}): choose another path.") from error
    with os.fdopen(handle, "wb") as file:
        file.write(json.dumps(list(bytes(keypair))).encode())
        file.flush()
        os.fsync(file.fileno())
    return keypair
