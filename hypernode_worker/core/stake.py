"""What a market asks of a node's stake, and what of it is free."""

from __future__ import annotations

from hypernode_worker.core.accounts import Market, MarketTerms, Node


def required_stake(terms: MarketTerms) -> int:
    """Base units of the stake mint without which a node can't claim a single job."""
    return max(terms.min_stake, terms.lock_per_job)


def counted_stake(node: Node | None) -> int:
    """What of a node's stake counts for claims: not what it has asked back."""
    return node.staked - node.unstaking if node else 0


def free_stake(node: Node) -> int:
    """What may be asked back: no open job has it locked."""
    return max(0, node.staked - node.locked)


def jobs_at_once(node: Node, terms: MarketTerms) -> int:
    """How many open jobs the stake is enough for; the node's capacity where the market locks nothing."""
    counted = counted_stake(node)
    if counted < terms.min_stake:
        return 0
    return min(node.capacity, counted // terms.lock_per_job) if terms.lock_per_job else node.capacity


def stake_missing(market: Market, node: Node | None) -> str | None:
    """What there is to do before this node (None: not registered yet) can claim in the market; None: nothing."""
    required, counted = required_stake(market.terms), counted_stake(node)
    if counted >= required:
        return None
    when = "" if node else ", once the worker runs and has registered the node,"
    return (
        f"Market {market.address} asks for a stake of {required:,} base units of {market.stake_mint}, and this node "
        f"has {counted:,}: it can't claim jobs until{when} you run 'hypernode-worker stake add {required - counted}'."
    )
