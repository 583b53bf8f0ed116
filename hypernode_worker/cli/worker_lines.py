"""What `start` prints: the seed's start-up output, then one line for each thing that happens to a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from typing import cast

from hypernode_worker.cli import screen
from hypernode_worker.cli.screen import icon, short
from hypernode_worker.core import events as e
from hypernode_worker.core.amounts import sol
from hypernode_worker.core.ports import Gpu, GpuUsage, HostSpecs, HostUsage

_TITLE = "HYPERNODE GPU WORKER CLIENT"
_GIB = 1 << 30


def banner() -> str:
    """The seed's banner; ASCII where the terminal can't draw boxes."""
    top, side, bottom, bar = ("╔╗", "║", "╚╝", "═") if screen.fancy() else ("++", "|", "++", "-")
    middle = f"{_TITLE:^38}"
    return f"{top[0]}{bar * 38}{top[1]}\n{side}{middle}{side}\n{bottom[0]}{bar * 38}{bottom[1]}"


class WorkerLines:
    """A listener that writes each event for people. The heading of a step is written before the step begins."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write

    def begin(self) -> None:
        self._write(banner() + "\n")
        self._write(f"{icon('specs')} Detecting system specifications...")

    def __call__(self, event: e.Event) -> None:
        match event:
            case e.RunEvent():
                if line := run_line(event):
                    self._write(f"{time.strftime('%H:%M:%S')}  {line}")
            case _:
                for line in _worker_lines(event):
                    self._write(line)


def _worker_lines(event: e.Event) -> list[str]:
    match event:
        case e.SpecsDetected(host, runtime, isolated):
            weak = "" if isolated else " (no container: this node's trust is low)"
            return [
                *specs_lines(host),
                f"  Container Runtime: {runtime}{weak}",
                "",
                f"{icon('link')} Connecting to Solana...",
            ]
        case e.WalletConnected(wallet, balance, payout):
            paid = [] if payout == wallet else [f"Paid to: {short(payout)}"]
            money = [f"Wallet: {short(wallet)}", f"Balance: {sol_4(balance)} SOL", *paid]
            return [*money, "", f"{icon('stake')} Checking xHYPER stake..."]
        case e.StakeVerified(staked, required):
            said = f"Stake verified ({staked:,} of {required:,})" if required else "Stake not required by this market"
            mark, said = ("ok", said) if staked >= required else ("warn", f"Stake too low ({staked:,} of {required:,})")
            return [f"{icon(mark)} {said}", "", f"{icon('register')} Registering node in market..."]
        case e.NodeRegistered(node, market):
            return [f"{icon('ok')} Node registered successfully! (node {short(node)}, market {short(market)})", ""]
        case e.PollingStarted():
            return [f"{icon('poll')} Starting job polling..."]
        case e.HealthStarted():
            return [f"{icon('health')} Starting health monitoring...", ""]
        case e.WorkerStarted(auto_accept, _):
            watching = "Watching for jobs..." if auto_accept else "Watching for jobs; take them with 'job take'..."
            return [f"{icon('started')} Worker started successfully!", f"{icon('watch')} {watching}"]
        case _:
            return _while_it_runs(event)


def _while_it_runs(event: e.Event) -> list[str]:
    match event:
        case e.WarningRaised(message):
            return [f"{icon('warn')} {message}"]
        case e.WarningEnded(message):
            return [f"{icon('ok')} Well again: {message}."]
        case e.NodeDeregistered(node):
            return [f"{icon('ok')} Node {short(node)} deregistered."]
        case e.MarketOpened():
            return [f"{icon('ok')} The market takes claims again."]
        case e.WorkerDraining(running, now):
            return [_draining(running, now)]
        case e.WorkerStopped(settled, released):
            return [f"{icon('stop')} Worker stopped: {settled} jobs settled, {released} given back."]
        case _:
            return []


def _draining(running: int, now: bool) -> str:
    if now:
        return f"{icon('stop')} Stopping now: {running} running jobs are ended and given back."
    if not running:
        return f"{icon('stop')} Stopping."
    return f"{icon('stop')} Draining: no new jobs; waiting for {running} to end. Press Ctrl-C again to give them back."


def run_line(event: e.RunEvent) -> str | None:
    """One line about a run; None for what only `status` shows."""
    told = _on_the_way(event) or _at_the_end(event)
    if told is None:
        return None
    mark, text = told
    return f"{icon(mark)} {short(event.job)} {text}"


