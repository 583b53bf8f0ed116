"""What each account costs in rent, and what comes back: measured from balances on the SVM."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.market_world import SPECS, World
from tests.support.svm import SOL

PRICE, TIMEOUT = 1_000, 600


@dataclass(frozen=True, slots=True)
class Rent:
    """Lamports that `payer` gave when the account was made, and that `receiver` had back when it was closed."""

    what: str
    payer: str
    paid: int
    closed_by: str
    receiver: str
    back: int


def measure() -> list[Rent]:
    return [_job(spl=False), _job(spl=True), _node(), _vault(), _market()]


def _job(*, spl: bool) -> Rent:
    """A job that is posted, run, paid and closed; its deposit is not rent."""
    world = World(spl=spl)
    start = world.svm.lamports(world.client.pubkey())
    job = world.post(price=PRICE, timeout=TIMEOUT)
    paid = start - world.svm.lamports(world.client.pubkey()) - (0 if spl else PRICE * TIMEOUT)
    world.claim(job, begin=True)
    world.svm.advance(60)
    world.finish(job)
    ended = world.svm.lamports(world.client.pubkey())
    world.close(job)
    back = world.svm.lamports(world.client.pubkey()) - ended
    return Rent("job, SPL" if spl else "job, native", "client", paid, "close_job", "client", back)


def _node() -> Rent:
    world = World()
    operator, payout = world.svm.wallet(), world.svm.wallet()
    start, before = world.svm.lamports(operator.pubkey()), world.svm.lamports(payout.pubkey())
    node = world.svm.node(world.register(operator, payout=payout.pubkey(), specs=SPECS))
    paid = start - world.svm.lamports(operator.pubkey())
    world.send(world.program.deregister_node(node), operator)
    back = world.svm.lamports(payout.pubkey()) - before
    return Rent("node", "its authority", paid, "deregister_node", "payout wallet", back)


def _vault() -> Rent:
    """A node's stake account, beyond the node's own rent."""
    world = World(staking=True)
    world.svm.tokens(world.payout.pubkey(), world.stake_mint)
    funder = world.svm.wallet()
    start = world.svm.lamports(funder.pubkey())
    world.stake(5, funder=funder)
    paid = start - world.svm.lamports(funder.pubkey())
    world.unstake(5)
    world.svm.advance(86_400)
    world.withdraw()
    before = world.svm.lamports(world.payout.pubkey()) + world.svm.lamports(world.node_key)
    world.send(world.program.deregister_node(world.node, stake_mint=world.stake_mint), world.operator)
    back = world.svm.lamports(world.payout.pubkey()) - before
    return Rent("stake of a node", "first to stake", paid, "deregister_node", "payout wallet", back)


def _market() -> Rent:
    world = World()
    start = world.svm.lamports(world.owner.pubkey())
    market = world.make_market()
    paid = start - world.svm.lamports(world.owner.pubkey())
    world.svm.advance(1)
    left = world.svm.lamports(world.owner.pubkey())
    world.send(world.program.close_market(world.owner.pubkey(), market), world.owner)
    back = world.svm.lamports(world.owner.pubkey()) - left
    return Rent("market", "its authority", paid, "close_market", "its authority", back)


def table(rents: list[Rent]) -> str:
    """Markdown, in SOL."""
    lines = ["| account | paid by | SOL | comes back by | to | SOL |", "|---|---|---:|---|---|---:|"]
    for rent in rents:
        paid, back = (f"{amount / SOL:.8f}" for amount in (rent.paid, rent.back))
        lines.append(f"| {rent.what} | {rent.payer} | {paid} | {rent.closed_by} | {rent.receiver} | {back} |")
    return "\n".join(lines)
