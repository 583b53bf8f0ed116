"""The program works with and without gaps between stack frames: it passes no argument over the stack."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hypernode_worker.solana.artifact import PROGRAM_FILE
from tests.support.market_world import World
from tests.support.program_calls import CALLS
from tests.support.svm import program_bytes

SCRIPT = Path(__file__).parents[2] / "programs" / "check_stack.py"

# *(u64 *)(r10 + 4104) = r1, r2 = *(u8 *)(r10 + 8), *(u32 *)(r10 + 0) = 1
BEYOND = [(0x7B, 0x1A, 4104), (0x71, 0xA2, 8), (0x62, 0x0A, 0)]
# The same within the frame, through another register, and a sum with the frame pointer in it.
WITHIN = [(0x7B, 0x1A, -8), (0x71, 0xA2, -4096), (0x7B, 0xA1, 4104), (0x71, 0x1A, 8), (0xBF, 0xA1, 0)]


@pytest.fixture(scope="module")
def check() -> ModuleType:
    """What programs/build.sh checks the built program with."""
    spec = importlib.util.spec_from_file_location("check_stack", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _with_code(check: ModuleType, instruction: tuple[int, int, int]) -> tuple[bytes, int]:
    """The packaged program with its first instruction replaced; where that is in the file."""
    elf = bytearray(PROGRAM_FILE.read_bytes())
    start: int = check.text_section(bytes(elf))[0]
    struct.pack_into("<BBhi", elf, start, *instruction, 0)
    return bytes(elf), start


def test_no_argument_is_passed_over_the_stack(check: ModuleType) -> None:
    """A call has five registers for arguments; the linker puts further ones on the stack, beyond the own frame.

    It does so for chains that keep a gap between frames. Chains with virtual_address_space_adjustments keep none:
    there the callee reads other bytes, and the program answered UnknownInstruction to everything. So no instruction
    may load or store at a positive offset from the frame pointer, r10.
    """
    assert check.beyond_the_frame(program_bytes()) == []


@pytest.mark.parametrize("instruction", BEYOND)
def test_the_check_finds_accesses_beyond_the_frame(check: ModuleType, instruction: tuple[int, int, int]) -> None:
    elf, start = _with_code(check, instruction)
    assert check.beyond_the_frame(elf) == [start]


@pytest.mark.parametrize("instruction", WITHIN)
def test_the_check_lets_other_accesses_be(check: ModuleType, instruction: tuple[int, int, int]) -> None:
    elf, _ = _with_code(check, instruction)
    assert check.beyond_the_frame(elf) == []


def test_a_program_that_does_so_is_refused_when_it_is_built(check: ModuleType, tmp_path: Path) -> None:
    built = tmp_path / "built.so"
    built.write_bytes(_with_code(check, BEYOND[0])[0])
    done = subprocess.run([sys.executable, SCRIPT, built], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "1 accesses beyond a stack frame" in done.stderr
    assert "Pass a struct or inline it" in done.stderr
    assert 'check_stack.py" "$built" || fail' in SCRIPT.with_name("build.sh").read_text()


def test_what_is_no_program_is_refused(check: ModuleType) -> None:
    with pytest.raises(ValueError, match="ELF"):
        check.beyond_the_frame(b"no program")


@pytest.mark.parametrize("currency", ["native", "spl"])
@pytest.mark.parametrize("name", CALLS)
def test_each_instruction_works_without_gaps_between_frames(name: str, currency: str) -> None:
    world = World(spl=currency == "spl", staking=True, gapless=True)
    call = CALLS[name](world)
    world.svm.send(call.instruction, signers=call.signers)
