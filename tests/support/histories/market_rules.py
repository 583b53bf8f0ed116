"""What the rules say of markets, nodes and stake: one function an instruction."""

from __future__ import annotations

from dataclasses import replace

from solders.pubkey import Pubkey

from hypernode_worker.core.accounts import NATIVE_MINT, Market, MarketTerms, Node, NodeSpecs, NodeState
from hypernode_worker.core.types import Slot, UnixTime
from hypernode_worker.solana.addresses import SYSTEM_PROGRAM, TOKEN_PROGRAM
from tests.support.histories import money_rules as money
from tests.support.histories.books import RECORD_BYTES, U64, Draft, need

MONTH = 30 * 86_400
_TERMS = tuple(MarketTerms.__dataclass_fields__)
_SPECS = tuple(NodeSpecs.__dataclass_fields__)


def create_market(draft: Draft) -> None:
    authority = draft.signer("authority")
    draft.is_at("system_program", SYSTEM_PROGRAM)
    payment, stake = (_mint(draft, name) for name in ("payment_mint", "stake_mint"))
    terms, number = _terms(draft), draft.told.number("market_id")
    _check(draft, terms, stake)
    address, bump = Pubkey.find_program_address(
        [b"market", bytes(authority), number.to_bytes(8, "little")], draft.told.program.id
    )
    draft.is_at("market", address)
    draft.open(authority, address, RECORD_BYTES[Market])
    draft.put(Market(address, 1, bump, 0, number, authority, payment, stake, Slot(draft.slot), draft.slot, terms))


def update_market(draft: Draft) -> None:
    market = draft.load("market", Market)
    need(draft.signer("authority") == market.authority, "not the authority")
    terms = _terms(draft)
    _check(draft, terms, market.stake_mint)
    paused = int(bool(draft.told.args["paused"]))
    draft.put(replace(market, terms=terms, paused=paused, revision=market.revision + 1))


def close_market(draft: Draft) -> None:
    market = draft.load("market", Market)
    need(draft.signer("authority") == market.authority, "not the authority")
    need(draft.slot > max(market.created_slot, market.revision), "a market made again would be like this one")
    draft.close(market.address, market.authority)


def register_node(draft: Draft) -> None:
    authority, market = draft.signer("authority"), draft.load("market", Market, write=False)
    specs = NodeSpecs(**{name: draft.told.args[name] for name in _SPECS})  # type: ignore[arg-type]
    capacity, payout = draft.told.number("capacity"), draft.told.args["payout"]
    assert isinstance(payout, Pubkey)
    need(capacity > 0, "no capacity")
    need(payout not in (NATIVE_MINT, draft.told.program.id), "no payout")
    need(specs.isolation <= 1 and specs.gpu_vendor <= 3, "unknown specs")
    if draft.record(draft.told.keys["node"]) is None:
        node = _new_node(draft, market, authority, payout, specs)
    else:
        node = draft.load("node", Node)
        need(node.authority == authority and node.market == market.address, "another's node")
        need(node.market_slot == market.created_slot, "of an earlier market")
        signed = draft.given("old_payout") == node.payout and node.payout in draft.told.signers
        need(payout == node.payout or node.payout == authority or signed, "the old payout hasn't signed")
    draft.put(replace(node, payout=payout, capacity=capacity, specs=specs, last_seen=UnixTime(draft.time)))


def _new_node(draft: Draft, market: Market, authority: Pubkey, payout: Pubkey, specs: NodeSpecs) -> Node:
    draft.is_at("system_program", SYSTEM_PROGRAM)
    address, bump = Pubkey.find_program_address(
        [b"node", bytes(market.address), bytes(authority)], draft.told.program.id
    )
    draft.is_at("node", address)
    draft.open(authority, address, RECORD_BYTES[Node])
    never, now = UnixTime(0), UnixTime(draft.time)
    return Node(
        address, 1, bump, NodeState.ACTIVE, specs, market.address, authority, payout, 1, 0, market.terms.start_credit,
        0, market.terms.unstake_cooldown, market.created_slot, 0, 0, 0, 0, never, 0, 0, 0, 0, 0, 0, 0, never, now, now,
    )  # fmt: skip


def heartbeat_node(draft: Draft) -> None:
    node = draft.load("node", Node)
    need(draft.signer("authority") == node.authority, "not the authority")
    state = draft.told.number("state")
    need(state in (0, 1), "no such state")
    draft.put(replace(node, state=NodeState(state), last_seen=UnixTime(draft.time)))


