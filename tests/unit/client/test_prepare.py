"""What is checked before a job is posted, and what it says: nothing may be spent on a job that can't be run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from solders.pubkey import Pubkey

from hypernode_worker.client import Client
from hypernode_worker.client.prepare import check_files, check_terms, read_definition
from hypernode_worker.core.accounts import FLAG_NETWORK, Market, MarketTerms
from hypernode_worker.core.definition import MAX_BYTES, JobDefinition
from hypernode_worker.core.ports import ClientChain, ContentStore, Reach
from hypernode_worker.errors import ConfigError, DefinitionInvalid, InsufficientFunds
from tests.support.accounts import make_market

MINIMAL: Mapping[str, object] = {"framework": "custom", "operations": [{"command": "true"}], "timeout": 60}
RENT = 6_000_000


class WalletOf:
    """The reads that `prepare` makes of a chain."""

    def __init__(self, market: Market, *, lamports: int, tokens: int = 0) -> None:
        self._market = market
        self._lamports = lamports
        self._tokens = tokens
        self.wallet = Pubkey.new_unique()

    async def market(self, address: Pubkey) -> Market:
        assert address == self._market.address
        return self._market

    async def job_rent(self, market: Market) -> int:
        return RENT

    async def balance(self, address: Pubkey) -> int:
        return self._lamports

    async def token_balance(self, owner: Pubkey, mint: Pubkey) -> int:
        return self._tokens


class StoreThat:
    def __init__(self, reach: Reach) -> None:
        self.reach = reach


def client_of(
    market: Market, *, lamports: int = 10**9, tokens: int = 0, reach: Reach = Reach.NETWORK, same_machine: bool = False
) -> Client:
    chain = cast("ClientChain", WalletOf(market, lamports=lamports, tokens=tokens))
    return Client(chain, cast("ContentStore", StoreThat(reach)), same_machine=same_machine)


def definition(**changes: object) -> JobDefinition:
    return JobDefinition.from_dict({**MINIMAL, **changes})


def market_with(**terms: int) -> Market:
    return make_market(terms=replace(MarketTerms(), **terms))


async def test_the_quote_is_the_whole_of_what_leaves_the_wallet() -> None:
    market = market_with(min_price=1_000)
    quote = (await client_of(market).prepare(MINIMAL, market=market.address)).quote
    assert (quote.price, quote.timeout_s, quote.deposit) == (1_000, 60, 60_000)
    assert quote.lamports == 60_000 + RENT + quote.fee_lamports


async def test_a_token_job_takes_only_rent_and_fee_in_sol() -> None:
    market = replace(market_with(min_price=5), payment_mint=Pubkey.new_unique())
    quote = (await client_of(market, tokens=300).prepare(MINIMAL, market=market.address)).quote
    assert quote.deposit == 300
    assert quote.lamports == RENT + quote.fee_lamports
    with pytest.raises(InsufficientFunds, match="299 base units"):
        await client_of(market, tokens=299).prepare(MINIMAL, market=market.address)


async def test_too_little_sol_is_said_with_both_sums() -> None:
    market = market_with(min_price=1_000)
    with pytest.raises(InsufficientFunds, match=r"holds 0.001 SOL, and the job takes 0.006065 SOL"):
        await client_of(market, lamports=1_000_000).prepare(MINIMAL, market=market.address)


async def test_content_that_only_this_machine_holds_needs_consent() -> None:
    market = market_with()
    with pytest.raises(ConfigError, match=r"IPFS_API_URL.*IPFS_UPLOAD_TOKEN.*--local-only"):
        await client_of(market, reach=Reach.MACHINE).prepare(MINIMAL, market=market.address)
    assert await client_of(market, reach=Reach.MACHINE, same_machine=True).prepare(MINIMAL, market=market.address)


async def test_secrets_are_not_published_by_mistake() -> None:
    market = market_with()
    secret = {**MINIMAL, "env": {"HF_TOKEN": "hf_abcdef"}}
    with pytest.raises(ConfigError, match=r"HF_TOKEN.*--public-env") as caught:
        await client_of(market).prepare(secret, market=market.address)
    assert "abcdef" not in str(caught.value)
    assert await client_of(market).prepare(secret, market=market.address, public_env=True)


@pytest.mark.parametrize(
    ("market", "changes", "price", "sentence"),
    [
        (replace(market_with(), paused=1), {}, None, "is paused"),
        (market_with(min_price=10), {}, 9, "give --price 10 or more"),
        (market_with(max_timeout=59), {}, None, "above the market's 59 s"),
        (market_with(), {"requirements": {"network": True}}, None, "wants network"),
        (market_with(), {}, 2**63, "more than an account can hold"),
    ],
)
def test_what_the_market_does_not_allow(
    market: Market, changes: dict[str, object], price: int | None, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_terms(definition(**changes), market, price)


def test_network_is_allowed_where_the_market_says_so() -> None:
    assert (
        check_terms(definition(requirements={"network": True}), market_with(flags=FLAG_NETWORK, min_price=3), None) == 3
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "can't be read"),
        (b"[]", "must be a JSON object"),
        (b'{"framework": "custom", "operations": [{"command": "x"}], "prise": 1}', "'prise': no such field"),
        (b'{"framework": "custom", "operations": [{"command": "x", "workdir": "/etc"}]}', "under it"),
        (b" " * (MAX_BYTES + 1), "can't be read"),
    ],
)
def test_bad_definitions_name_the_file_and_the_field(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "job.json"
    path.write_bytes(content)
    with pytest.raises(DefinitionInvalid, match=sentence) as caught:
        read_definition(path)
    assert str(path) in str(caught.value)


def test_a_missing_definition_is_a_wrong_argument(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_definition(tmp_path / "none.json")


def test_folders_that_no_node_would_get(tmp_path: Path) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "a.py").write_text("1")
    check_files(folder, definition())
    with pytest.raises(ConfigError, match="no folder"):
        check_files(folder / "a.py", definition())
    with pytest.raises(ConfigError, match="either --files or"):
        check_files(folder, definition(files="bafkreigbniql4kuqj5n7fk3d5uc3b67v3kadtpqvti4vntar4urx2zmysa"))
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(ConfigError, match="link or a special file"):
        check_files(folder, definition())
