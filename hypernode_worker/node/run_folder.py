"""The folder of one run: its workspace, and the result that grows beside it. Methods block; call them in a thread.

    <data_dir>/runs/<job>-<run>/
        definition.json
        workspace/     what the job sees as /workspace, with input.json and output/
        result/        logs/NN.log, and after the end output/ and manifest.json: what goes to IPFS

What a job leaves behind is a stranger's: nothing here follows a symbolic link.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from solders.pubkey import Pubkey

from hypernode_worker.core.definition import INPUT_FILE, WORKSPACE, JobDefinition
from hypernode_worker.core.foreign_tree import delete_tree
from hypernode_worker.core.manifest import LOGS, MANIFEST, OUTPUT
from hypernode_worker.core.types import Slot
from hypernode_worker.errors import ContentInvalid

RUNS = "runs"

MOST_FOLDERS = 60
MOST_PATH_BYTES = 1_024
"""Of a path in a result: a client must be able to fetch it into a folder of its own."""


def run_name(job: object, run: object) -> str:
    """How a run is called where files and containers are told apart: '<job>-<queued_slot>'."""
    return f"{job}-{run}"


class RunFolder:
    """Paths of one run, and what is done to them."""

    def __init__(self, data_dir: Path, job: Pubkey, run: Slot) -> None:
        self.path = data_dir / RUNS / run_name(job, run)
        self.workspace = self.path / "workspace"
        self.result = self.path / "result"
        self.output = self.workspace / OUTPUT
        self._dropped = self.path / "output-dropped"
        self._definition = self.path / "definition.json"

    def log_path(self, operation: int) -> Path:
        return self.result / LOGS / f"{operation:02d}.log"

    def create(self) -> None:
        """An empty run folder, readable by this user only; what an earlier attempt left is deleted."""
        self.delete()
        self.path.mkdir(mode=0o700, parents=True)
        (self.result / LOGS).mkdir(parents=True)

    def fill(self, definition: JobDefinition) -> None:
        """Adds input.json, output/ and the workdirs to the fetched files (or to an empty workspace).

        Raises:
            ContentInvalid: `files` isn't a directory, or a file stands where a folder is needed.
        """
        # Beside the workspace, out of the job's reach: after a restart no gateway is needed to go on.
        self._definition.write_bytes(definition.to_bytes())
        self.workspace.mkdir(exist_ok=definition.files is not None)
        if definition.input is not None or not (self.workspace / INPUT_FILE).is_file():
            self._write_input(definition.input)
        folders = {OUTPUT, *(operation.workdir[len(WORKSPACE) :].lstrip("/") for operation in definition.operations)}
        for name in sorted(folders):
            try:
                (self.workspace / name).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ContentInvalid(f"The job's files hold a file where the folder {name[:200]!r} must be.") from error

    def read_definition(self) -> bytes | None:
        """What was kept; None where there is nothing."""
        with suppress(OSError):
            return self._definition.read_bytes()
        return None

    def _write_input(self, value: object) -> None:
        path = self.workspace / INPUT_FILE
        if path.is_dir():
            raise ContentInvalid(f"The job's files hold a folder where {INPUT_FILE} must be.")
        path.unlink(missing_ok=True)
        path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")

    def collect_output(self) -> int:
        """Moves the workspace's output/ into the result; gives how many entries were dropped. May be repeated.

        Dropped are symbolic links, special files, names that aren't UTF-8 and paths that are too long for others to
        fetch: a result holds files and folders only.
        """
        target = self.result / OUTPUT
        if not target.exists():
            found = self.output
            if found.is_symlink() or not found.is_dir():
                target.mkdir()
                return int(found.is_symlink() or found.exists())
            _move(found, target)
        return _drop_specials(target, len(OUTPUT), 0)

    @property
    def output_dropped(self) -> bool:
        """What the job wrote was too much, and is gone, or partly gone where a kill came between."""
        return self._dropped.exists()

    def drop_output(self) -> None:
        """An empty output/ in the result."""
        self._dropped.touch()
        _delete(self.result / OUTPUT)
        (self.result / OUTPUT).mkdir()

    def write_manifest(self, data: bytes) -> None:
        (self.result / MANIFEST).write_bytes(data)

    def delete(self) -> None:
        """Deletes all of it. May be repeated."""
        _delete(self.path)


def run_folders(data_dir: Path) -> list[Path]:
    """Folders of runs that are there."""
    try:
        return [Path(entry.path) for entry in os.scandir(data_dir / RUNS) if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def delete_run_folder(path: Path) -> None:
    """Deletes a folder that `run_folders` gave."""
    _delete(path)


def _move(source: Path, target: Path) -> None:
    with suppress(OSError):
        source.chmod(0o700)  # a job may have closed it to its own user, and then it can't be moved
    try:
        source.rename(target)
    except OSError:
        # Another user owns it, as with some runtimes: its content can be read, but it can't be moved. Half a copy must
        # not pass for the whole: a full disk or a kill may come between.
        partial = target.parent.with_name(f"{target.name}.part")
        _delete(partial)
        shutil.copytree(source, partial, symlinks=True, ignore_dangling_symlinks=True)
        partial.rename(target)


def _drop_specials(folder: Path, inside: int, depth: int) -> int:
    """Drops what a result can't hold, also what lies too deep to be fetched; `inside`: bytes of the path so far."""
    dropped = 0
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        mode = entry.stat(follow_symlinks=False).st_mode
        length = inside + 1 + len(os.fsencode(entry.name))
        unfit = not _is_utf8(entry.name) or depth > MOST_FOLDERS or length > MOST_PATH_BYTES
        if unfit or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            dropped += 1
            if stat.S_ISDIR(mode):
                _delete(Path(entry.path))
            else:
                Path(entry.path).unlink()
        elif stat.S_ISDIR(mode):
            if mode & 0o700 != 0o700:
                Path(entry.path).chmod(0o700)
            dropped += _drop_specials(Path(entry.path), length, depth + 1)
        elif not mode & 0o400:
            Path(entry.path).chmod(0o600)
    return dropped


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _delete(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        delete_tree(path)
