"""Hands events to the listeners and to the log. It prints nothing."""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Sequence

from hypernode_worker.core.events import (
    DisputeLost,
    Event,
    HealthChecked,
    JobSkipped,
    Listener,
    RunDisputed,
    RunLost,
    RunOwed,
    WarningRaised,
)

log = logging.getLogger("hypernode_worker.node")

_QUIET = (HealthChecked, JobSkipped)
_LOUD = (WarningRaised, RunLost, RunOwed, RunDisputed, DisputeLost)


class Announcer:
    """Calls each listener with each event. A listener that raises is logged, never the worker's end.

    Attributes:
        warnings: the last sentences that the operator should read, newest last.
    """

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        self._listeners = tuple(listeners)
        self.warnings: deque[str] = deque(maxlen=20)

    def __call__(self, event: Event) -> None:
        if isinstance(event, WarningRaised):
            self.warnings.append(event.message)
        level = (
            logging.WARNING
            if isinstance(event, _LOUD)
            else logging.DEBUG
            if isinstance(event, _QUIET)
            else logging.INFO
        )
        if log.isEnabledFor(level):
            log.log(level, "%s", _line(event))
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                log.exception("A listener failed on %s", type(event).__name__)


def _line(event: Event) -> str:
    parts = [f"{field.name}={getattr(event, field.name)}" for field in dataclasses.fields(event)]
    return f"{type(event).__name__} {' '.join(parts)}"[:1000]
