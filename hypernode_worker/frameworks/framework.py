"""What a framework is."""

from __future__ import annotations

from dataclasses import dataclass

from hypernode_worker.core.definition import FrameworkName


@dataclass(frozen=True, slots=True)
class FrameworkSpec:
    """One framework.

    Attributes:
        image: used when neither operator nor definition names another.
        default_command: argv of an operation without a command; () where there is none.
    """

    name: FrameworkName
    image: str
    default_command: tuple[str, ...]

    @property
    def bit(self) -> int:
        """Its bit in `Node.frameworks`."""
        return 1 << self.name.on_chain
