"""The whole story by commands, on the localnet and on Solana's own validator, its books kept to the lamport."""

from __future__ import annotations

import json
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from hypernode_worker.solana.addresses import token_address
from tests.support.books import fees_paid, lamports, new_token, tokens
from tests.support.chains import RunningChain
from tests.support.providers import IMAGE, import_busybox
from tests.support.town import Town, local_environment, make_passable

# Dozens of commands, each a process: a busy machine takes its time.
pytestmark = pytest.mark.timeout(300)
SOL = 10**9
FLOOR, PRICE = 1_000, 3_000
PEOPLE = {"owner": 1, "client": 2, "node": 1}


class Story(Town):
    """One market with an owner, a client and a node, on a chain that others use too."""

    def __init__(self, folder: Path, chain: RunningChain, runtime: str) -> None:
        settings = {"SOLANA_RPC_URL": chain.rpc_url, "SOLANA_WS_URL": chain.ws_url, "CONTAINER_RUNTIME": runtime}
        super().__init__(folder, local_environment(folder, **settings))
        self.rpc_url = chain.rpc_url
        self.runtime = runtime
        self.wallets = {who: self.new_wallet(who, sol) for who, sol in PEOPLE.items()}

    def keypair(self, who: str) -> Keypair:
        return Keypair.from_bytes(bytes(json.loads((self.folder / f"{who}.json").read_text())))

    def open_market(self, *options: str) -> str:
        made = self.json("owner", "market", "create", "--min-price", str(FLOOR), "--fee-bps", "250", *options)
        self.environment["MARKET_PUBKEY"] = made["market"]
        return str(made["market"])

    def job(self, command: str, timeout: int = 60) -> dict[str, object]:
        definition: dict[str, object] = {
            "framework": "custom",
            "operations": [{"command": command}],
            "timeout": timeout,
        }
        if self.runtime == "docker":
            return definition | {"image": IMAGE}
        return definition | {"requirements": {"trust": "low"}}

    def worker(self) -> AbstractContextManager[subprocess.Popen[str]]:
        """A node that wants more than the market's floor: what is posted for less stays queued."""
        return self.running("node", "start", "--set", f"MIN_PRICE={FLOOR + 1}", until="Watching for jobs")

    def lamports(self) -> int:
        return sum(lamports(self.rpc_url, wallet) for wallet in self.wallets.values())

    def fees(self) -> int:
        return fees_paid(self.rpc_url, list(self.wallets.values()))


@pytest.fixture(
    params=[
        ("localnet", "process"),
        pytest.param(("validator", "docker"), marks=[pytest.mark.validator, pytest.mark.docker]),
    ],
    ids="-".join,
)
def story(request: pytest.FixtureRequest, tmp_path: Path) -> Story:
    """The same on both: what passes on one chain and fails on the other is a bug. Both runtimes take part."""
    name, runtime = request.param
    make_passable(tmp_path)
    if runtime == "docker":
        import_busybox()
    return Story(tmp_path, request.getfixturevalue(f"{name}_chain"), runtime)


def test_the_whole_story(story: Story) -> None:
    market, folder = story.open_market(), story.folder
    assert story.json("client", "market", "show")["authority"] == story.wallets["owner"]
    assert market in [each["market"] for each in story.json("client", "market", "list")]
    (folder / "src" / "deep").mkdir(parents=True)
    (folder / "src" / "deep" / "hello").write_text("hello\n")
    with story.worker() as worker:
        good = story.job('cat deep/hello > "$OUTPUT_DIR/copy"; sleep 2')
        options = ("--files", "src", "--price", str(PRICE), "--wait", "--out", "result")
        done = story.json("client", "job", "post", story.definition(good), "--yes", *options)
        assert (done["state"], done["outcome"], done["exit_status"], done["signed"]) == (
            "settled",
            "completed",
            0,
            True,
        )
        assert (folder / "result" / "output" / "copy").read_text() == "hello\n"
        assert done["deposit"] == 60 * PRICE == done["paid"] + done["fee"] + done["refunded"]
        assert done["paid"] + done["fee"] == PRICE * done["used"]
        assert done["fee"] == PRICE * done["used"] * 250 // 10_000

        long = story.post(story.job("sleep 120", timeout=300), options=("--price", str(PRICE)))
        story.wait_for(worker, "operation 0 started")
        story.run("client", "job", "extend", long, "30", "--yes")
        story.run("client", "job", "stop", long)
        stopped = story.json("client", "job", "get", long, "--wait")
        assert (stopped["state"], stopped["exit_status"], stopped["timeout"]) == ("settled", 143, 330)
        assert stopped["deposit"] == 330 * PRICE
        assert stopped["used"] < 60

        cheap = story.post(good | {"operations": [{"command": "true"}]}, options=("--price", str(FLOOR)))
        story.run("client", "job", "cancel", cheap)
        cancelled = story.json("client", "job", "get", cheap)
        assert (cancelled["state"], cancelled["refunded"]) == ("cancelled", 60 * FLOOR)

        assert {each["job"] for each in story.json("client", "job", "list")} == {done["job"], long, cheap}
        assert "Verified" in story.run("client", "job", "result", long, "again")
        for job in (done["job"], long, cheap):
            story.run("client", "job", "close", job)
        assert story.json("client", "job", "list") == []
        node = story.json("node", "node", "show")
        assert node["earned"] == done["paid"] + stopped["paid"]
        story.run("node", "stop")
        assert worker.wait(timeout=30) == 0
    story.run("node", "node", "deregister")
    assert story.json("node", "node", "list") == []
    kept = lamports(story.rpc_url, market)
    assert story.lamports() + story.fees() + kept == sum(PEOPLE.values()) * SOL


def test_a_market_that_is_paid_in_a_token(tmp_path: Path, chain: RunningChain) -> None:
    make_passable(tmp_path)
    story = Story(tmp_path, chain, "process")
    wallets, minted = story.wallets, 10_000_000
    mint = new_token(chain.rpc_url, story.keypair("owner"), {wallets["client"]: minted})
    market = story.open_market("--payment-mint", str(mint))
    with story.worker() as worker:
        options = ("--price", str(PRICE), "--wait", "--out", "result")
        done = story.json("client", "job", "post", story.definition(story.job("sleep 1")), "--yes", *options)
        assert (done["state"], done["payment_mint"]) == ("settled", str(mint))
        assert (done["owed_node"], done["owed_client"], done["owed_fee"]) == (0, 0, 0)
        assert done["deposit"] == 60 * PRICE == done["paid"] + done["fee"] + done["refunded"]
        assert done["fee"] > 0, "the market's owner had no token account: 'market create' made it"
        assert "SOL" not in story.run("client", "job", "get", done["job"])
        cheap = story.post(story.job("true"), options=("--price", str(FLOOR)))
        assert tokens(chain.rpc_url, wallets["client"], mint) == minted - done["paid"] - done["fee"] - 60 * FLOOR
        story.run("client", "job", "cancel", cheap)
        for job in (done["job"], cheap):
            story.run("client", "job", "close", job)
        story.run("node", "stop")
        assert worker.wait(timeout=30) == 0
    story.run("node", "node", "deregister")
    held = {who: tokens(chain.rpc_url, wallet, mint) for who, wallet in wallets.items()}
    assert held == {"owner": done["fee"], "node": done["paid"], "client": minted - done["fee"] - done["paid"]}
    accounts = [token_address(Pubkey.from_string(wallet), mint) for wallet in wallets.values()]
    kept = sum(lamports(chain.rpc_url, account) for account in (market, mint, *accounts))
    assert story.lamports() + story.fees() + kept == sum(PEOPLE.values()) * SOL
