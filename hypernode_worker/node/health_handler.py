"""HealthHandler: looks at GPUs, memory, disk and balance now and then, and says what an operator should do."""

from __future__ import annotations

import asyncio
import logging

from hypernode_worker.core.events import HealthChecked, WarningEnded, WarningRaised
from hypernode_worker.core.ports import Hardware, HostUsage
from hypernode_worker.errors import HypernodeError
from hypernode_worker.node.clocks import SKEW_S
from hypernode_worker.node.disk_keeper import DiskKeeper
from hypernode_worker.node.fee_budget import FeeBudget
from hypernode_worker.node.run_context import RunContext

log = logging.getLogger(__name__)

_HOT_C = 90.0
_FULL = 0.95
_PATIENCE_S = 600.0


class HealthHandler:
    """The machine's last seen state.

    Attributes:
        usage: None before the first look.
        balance_lamports: of the wallet that pays fees.
        looked_at, answered_at: when the machine was last looked at, and when the chain last answered, in the loop's
            time.
    """

    def __init__(
        self,
        context: RunContext,
        hardware: Hardware,
        *,
        budget: FeeBudget,
        disk: DiskKeeper,
        balance_lamports: int,
    ) -> None:
        self._context = context
        self._budget = budget
        self._hardware = hardware
        self._disk = disk
        self.looked_at = self.answered_at = asyncio.get_running_loop().time()
        self._warned: frozenset[str] = frozenset()
        self.usage: HostUsage | None = None
        self.balance_lamports = balance_lamports

    @property
    def disk_used_bytes(self) -> int | None:
        """What this worker takes of the disk, where there is a quota."""
        return self._disk.used_bytes

    async def watch(self) -> None:
        """Checks once an interval until running jobs are to be given up, or are over."""
        while True:
            await self.check()
            if await self._context.stop.wait_now(self._context.settings.health_interval_s):
                return

    async def check(self) -> None:
        """One look. What fails is logged: a check must not be what ends a worker."""
        loop = asyncio.get_running_loop()
        await self._disk.make_room()
        try:
            self.usage = await self._hardware.usage()
            self.looked_at = loop.time()
            self._context.announce(HealthChecked(self.usage))
        except HypernodeError as error:
            log.warning("The machine couldn't be looked at: %s", error)
        try:
            self.balance_lamports = await self._context.chain.balance(self._context.chain.wallet)
            self.answered_at = loop.time()
        except HypernodeError as error:
            log.warning("The balance couldn't be read: %s", error)
        found = {warning.split(":")[0]: warning for warning in self.warnings()}
        for name in found.keys() - self._warned:
            self._context.announce(WarningRaised(found[name]))
        for name in self._warned - found.keys():
            self._context.announce(WarningEnded(name))
        self._warned = frozenset(found)

    def refuses(self) -> str | None:
        """Why no job should be claimed now; None when all is well enough."""
        settings = self._context.settings
        if self.balance_lamports < settings.balance_floor_lamports:
            return self._poor()
        return self._disk.refuses() or self._overspent()

    def is_well(self, *, busy: bool) -> bool:
        """What a service manager's watchdog is told by; False: only a restart can help.

        While jobs run a silent chain is no reason: without its worker a container has nobody who bounds its disk.
        """
        oldest = self.looked_at if busy else min(self.looked_at, self.answered_at)
        patience_s = max(_PATIENCE_S, 3 * self._context.settings.health_interval_s)
        return asyncio.get_running_loop().time() - oldest < patience_s

    def warnings(self) -> list[str]:
        """Sentences about what is wrong now; each begins with a word of its own and a colon."""
        found: list[str] = []
        settings, usage = self._context.settings, self.usage
        if self.balance_lamports < settings.balance_floor_lamports:
            found.append(self._poor())
        if (overspent := self._overspent()) is not None:
            found.append(overspent)
        if disk := self._disk.refuses():
            found.append(disk)
        skew_s = self._context.chain_clock.skew_s
        if abs(skew_s) > SKEW_S:
            where = "ahead of" if skew_s > 0 else "behind"
            found.append(
                f"Clock: this machine's is {abs(skew_s):.0f} s {where} the chain's; set it with "
                "'timedatectl set-ntp true'. Jobs don't suffer from it: their deadlines are taken from the chain."
            )
        if usage is None:
            return found
        if usage.memory_bytes and usage.memory_used_bytes / usage.memory_bytes > _FULL:
            found.append("Memory: more than 95% is in use; lower CAPACITY or the limits of jobs.")
        for gpu in usage.gpus:
            if gpu.temperature_c is not None and gpu.temperature_c >= _HOT_C:
                found.append(f"GPU {gpu.uuid}: it is at {gpu.temperature_c:.0f} C; see to its cooling.")
        missing = {gpu.uuid for gpu in self._context.host.gpus} - {gpu.uuid for gpu in usage.gpus}
        if missing:
            found.append(f"GPU lost: {', '.join(sorted(missing))} no longer answers; check its driver.")
        return found

    def _overspent(self) -> str | None:
        return self._budget.refuses(self._context.clock.unix_time())

    def _poor(self) -> str:
        return (
            f"Balance: the wallet {self._context.chain.wallet} holds {self.balance_lamports} lamports, too few for "
            f"fees; fill it up to {self._context.settings.balance_floor_lamports} (BALANCE_FLOOR). "
            "No job is taken until then; what is held is brought to its end."
        )
