"""What a worker tells the service manager that started it: systemd's notify protocol, over a unix datagram socket.

See sd_notify(3). Without NOTIFY_SOCKET nothing is sent. A message that can't be delivered is dropped: the manager's own
time-outs say the rest.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping, MutableMapping

from hypernode_worker.core.events import Event, WorkerDraining, WorkerStarted
from hypernode_worker.errors import ConfigError

log = logging.getLogger(__name__)

TELL_EVERY_S = 10.0
EXTEND_S = 60.0
"""How long the manager is asked to wait for each time while the worker drains; asked anew every TELL_EVERY_S."""


class ServiceManager:
    """The socket of the service manager.

    Attributes:
        watchdog_s: how soon a sign of life must follow another; None: the manager doesn't ask for any.
    """

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        """`address`: a path, or "@" and a name in Linux' abstract namespace; None: there is no manager.

        Raises:
            ConfigError: neither of them.
        """
        if address is not None and not address.startswith(("/", "@")):
            raise ConfigError(f"NOTIFY_SOCKET={address[:100]!r} is no path of a socket; unset it, or mend the service.")
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self.watchdog_s = watchdog_s if address else None

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """What the environment names. Takes the variables out of it: no process started here is to speak for us."""
        address = environment.pop("NOTIFY_SOCKET", "") or None
        usec, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        asked = usec.isdecimal() and int(usec) > 0 and pid in ("", str(os.getpid()))
        return cls(address, int(usec) / 1e6 if asked else None)

    def tell(self, **fields: object) -> None:
        """Sends one message, such as READY=1. Never blocks, never raises."""
        if self._address is None:
            return
        lines = (f"{name}={' '.join(str(value).split())}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.debug("The service manager couldn't be told: %s", error)

    def hear(self, event: Event) -> None:
        """A listener: what the manager must know at once."""
        if isinstance(event, WorkerStarted):
            self.tell(READY=1, STATUS="Watching for jobs.")
        elif isinstance(event, WorkerDraining):
            self.tell(STOPPING=1, EXTEND_TIMEOUT_USEC=int(EXTEND_S * 1e6))

    async def keep_told(self, status: Callable[[], Mapping[str, object]], is_well: Callable[[], bool]) -> None:
        """Until cancelled: what the worker does, its signs of life while it is well, and more time while it drains."""
        every = TELL_EVERY_S if self.watchdog_s is None else min(TELL_EVERY_S, self.watchdog_s / 3)
        while self._address is not None:
            await asyncio.sleep(every)
            seen = status()
            fields: dict[str, object] = {"STATUS": _line(seen)}
            if seen["state"] in ("draining", "stopping"):
                fields["EXTEND_TIMEOUT_USEC"] = int(EXTEND_S * 1e6)
            if self.watchdog_s is not None and is_well():
                fields["WATCHDOG"] = 1
            self.tell(**fields)


def _line(status: Mapping[str, object]) -> str:
    if "capacity" not in status:
        return "Starting."
    refuses = f"; takes none: {status['refuses']}" if status.get("refuses") else ""
    return f"{status['state']}, {status['active_jobs']} of {status['capacity']} jobs{refuses}"
