"""`start`, `stop`, `status`: the worker on this machine."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypernode_worker.cli import screen
from hypernode_worker.cli.command import FAILED, Invocation, command

if TYPE_CHECKING:
    from hypernode_worker.config import Loaded
    from hypernode_worker.core.events import Listener


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    command(app, "start")(start)
    command(app, "status")(status)
    command(app, "stop")(stop)


def start(invocation: Invocation) -> None:
    """Start the worker and watch for jobs until Ctrl-C.

    The first Ctrl-C (or SIGTERM) drains: no new jobs, running ones end in peace. The second gives them back.
    With --json each event is one JSON object a line. Under systemd use Type=notify.

    Exit codes: 0 it was stopped and has ended in order; 1 unexpected, or refused by the chain; 2 usage or
    configuration, which only a person can mend; 3 something that it needs (chain, content store, container engine)
    doesn't answer; 130 Ctrl-C before it had begun.
    """
    from hypernode_worker.cli.worker_lines import WorkerLines, event_json

    loaded = invocation.load()
    loaded.require_market()
    _log_to_stderr(loaded.settings.log_level)
    if invocation.json:
        invocation.run(_work(loaded, lambda event: print(json.dumps(event_json(event)), flush=True)))
        return
    lines = WorkerLines(screen.out)
    lines.begin()
    invocation.run(_work(loaded, lines))


def _log_to_stderr(level: str) -> None:
    """The modules' own log; what it says of events is left out, for their lines stand on stdout already."""
    import logging

    class Cleaned(logging.Formatter):
        """Endpoints, registries and jobs are quoted in the log, and must not drive the terminal."""

        def format(self, record: logging.LogRecord) -> str:
            return screen.clean(super().format(record))

    handler = logging.StreamHandler()
    handler.setFormatter(Cleaned("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(lambda record: record.name != "hypernode_worker.node")
    logging.getLogger().addHandler(handler)
    logging.getLogger("hypernode_worker").setLevel(level.upper())


async def _work(loaded: Loaded, listener: Listener) -> None:
    import asyncio

    from hypernode_worker.app import open_worker
    from hypernode_worker.node.service_manager import ServiceManager

    service = ServiceManager.of(os.environ)
    async with open_worker(loaded, listeners=[listener, service.hear]) as worker:
        loop = asyncio.get_running_loop()
        # The first asks to drain, each further one gives running jobs up: NodeManager counts.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, worker.request_stop)
        telling = asyncio.create_task(service.keep_told(worker.status, worker.is_well), name="service manager")
        try:
            await worker.run()
        finally:
            telling.cancel()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def status(invocation: Invocation) -> None:
    """Show what the running worker does; works from any shell of the same user."""
    from hypernode_worker.cli.status_text import status_text
    from hypernode_worker.node.control_client import call

    seen = call(_data_dir(invocation), "status")
    invocation.result(seen, status_text(seen))


def stop(
    invocation: Invocation,
    now: Annotated[bool, typer.Option("--now", help="Don't wait for running jobs: give them back.")] = False,
    deregister: Annotated[
        bool, typer.Option("--deregister", help="Give the node's registration up when its jobs are over.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Return once the worker has ended.")] = True,
) -> None:
    """Stop the running worker: it takes no new jobs, ends the running ones in peace, then leaves."""
    from hypernode_worker.node.control_client import call, wait_until_gone

    folder = _data_dir(invocation)
    answer = call(folder, "stop", now=now, deregister=deregister)
    if not wait:
        invocation.result(answer, "The worker is stopping.")
        return
    began = time.monotonic()
    try:
        gone = wait_until_gone(folder, timeout_s=None)
    except KeyboardInterrupt:
        screen.say("No longer waiting; the worker goes on stopping. 'hypernode-worker stop --now' hurries it.")
        raise
    invocation.result({**answer, "stopped": gone}, f"The worker has stopped ({time.monotonic() - began:.1f} s).")
    if not gone:
        raise typer.Exit(FAILED)


def _data_dir(invocation: Invocation) -> Path:
    from hypernode_worker.config.places import given_data_dir

    texts = {name: flag.text for name, flag in invocation.flags.items()}
    return given_data_dir(texts, invocation.env_file) or invocation.load().settings.data_dir
