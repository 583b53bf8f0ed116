"""One worker a key and machine, and one a data folder: a second one would fight over jobs, nonces and containers.

The key's lock is a socket in Linux' abstract namespace: the kernel lets go of it with the process, whatever happens,
and tells who holds it. The folder's is a locked file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Generator
from pathlib import Path

from solders.pubkey import Pubkey

from hypernode_worker.errors import ConfigError

LOCK_NAME = "worker.lock"


@contextlib.contextmanager
def only_worker(data_dir: Path, wallet: Pubkey) -> Generator[None]:
    """Holds both locks while the block lasts.

    Raises:
        ConfigError: another worker has one of them; the message names its process id.
    """
    with _folder_lock(data_dir), _key_lock(wallet):
        yield


@contextlib.contextmanager
def _folder_lock(data_dir: Path) -> Generator[None]:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"The data folder {data_dir} can't be written ({error.strerror}); name another with DATA_DIR."
        ) from error
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = file.read(20).strip() or "unknown"
            raise ConfigError(
                f"A worker with the data folder {data_dir} is running already (pid {pid}); stop it with "
                "'hypernode-worker stop', or name another folder with DATA_DIR."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        file.seek(0)
        file.truncate(0)


@contextlib.contextmanager
def _key_lock(wallet: Pubkey) -> Generator[None]:
    name = f"\0hypernode-worker-{wallet}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as holder:
        try:
            holder.bind(name)
            holder.listen(1)
        except OSError:
            raise ConfigError(
                f"A worker with the key {wallet} is running on this machine already (pid {_holder(name)}); stop it, or "
                "give this one a key of its own with KEYPAIR_PATH."
            ) from None
        yield


def _holder(name: str) -> str:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(1.0)
            asking.connect(name)
            packed = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            return str(struct.unpack("3i", packed)[0])
    except OSError:
        return "unknown"
