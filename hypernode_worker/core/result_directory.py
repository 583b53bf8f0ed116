"""A result on disk: its files listed and hashed, and a fetched one verified against what stands on chain.

The one module of core that reads files: node and client both need it, and neither may import the other.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import Job
from hypernode_worker.core.manifest import LOGS, MANIFEST, MAX_FILES, MAX_MANIFEST_BYTES, OUTPUT, Manifest, ResultFile
from hypernode_worker.errors import ContentTooLarge, ResultInvalid

_CHUNK = 1 << 20
_MAX_DEPTH = 64


def list_result_files(directory: Path, *, max_bytes: int, max_files: int = MAX_FILES) -> tuple[ResultFile, ...]:
    """Every file under logs/ and output/ with its size and sha256, sorted by path. Blocking.

    Raises:
        ContentTooLarge: more files or bytes than allowed.
        ResultInvalid: a symbolic link, a special file, or a name that isn't UTF-8.
    """
    found: list[ResultFile] = []
    total = 0
    for name in (LOGS, OUTPUT):
        for path, size in _walk(directory / name, name, 0):
            total += size
            if len(found) >= max_files or total > max_bytes:
                raise ContentTooLarge(
                    f"The result has more than {max_files} files or {max_bytes} bytes; write less to $OUTPUT_DIR."
                )
            found.append(ResultFile(path=path, bytes=size, sha256=_sha256(directory / path, size)))
    return tuple(sorted(found, key=lambda file: file.path))


def verify_result(directory: Path, *, job: Job, authority: Pubkey) -> Manifest:
    """Verifies a fetched result (the store has verified its CID already) and gives its manifest. Blocking.

    Args:
        directory: holds manifest.json, logs/ and output/.
        job: the job as it stands on chain: its result_hash and its node bind the manifest.
        authority: the node's wallet, from the node's account.

    Raises:
        ResultInvalid: the manifest doesn't match result_hash, job, node or signature, or a file is missing,
            added or changed.
    """
    manifest = Manifest.parse(_read_manifest(directory))
    if manifest.result_hash != job.result_hash:
        raise ResultInvalid(
            f"The manifest's sha256 isn't the result_hash of job {job.address}; don't trust this result."
        )
    expected = {"job": job.address, "market": job.market, "node": job.node, "definition_cid": job.definition_cid}
    for name, value in expected.items():
        if getattr(manifest, name) != str(value):
            raise ResultInvalid(f"The manifest's {name} isn't {value}; this is the result of something else.")
    if manifest.exit_status != job.exit_status:
        raise ResultInvalid("The manifest's exit_status isn't the one on chain; don't trust this result.")
    manifest.verify_signature(authority)
    _verify_files(directory, manifest)
    return manifest


def _verify_files(directory: Path, manifest: Manifest) -> None:
    extra = {entry.name for entry in os.scandir(directory)} - {MANIFEST, LOGS, OUTPUT}
    if extra:
        raise ResultInvalid(f"The result holds {sorted(extra)[0][:80]!r}, which its manifest doesn't list.")
    try:
        files = list_result_files(
            directory, max_bytes=sum(file.bytes for file in manifest.files), max_files=len(manifest.files)
        )
    except ContentTooLarge:
        raise ResultInvalid("The result holds more than its manifest lists; don't trust it.") from None
    if files != manifest.files:
        different = sorted({file.path for file in set(files) ^ set(manifest.files)})
        raise ResultInvalid(f"The result's {different[0][:200]!r} doesn't match its manifest; don't trust it.")


def _read_manifest(directory: Path) -> bytes:
    path = directory / MANIFEST
    try:
        size = path.lstat().st_size
        if not stat.S_ISREG(path.lstat().st_mode) or size > MAX_MANIFEST_BYTES:
            raise ResultInvalid(f"The result's {MANIFEST} is no file of at most {MAX_MANIFEST_BYTES} bytes.")
        return path.read_bytes()
    except OSError as error:
        raise ResultInvalid(f"The result has no {MANIFEST}: the node posted something else.") from error


def _walk(directory: Path, prefix: str, depth: int) -> list[tuple[str, int]]:
    if depth > _MAX_DEPTH:
        raise ResultInvalid(f"The result's {prefix[:200]!r} is nested deeper than {_MAX_DEPTH} folders.")
    found: list[tuple[str, int]] = []
    if not directory.is_dir() or directory.is_symlink():
        return found
    with os.scandir(directory) as entries:
        for entry in entries:
            path = f"{prefix}/{entry.name}"
            try:
                path.encode()
            except UnicodeEncodeError:
                raise ResultInvalid(f"The result has a name under {prefix!r} that isn't UTF-8; rename it.") from None
            info = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                found.extend(_walk(Path(entry.path), path, depth + 1))
            elif stat.S_ISREG(info.st_mode):
                found.append((path, info.st_size))
            else:
                raise ResultInvalid(f"The result's {path[:200]!r} is a link or a special file; only files are allowed.")
            if len(found) > MAX_FILES:
                return found
    return found


def _sha256(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    seen = 0
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        while chunk := file.read(_CHUNK):
            seen += len(chunk)
            digest.update(chunk)
    if seen != size:
        raise ResultInvalid(f"The result's {path.name[:200]!r} changed while it was read.")
    return digest.hexdigest()
