"""Turns the decoded fields of accounts into the domain's Market, Node, Job and QueuedJob."""

from __future__ import annotations

import dataclasses
from typing import Any

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import (
    Job,
    JobState,
    Market,
    MarketTerms,
    Node,
    NodeSpecs,
    NodeState,
    QueuedJob,
    Reason,
    Requirements,
)
from hypernode_worker.errors import AccountInvalid
from hypernode_worker.solana.codec import DISCRIMINATOR_BYTES, codec

QUEUED_BYTES = 192
"""Length of the slice of a job account by which workers choose."""
VERSION = 1
"""Version of the account layouts that this package reads."""


def _names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


_TERMS, _SPECS, _REQUIREMENTS = _names(MarketTerms), _names(NodeSpecs), _names(Requirements)
_MARKET = tuple(n for n in _names(Market) if n not in ("address", "terms"))
_NODE = tuple(n for n in _names(Node) if n not in ("address", "specs"))
_JOB = tuple(n for n in _names(Job) if n not in ("address", "requirements"))
_QUEUED = tuple(n for n in _names(QueuedJob) if n not in ("address", "requirements"))


def _pick(raw: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: raw[name] for name in names}


def _decode(kind: str, address: Pubkey, data: bytes) -> dict[str, Any]:
    try:
        raw = codec().decode_account(kind, data)
    except AccountInvalid as error:
        raise AccountInvalid(f"{address}: {error}") from error
    _check_version(kind, address, raw)
    return raw


def _check_version(kind: str, address: Pubkey, raw: dict[str, Any]) -> None:
    if raw["version"] != VERSION:
        raise AccountInvalid(
            f"{address}: {kind} is of version {raw['version']}, this package reads {VERSION}: upgrade hypernode-worker."
        )


def market_from(address: Pubkey, data: bytes) -> Market:
    """Raises AccountInvalid when the bytes are no market."""
    raw = _decode("Market", address, data)
    return Market(address=address, terms=MarketTerms(**_pick(raw, _TERMS)), **_pick(raw, _MARKET))


def node_from(address: Pubkey, data: bytes) -> Node:
    """Raises AccountInvalid when the bytes are no node."""
    raw = _decode("Node", address, data)
    try:
        raw["state"] = NodeState(raw["state"])
    except ValueError as error:
        raise AccountInvalid(f"{address}: {error}.") from error
    return Node(address=address, specs=NodeSpecs(**_pick(raw, _SPECS)), **_pick(raw, _NODE))


def job_from(address: Pubkey, data: bytes) -> Job:
    """Raises AccountInvalid when the bytes are no job."""
    raw = _decode("Job", address, data)
    try:
        raw["state"], raw["reason"] = JobState(raw["state"]), Reason(raw["reason"])
    except ValueError as error:
        raise AccountInvalid(f"{address}: {error}.") from error
    _check_definition(address, raw)
    return Job(address=address, requirements=Requirements(**_pick(raw, _REQUIREMENTS)), **_pick(raw, _JOB))


def queued_from(address: Pubkey, data: bytes) -> QueuedJob:
    """Reads the first 192 bytes of a job account. Raises AccountInvalid when they are none.

    Job.framework and what lies to its right up to byte 192 are in the slice too.
    """
    if len(data) < QUEUED_BYTES:
        raise AccountInvalid(f"{address}: the first {QUEUED_BYTES} bytes of a job are needed, there are {len(data)}.")
    try:
        raw: dict[str, Any] = codec().decode_prefix("Job", data[:QUEUED_BYTES])
        raw["state"] = JobState(raw["state"])
    except (AccountInvalid, ValueError) as error:
        raise AccountInvalid(f"{address}: {error}") from error
    _check_version("Job", address, raw)
    _check_definition(address, raw)
    return QueuedJob(address=address, requirements=Requirements(**_pick(raw, _REQUIREMENTS)), **_pick(raw, _QUEUED))


def account_from(address: Pubkey, data: bytes) -> Market | Node | Job:
    """Reads an account of the program by its discriminator. Raises AccountInvalid when it is none of the three."""
    tags = codec().idl.accounts
    match bytes(data[:DISCRIMINATOR_BYTES]):
        case tag if tag == tags["Job"]:
            return job_from(address, data)
        case tag if tag == tags["Node"]:
            return node_from(address, data)
        case tag if tag == tags["Market"]:
            return market_from(address, data)
        case _:
            raise AccountInvalid(f"{address} is no market, node or job: its first 8 bytes are of none.")


def _check_definition(address: Pubkey, raw: dict[str, Any]) -> None:
    if raw["definition_cid"] is None:
        raise AccountInvalid(f"{address}: the job has no definition CID.")
