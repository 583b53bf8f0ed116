"""What people type and see: amounts, strangers' text on a terminal, encodings."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernode_worker.cli import screen
from hypernode_worker.cli.worker_lines import banner, sol_4
from hypernode_worker.core.amounts import U64_MAX, parse_amount, sol


@given(st.integers(0, U64_MAX))
def test_what_is_shown_in_sol_reads_back(lamports: int) -> None:
    assert parse_amount(f"{sol(lamports)}SOL") == lamports
    assert parse_amount(str(lamports)) == lamports


@pytest.mark.parametrize(
    ("text", "amount"),
    [("0.001SOL", 1_000_000), ("1_000", 1_000), ("5000lamports", 5_000), (".5 sol", 500_000_000), (" 7 ", 7)],
)
def test_amounts(text: str, amount: int) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize("text", ["", "-1", "0.5", "1e9", "0.0000000001SOL", "18446744073709551616", "1 BTC", "∞"])
def test_no_amounts(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|whole number|more than"):
        parse_amount(text)


def test_four_decimals_never_round_up() -> None:
    assert sol_4(1_500_000_000) == "1.5000"
    assert sol_4(1_999_999_999) == "1.9999"


def test_control_characters_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    screen.out("a\x1b]0;owned\x07b\x9bc\r\u202ed\n\te")
    written = capsys.readouterr().out
    assert not set(written) & {"\x1b", "\x07", "\x9b", "\r", "\u202e"}
    assert written.endswith("\n\te\n")


def test_ascii_terminals_get_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert banner().isascii()
    assert screen.icon("ok") == "[ok]"
    screen.out("ünïcode ✅")
    stream.seek(0)
    assert stream.read() == "?n?code ?\n"


def test_the_banner_is_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert banner().splitlines() == [
        "╔══════════════════════════════════════╗",
        "║     HYPERNODE GPU WORKER CLIENT      ║",
        "╚══════════════════════════════════════╝",
    ]