def deregister_node(draft: Draft) -> None:
    node = draft.load("node", Node)
    _owned(draft, node)
    draft.is_at("payout", node.payout)
    need(node.open_jobs == 0 and node.staked == 0, "the node has jobs or stake")
    address = draft.books.program.stake_address(node.address)
    vault = draft.token(address)
    if vault is not None:
        draft.is_at("vault", address)
        draft.writable(address)
        draft.is_at("token_program", TOKEN_PROGRAM)
        draft.is_at("stake_mint", vault.mint)
        draft.burn(address, vault.mint)
        draft.close(address, node.payout)
    draft.close(node.address, node.payout)


def stake(draft: Draft) -> None:
    funder, amount = draft.signer("funder"), draft.told.number("amount")
    draft.is_at("token_program", TOKEN_PROGRAM)
    market, node = draft.load("market", Market, write=False), draft.load("node", Node)
    need(node.market == market.address and node.market_slot == market.created_slot, "of another market")
    need(market.stake_mint != NATIVE_MINT, "no stake here")
    draft.is_at("stake_mint", market.stake_mint)
    need(node.state == NodeState.ACTIVE or funder in (node.authority, node.payout), "a stranger's, as the node leaves")
    need(amount > 0 and node.staked + amount <= U64, "no such amount")
    vault = money.open_vault(draft, node, market, funder)
    money.pay_stake_in(draft, vault, funder, amount)
    draft.put(replace(node, staked=node.staked + amount))


def request_unstake(draft: Draft) -> None:
    node, amount = draft.load("node", Node), draft.told.number("amount")
    _owned(draft, node)
    need(amount <= node.staked - node.locked, "locked")
    draft.put(replace(node, unstaking=amount, unstake_at=UnixTime(draft.time + node.unstake_cooldown)))


def withdraw_stake(draft: Draft) -> None:
    node = draft.load("node", Node)
    draft.is_at("token_program", TOKEN_PROGRAM)
    need(node.unstaking > 0 and draft.time >= node.unstake_at, "not yet")
    vault = draft.books.program.stake_address(node.address)
    draft.is_at("vault", vault)
    to = draft.token(draft.told.keys["to"])
    need(to is not None and to.owner == node.payout, "not the payout wallet's")
    draft.transfer(vault, draft.told.keys["to"], node.unstaking)
    draft.put(replace(node, staked=node.staked - node.unstaking, unstaking=0))


def _owned(draft: Draft, node: Node) -> None:
    need(draft.signer("owner") in (node.authority, node.payout), "not the owner")


def _mint(draft: Draft, name: str) -> Pubkey:
    key = draft.given(name)
    if key is None:
        return NATIVE_MINT
    need(key in draft.books.supplies, "no mint")
    return key


def _terms(draft: Draft) -> MarketTerms:
    return MarketTerms(**{name: draft.told.args[name] for name in _TERMS})  # type: ignore[arg-type]


def _check(draft: Draft, terms: MarketTerms, stake_mint: Pubkey) -> None:
    need(max(terms.fee_bps, terms.slash_bps, terms.bond_bps) <= 10_000, "more than the whole")
    need(terms.start_credit <= 200 and terms.flags <= 3, "no such credit or flags")
    need(terms.max_attempts > 0 and terms.max_capacity > 0, "nothing would run")
    needed = (terms.max_timeout, terms.setup_timeout, terms.queue_timeout, terms.finish_grace)
    others = (terms.review_period, terms.resolve_timeout, terms.heartbeat_timeout, terms.unstake_cooldown)
    need(min(needed) > 0 and max(*needed, *others) <= MONTH, "no such period")
    decided = terms.resolve_timeout > 0 and terms.arbiter != NATIVE_MINT
    need(terms.review_period == 0 or decided, "nobody would decide")
    need(terms.claim_spread_slots <= 2 * terms.queue_timeout, "nobody could claim")
    need(terms.fee_receiver != draft.told.program.id, "no fee receiver")
    need(terms.fee_bps == 0 or terms.fee_receiver != NATIVE_MINT, "no fee receiver")
    need(stake_mint != NATIVE_MINT or (terms.min_stake == 0 and terms.lock_per_job == 0), "stake of what")
