"""Where text goes: stdout carries results, stderr the rest. Control characters of strangers' text never get there."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

_ICONS = {
    "specs": ("📊", "*"),
    "link": ("🔗", "*"),
    "stake": ("💎", "*"),
    "register": ("📝", "*"),
    "poll": ("🔄", "*"),
    "health": ("💓", "*"),
    "started": ("✨", "*"),
    "watch": ("👀", "*"),
    "ok": ("✅", "[ok]"),
    "bad": ("❌", "[failed]"),
    "skip": ("⏭️ ", "[skipped]"),
    "warn": ("⚠️ ", "[warning]"),
    "job": ("🧩", "*"),
    "run": ("🚀", "*"),
    "content": ("📦", "*"),
    "paid": ("💰", "*"),
    "stop": ("🛑", "*"),
}
_KEPT = {"\n", "\t"}


def clean(text: str) -> str:
    """Text without control characters, so that a job's log or an endpoint's message can't drive the terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in _KEPT else "\N{REPLACEMENT CHARACTER}" for char in text)


def fancy(stream: TextIO | None = None) -> bool:
    """Whether a stream's encoding can carry box drawing and emoji."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "ascii"
    try:
        "╔📊".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def icon(name: str, stream: TextIO | None = None) -> str:
    return _ICONS[name][0 if fancy(stream) else 1]


def out(text: str = "") -> None:
    """A result, to stdout."""
    _write(sys.stdout, text)


def say(text: str = "") -> None:
    """Everything else, to stderr."""
    _write(sys.stderr, text)


def out_json(value: object) -> None:
    """One JSON document, to stdout."""
    _write(sys.stdout, json.dumps(value, indent=2, default=str))


def fail(text: str) -> None:
    """An error's one sentence."""
    say(f"error: {text}")


def fields(values: Mapping[str, object], *, indent: str = "") -> str:
    """Names and values, aligned."""
    width = max(map(len, values), default=0)
    return "\n".join(f"{indent}{name:<{width}}  {value}" for name, value in values.items())


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()) -> str:
    """Aligned columns under a head; columns in `right` are numbers. Never cut: addresses are to be copied."""
    texts = [list(head), *([clean(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    lines = [
        "  ".join(
            f"{cell:>{width}}" if column in right else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in texts
    ]
    return "\n".join(lines)


def confirm(question: str) -> bool:
    """Asks on stderr, reads stdin; anything but y or yes is no, and so is an end of input."""
    if sys.stderr is not None:  # pyright: ignore[reportUnnecessaryComparison] -- it may be closed
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
    # A closed stdin (cron, `<&-`) is an end of input too.
    answer = sys.stdin.readline() if sys.stdin is not None else ""  # pyright: ignore[reportUnnecessaryComparison]
    if not answer:
        say()
    return answer.strip().lower() in ("y", "yes")


def short(address: object) -> str:
    """'7xZ8...mK3w'."""
    text = str(address)
    return f"{text[:4]}...{text[-4:]}" if len(text) > 11 else text


def one_line(text: str) -> str:
    """A stranger's name, which must not look like lines of ours."""
    return clean(text).replace("\n", "\N{REPLACEMENT CHARACTER}")


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # closed by who started us
        return
    encoding = stream.encoding or "ascii"
    printable = clean(text).encode(encoding, errors="replace").decode(encoding, errors="replace")
    print(printable, file=stream, flush=True)