def _on_the_way(event: e.RunEvent) -> tuple[str, str] | None:
    match event:
        case e.CandidateFound(job, price, timeout, framework):
            return "job", f"fits: {framework}, {price:,} a second, at most {timeout} s (job take {job})"
        case e.JobSkipped(_, reason):
            return "skip", f"skipped: {reason}"
        case e.RunClaimed(_, signature, begun):
            return "job", f"claimed{' and started' if begun else ''} ({short(signature)})"
        case e.ClaimLost(_, reason):
            return "skip", f"not claimed: {reason}"
        case e.SetupFinished(_, image):
            return "content", f"ready{f', image {image}' if image else ''}"
        case e.RunStarted(_, signature):
            return "run", f"running{f' ({short(signature)})' if signature else ''}"
        case e.RunResumed(_, attached):
            return "run", f"found again{', still running' if attached else ''}"
        case e.OperationStarted(_, operation, _):
            return "run", f"operation {operation} started"
        case _:
            return None


def _at_the_end(event: e.RunEvent) -> tuple[str, str] | None:
    match event:
        case e.OperationEnded(_, operation, exit_code, reason):
            why = "" if reason.value == "exited" else f" ({reason.value.replace('_', ' ')})"
            return "ok" if exit_code == 0 else "bad", f"operation {operation} exited with {exit_code}{why}"
        case e.RunEnded(_, outcome, message):
            return "ok" if outcome.value == "completed" else "warn", f"{outcome.value.replace('_', ' ')}: {message}"
        case e.ResultPinned(_, result_cid):
            return "content", f"result stored: {result_cid}"
        case e.RunSettled(_, signature, _, _, _, under_review):
            said = "posted, paid after the market's review" if under_review else "settled and paid"
            return "paid", f"{said} ({short(signature)})"
        case _:
            return _after_the_end(event)


def _after_the_end(event: e.RunEvent) -> tuple[str, str] | None:
    match event:
        case e.RunPaid(_, paid, _):
            return "paid", f"paid: {paid:,} base units have arrived"
        case e.RunOwed(_, _, message):
            return "warn", f"owed: {message}"
        case e.RunDisputed(_, seconds):
            return "warn", f"its client disputes the result; undecided, it is paid in {seconds / 3600:.1f} h"
        case e.DisputeLost(_, granted, gross):
            return "warn", f"dispute lost: the arbiter granted {granted:,} of {gross:,} base units"
        case e.RunReleased(_, signature, reason):
            return "stop", f"given back: {reason.name.lower().replace('_', ' ')} ({short(signature)})"
        case e.RunLost(_, _, message):
            return "warn", f"lost: {message}"
        case _:
            return None


def specs_lines(host: HostSpecs) -> list[str]:
    """The machine, as the seed shows it."""
    gpus = [f"    {i}. {gpu.name} ({gpu.memory_bytes / _GIB:.0f} GB VRAM)" for i, gpu in enumerate(host.gpus, 1)]
    none = [] if gpus else ["    (none found: this node takes jobs that need no GPU)"]
    return [
        f"  CPU: {host.cpu_model} ({host.cpu_cores} cores, {host.cpu_threads} threads)",
        f"  RAM: {host.memory_bytes / _GIB:.0f} GB",
        f"  OS: {host.os}",
        f"  GPUs: {len(host.gpus)}",
        *gpus,
        *none,
    ]


def sol_4(lamports: int) -> str:
    """'1.5000': four decimals, rounded down."""
    whole, _, decimals = sol(lamports, 4).partition(".")
    return f"{whole}.{decimals:<04}"


def event_json(event: e.Event) -> dict[str, object]:
    """An event as one JSON object: its name, the time, its fields."""
    return {
        "event": type(event).__name__,
        "time": round(time.time(), 3),
        **{field.name: _plain(getattr(event, field.name)) for field in fields(event)},
    }


def _plain(value: object) -> object:
    match value:
        case None | bool():
            return value
        case Enum():
            return value.value if isinstance(value.value, str) else value.name.lower()
        case int() | float() | str():
            return value
        case bytes():
            return value.hex()
        case tuple():
            return [_plain(part) for part in cast("tuple[object, ...]", value)]
        case HostSpecs() | HostUsage() | Gpu() | GpuUsage():
            return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            return str(value)
