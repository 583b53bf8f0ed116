"""Events of the program in a transaction's log lines. Hints only: endpoints truncate logs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from solders.pubkey import Pubkey

from hypernode_worker.errors import AccountInvalid
from hypernode_worker.solana.codec import Event, codec

_PREFIX = "Program data: "


def events_from_logs(program: Pubkey, logs: Iterable[str]) -> list[Event]:
    """Events that this very program logged, in order; what another program logged is left out."""
    stack: list[str] = []
    found: list[Event] = []
    ours = str(program)
    for line in logs:
        if line.startswith(_PREFIX):
            event = _event(line) if stack and stack[-1] == ours else None
            if event is not None:
                found.append(event)
            continue
        words = line.split(" ", 3)
        if len(words) >= 3 and words[0] == "Program" and len(words[1]) >= 32:
            if words[2] == "invoke":
                stack.append(words[1])
            elif words[2] in ("success", "failed:") and stack and stack[-1] == words[1]:
                stack.pop()
    return found


def _event(line: str) -> Event | None:
    try:
        return codec().decode_event(base64.b64decode(line[len(_PREFIX) :], validate=True))
    except (binascii.Error, AccountInvalid):
        return None
