"""What every method gets: the bank, and the answers that carry a context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hypernode_worker.localnet.bank import Bank
from hypernode_worker.localnet.json_types import Json, JsonObject
from hypernode_worker.localnet.rpc.errors import MIN_CONTEXT_SLOT_NOT_REACHED, RpcError, invalid_params
from hypernode_worker.localnet.rpc.params import Config, Params

API_VERSION = "4.1.2"
"""The Agave release whose answers these follow; clients read it from `context.apiVersion` and getVersion."""


@dataclass(frozen=True, slots=True)
class Context:
    """The bank and the limits of the methods."""

    bank: Bank
    airdrop_cap_lamports: int | None = None

    def wrap(self, value: Json) -> JsonObject:
        """`value` with the slot that it was read at."""
        return {"context": {"apiVersion": API_VERSION, "slot": self.bank.slot}, "value": value}

    def config(self, params: Params, index: int) -> Config:
        """A method's options, with `minContextSlot` honoured. A bare commitment text is no option."""
        config = params.config(index)
        self.check_min_slot(config)
        return config

    def check_min_slot(self, config: Config) -> None:
        """Raises RpcError while the chain hasn't reached the slot that the client asks for."""
        config.text("commitment")
        wanted = config.integer("minContextSlot")
        if wanted is not None and wanted > self.bank.slot:
            message = "Minimum context slot has not been reached"
            raise RpcError(MIN_CONTEXT_SLOT_NOT_REACHED, message, {"contextSlot": self.bank.slot})


@dataclass(frozen=True, slots=True)
class Method:
    """One method: its implementation and how many params it takes."""

    run: Callable[[Context, Params], Json]
    least: int
    most: int


Methods = Mapping[str, Method]


def refuse_processed(config: Config) -> None:
    """History is of confirmed blocks only."""
    if config.text("commitment") == "processed":
        raise invalid_params("Method does not support commitment below `confirmed`")
