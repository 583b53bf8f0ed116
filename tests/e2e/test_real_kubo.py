"""A client and a node that share nothing but IPFS: real Kubo in the middle, or at each end with gateways between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypernode_worker.core.types import Cid
from tests.support.chains import RunningChain
from tests.support.ipfs_kubo import Kubo, running_kubo
from tests.support.lying_gateway import LyingGateway, lying_gateway
from tests.support.providers import IMAGE, import_busybox
from tests.support.town import Town, local_environment, make_passable

pytestmark = [pytest.mark.kubo, pytest.mark.docker]

FILES = {
    "run.sh": b"cat input.json data/deep/big | wc -c > $OUTPUT_DIR/size\nmkdir -p $OUTPUT_DIR/a/b\n"
    b"cp -r data $OUTPUT_DIR/a/b/\n",
    "data/empty": b"",
    "data/deep/big": bytes(range(256)) * 12_000,
    "data/deep/ünï côdé": b"named by hand",
}
DEFINITION = {
    "framework": "custom",
    "image": IMAGE,
    "operations": [{"command": "sh run.sh"}],
    "input": {"prompt": "x"},
    "timeout": 60,
}


@pytest.fixture
def town(tmp_path: Path, localnet_chain: RunningChain) -> Town:
    """Everyone with a home, and so an embedded store, of their own."""
    make_passable(tmp_path)
    import_busybox()
    environment = local_environment(tmp_path, CONTAINER_RUNTIME="docker")
    environment |= {"SOLANA_RPC_URL": localnet_chain.rpc_url, "SOLANA_WS_URL": localnet_chain.ws_url}
    town = Town(tmp_path, environment)
    for who in ("client", "node"):
        (tmp_path / f"home-{who}").mkdir()
        town.settings[who] = {"HOME": str(tmp_path / f"home-{who}")}
        town.new_wallet(who, 1)
    environment["MARKET_PUBKEY"] = town.json("client", "market", "create", "--min-price", "1000")["market"]
    for path, data in FILES.items():
        file = tmp_path / "src" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return town


@pytest.fixture
def kubo(tmp_path: Path) -> Iterator[Kubo]:
    with running_kubo(tmp_path / "kubo") as kubo:
        yield kubo


@pytest.fixture
def other_kubo(tmp_path: Path) -> Iterator[Kubo]:
    with running_kubo(tmp_path / "other-kubo") as kubo:
        yield kubo


@pytest.fixture
def liar() -> Iterator[LyingGateway]:
    with lying_gateway() as liar:
        yield liar


def run_job(town: Town, *options: str) -> dict[str, str]:
    """Posts the job, waits for its result; checks every byte of it, and that stores were of one's own."""
    with town.running("node", "start", until="Watching for jobs"):
        arguments = ("--files", "src", "--yes", "--wait", "--out", "result", *options)
        done = town.json("client", "job", "post", town.definition(DEFINITION), *arguments)
    assert (done["state"], done["outcome"], done["signed"]) == ("settled", "completed", True)
    output = town.folder / "result" / "output"
    size = len(FILES["data/deep/big"]) + len(json.dumps(DEFINITION["input"], separators=(",", ":")))
    assert size <= int((output / "size").read_text()) < size + 8
    for path, data in FILES.items():
        if path.startswith("data/"):
            assert (output / "a" / "b" / path).read_bytes() == data, path
    for who in ("client", "node"):
        assert (town.folder / f"home-{who}" / ".local/share/hypernode-worker/ipfs").is_dir()
    assert not (town.folder / ".local").exists()
    return done


def pinned(kubo: Kubo, cid: str) -> bool:
    listed = kubo.repo.run("pin", "ls", "--type=recursive", "--quiet").decode().split()
    return cid in listed


def test_one_kubo_between_client_and_node(town: Town, kubo: Kubo) -> None:
    for who in ("client", "node"):
        town.settings[who]["IPFS_API_URL"] = kubo.api
    done = run_job(town)
    for cid in (done["definition_cid"], done["files_cid"], done["result_cid"]):
        assert pinned(kubo, cid), f"{cid} would be gone after Kubo's next clean-up"
    assert kubo.repo.run("cat", f"{done['files_cid']}/data/deep/big") == FILES["data/deep/big"]
    assert json.loads(kubo.repo.run("cat", f"{done['result_cid']}/manifest.json"))["job"] == done["job"]
    whole = kubo.repo.cid_of(town.folder / "src", chunk_bytes=1 << 20, max_links=1024, shard_by_block=True)
    assert Cid.parse(done["files_cid"]) == Cid.parse(whole)


def test_a_kubo_at_each_end_and_a_lying_gateway_between(
    town: Town, kubo: Kubo, other_kubo: Kubo, liar: LyingGateway
) -> None:
    town.settings["client"] |= {"IPFS_API_URL": kubo.api, "IPFS_GATEWAY": f"{liar.url},{other_kubo.gateway}"}
    town.settings["node"] |= {"IPFS_API_URL": other_kubo.api, "IPFS_GATEWAY": f"{liar.url},{kubo.gateway}"}
    done = run_job(town)
    assert any(done["definition_cid"] in path for path in liar.asked), "the node asked the liar first"
    assert any(done["result_cid"] in path for path in liar.asked), "the client did"
    assert pinned(kubo, done["definition_cid"])
    assert not pinned(kubo, done["result_cid"])
    assert pinned(other_kubo, done["result_cid"])


def test_a_node_that_can_only_read_lies_takes_nothing(town: Town, kubo: Kubo, liar: LyingGateway) -> None:
    town.settings["client"]["IPFS_API_URL"] = kubo.api
    town.settings["node"] |= {"IPFS_GATEWAY": liar.url, "IPFS_TIMEOUT": "2000"}
    with town.running("node", "start", until="Watching for jobs") as worker:
        job = town.json("client", "job", "post", town.definition(DEFINITION), "--files", "src", "--yes")["job"]
        assert "skipped" in town.wait_for(worker, "skipped|claimed")
    seen = town.json("client", "job", "get", job)
    assert (seen["state"], seen["attempts"]) == ("queued", 0)
    assert liar.asked
