"""Finds accesses beyond the own stack frame in the built program: arguments that a call passes over the stack.

The linker lays such arguments where they belong on chains that keep a gap between stack frames. Chains without gaps
(virtual_address_space_adjustments) have another frame there, and the callee reads what happens to be in it.

    check_stack.py PROGRAM    fails with a sentence when there are any
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

INSTRUCTION = 8
FRAME_POINTER = 10
_LOADS = frozenset({0x61, 0x69, 0x71, 0x79})
_STORES = frozenset({0x62, 0x6A, 0x72, 0x7A, 0x63, 0x6B, 0x73, 0x7B})
_WIDE = 0x18  # takes two places
_LOAD, _EXECUTABLE = 1, 1


def text_section(elf: bytes) -> tuple[int, int]:
    """First byte and length of the code in the file: its executable segment. Raises ValueError when there is none."""
    if elf[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a little-endian ELF file of 64 bits")
    (table,) = struct.unpack_from("<Q", elf, 0x20)
    size, count = struct.unpack_from("<HH", elf, 0x36)
    for number in range(count):
        kind, flags, offset, _, _, length = struct.unpack_from("<IIQQQQ", elf, table + number * size)
        if (kind, flags & _EXECUTABLE) == (_LOAD, _EXECUTABLE):
            return offset, length
    raise ValueError("no executable segment")


def beyond_the_frame(elf: bytes) -> list[int]:
    """Where in the file instructions load or store at or above the frame pointer."""
    start, length = text_section(elf)
    found: list[int] = []
    at = start
    while at < start + length:
        code, registers, offset = struct.unpack_from("<BBh", elf, at)
        base = registers >> 4 if code in _LOADS else registers & 15 if code in _STORES else None
        if base == FRAME_POINTER and offset >= 0:
            found.append(at)
        at += 2 * INSTRUCTION if code == _WIDE else INSTRUCTION
    return found


def main(path: str) -> int:
    """Exit status: 1 when an argument is passed over the stack."""
    found = beyond_the_frame(Path(path).read_bytes())
    if found:
        places = ", ".join(f"{at:#x}" for at in found[:5])
        sys.stderr.write(
            f"{path}: {len(found)} accesses beyond a stack frame (in the file at {places}): a function takes more than "
            "five words of arguments, which fails on chains without gaps between frames. Pass a struct or inline it.\n"
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
