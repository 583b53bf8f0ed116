"""One run's line in the journal, and its events: written together, then told to the listeners."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from hypernode_worker.core.events import Event
from hypernode_worker.core.runs import FOLLOWERS, RunRecord, RunState
from hypernode_worker.errors import HypernodeError
from hypernode_worker.node.run_context import RunContext

log = logging.getLogger(__name__)


class RunBook:
    """Keeps the record of one run. Once a job is held, a journal that fails is logged and money goes first."""

    def __init__(self, context: RunContext, record: RunRecord, *, opened: bool) -> None:
        self._context = context
        self._opened = opened
        self.record = record

    def open(self) -> None:
        """Before the claim. Raises HypernodeError: then nothing must be claimed."""
        self._context.journal.open_run(self.record, at=self._context.clock.unix_time())
        self._opened = True

    def advance(self, state: RunState, *events: Event, **changes: Any) -> None:
        """Moves on where that is allowed, and tells the events in any case."""
        if self._opened and state in FOLLOWERS[self.record.state]:
            to = replace(self.record, state=state, **changes)
            try:
                self._context.journal.advance(self.record, to, events, at=self._context.clock.unix_time())
            except HypernodeError:
                log.exception("The journal of the run of %s couldn't be written; it goes on", self.record.job)
            self.record = to
        for event in events:
            self._context.announce(event)

    def note(self, **detail: object) -> None:
        """Adds facts for a restart."""
        self.advance(self.record.state, detail={**self.record.detail, **detail})
