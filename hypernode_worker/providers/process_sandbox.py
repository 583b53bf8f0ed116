"""The boundary around a process run: a bubblewrap command line, or none.

Inside: the host's /usr read-only, a handful of harmless files of /etc, a new /proc and /dev, sized /tmp and /dev/shm
in memory, the workspace, nothing else; own process, IPC, host-name and (unless asked for) network namespaces; no
capabilities, no new privileges, an unprivileged user; all of it ends with the supervisor.

The imports stay light: the supervisor loads this module.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

JOB_ID = 10001
"""User and group of a job: really where the worker is root, else as seen from inside only."""

PYTHON_HOME = "/opt/python"
"""Where a Python that isn't under /usr is seen."""

Mode = Literal["root", "user", "none"]
"""How runs are bounded: bubblewrap by root (who then drops to JOB_ID), bubblewrap by a user (with a user namespace), or
not at all."""

_ETC = (
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "nsswitch.conf", "mime.types"),
    *("ssl/certs", "ssl/openssl.cnf", "ca-certificates", "pki/tls/certs", "protocols", "services", "fonts"),
)
_ETC_NETWORK = ("resolv.conf", "hosts")
_ROOTS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Inside:
    """What a sandboxed command gets."""

    command: Sequence[str]
    env: Mapping[str, str]
    workdir: str
    workspace: str
    network: bool
    memory_bytes: int


def sandbox_command(mode: Mode, inside: Inside, *, arguments_fd: int, info_fd: int) -> tuple[list[str], bytes]:
    """The command line, and what must be readable from `arguments_fd`: options stay out of the process list."""
    options = [
        *("--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"),
        *([] if inside.network else ["--unshare-net"]),
        *("--new-session", "--die-with-parent", "--hostname", "job", "--clearenv", "--info-fd", str(info_fd)),
        *_rights(mode),
        *_files(inside),
        *("--chdir", inside.workdir),
    ]
    drop = _drop_root() if mode == "root" else []
    # env(1) sets the job's environment only here, after rights are dropped: a loader variable in it harms nobody.
    variables = [f"{name}={value}" for name, value in inside.env.items()]
    guard = ["/bin/sh", "-c", 'exec "$@"', "sh"] if "=" in inside.command[0] else []
    tail = [*drop, "/usr/bin/env", "-i", *variables, *guard, *inside.command]
    head = [_bwrap(), "--args", str(arguments_fd), "--"]
    return [*head, *tail], b"".join(option.encode() + b"\0" for option in options)


def _rights(mode: Mode) -> list[str]:
    if mode == "user":
        return ["--unshare-user", "--uid", str(JOB_ID), "--gid", str(JOB_ID), "--cap-drop", "ALL"]
    needed = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
    return ["--cap-drop", "ALL", *(part for capability in needed for part in ("--cap-add", capability))]


def _drop_root() -> list[str]:
    number = str(JOB_ID)
    user = ["--reuid", number, "--regid", number, "--clear-groups"]
    return ["/usr/bin/setpriv", *user, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]


def _files(inside: Inside) -> list[str]:
    memory = str(max(inside.memory_bytes // 4, _MIB))
    files = ["--ro-bind", "/usr", "/usr"]
    for name in _ROOTS:
        path = Path("/", name)
        if path.is_symlink():
            files += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            files += ["--ro-bind", str(path), str(path)]
    for name in (*_ETC, *(_ETC_NETWORK if inside.network else ())):
        files += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    if python := own_python():
        files += ["--ro-bind", str(python), PYTHON_HOME]
    return [
        *files,
        *("--proc", "/proc", "--dev", "/dev"),
        *("--perms", "1777", "--size", memory, "--tmpfs", "/tmp"),  # noqa: S108 -- the sandbox's own
        *("--perms", "1777", "--size", memory, "--tmpfs", "/dev/shm"),  # noqa: S108
        *("--bind", inside.workspace, "/workspace"),
        *("--remount-ro", "/dev", "--remount-ro", "/"),
    ]


def own_python() -> Path | None:
    """The folder of this interpreter where it is not one that /usr has."""
    home = Path(sys.base_prefix).resolve()
    return None if home.is_relative_to("/usr") or home == Path("/") else home


def search_path(mode: Mode) -> str:
    """PATH of a job; the Python that runs the worker is on it, so that a job in plain Python always has one."""
    python = own_python()
    own = [] if python is None else [f"{PYTHON_HOME if mode != 'none' else python}/bin"]
    return ":".join([*own, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])


def find_mode(folder: Path) -> tuple[Mode, str]:
    """Tries the sandbox once, with this folder as the workspace.

    Returns:
        What works here, and, for "none", the reason in words.
    """
    if shutil.which("bwrap") is None:
        return "none", "bubblewrap is not installed"
    mode: Mode = "root" if os.geteuid() == 0 else "user"
    if mode == "root" and not Path("/usr/bin/setpriv").exists():
        return "none", "setpriv of util-linux is not installed"
    inside = Inside(("/usr/bin/env",), {}, "/workspace", str(folder), False, _MIB)
    reading, writing = os.pipe()
    told, telling = os.pipe()
    try:
        command, options = sandbox_command(mode, inside, arguments_fd=reading, info_fd=telling)
        os.write(writing, options)
        os.close(writing)
        writing = -1
        tried = subprocess.run(
            command,
            pass_fds=(reading, telling),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={"PATH": search_path("none")},
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "none", f"bubblewrap can't be run ({error})"
    finally:
        for fd in (reading, writing, told, telling):
            if fd >= 0:
                os.close(fd)
    if tried.returncode:
        return "none", f"bubblewrap does not work here ({' '.join(tried.stderr.split())[:200]})"
    return mode, ""


def _bwrap() -> str:
    return shutil.which("bwrap") or "bwrap"
