"""The README's commands of stake, review and disputes, each typed as it stands there."""

from __future__ import annotations

import shlex

from tests.support.clocked_town import ClockedTown
from tests.support.readme import blocks
from tests.support.solana_flow import RESULT, post

COOLDOWN_S = 86_400
"""The default of `market create`."""


def submit(town: ClockedTown) -> str:
    """A job of the client's whose result the node has posted."""
    market = town.market()
    job = town.chain("client", lambda chain: post(chain, market))
    town.chain("node", lambda chain: chain.work_job(job, begin=True))
    running = town.job(str(job.address))
    town.chain(
        "node",
        lambda chain: chain.finish_job(running, result_cid=RESULT, result_hash=bytes(32), exit_status=0),
    )
    return str(job.address)


def test_a_stranger_types_the_readmes_commands(town: ClockedTown) -> None:
    town.new_wallet("anyone")
    mint = town.new_mint(0)
    town.give("node", mint, 1_000)
    known = {"<the mint>": mint, "<the arbiter>": town.new_wallet("arbiter")}
    (block,) = blocks("Stake, review, disputes", "bash")
    for line in block.replace("\\\n", " ").splitlines():
        for placeholder, value in known.items():
            line = line.replace(placeholder, value)
        program, *words = shlex.split(line)
        assert program == "hypernode-worker"
        assert "<" not in line, f"something is left to fill in: {line}"
        if words[:3] == ["stake", "withdraw", "--keypair"]:
            town.advance(COOLDOWN_S)
        said = town.run("nobody", *words, given="y\n")
        if words[:2] == ["market", "create"]:
            town.environment["MARKET_PUBKEY"] = said.strip()
            town.register("node", town.market())
        elif words[:2] == ["stake", "add"]:
            known |= {"<a job>": submit(town), "<another job>": submit(town)}
    view = town.json("node", "stake", "show")
    assert (view["staked"], view["slashed"], view["wallet_balance"]) == (490, 10, 500)
    assert town.json("client", "job", "get", known["<another job>"])["state"] == "settled"
