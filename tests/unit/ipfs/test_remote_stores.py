"""Kubo's RPC and pinning services that refuse, lie or break: one clear error each, and no secret in it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from hypernode_worker.core.types import Cid
from hypernode_worker.errors import (
    ConfigError,
    ContentInvalid,
    ContentNotFound,
    EndpointDown,
    HypernodeError,
    RateLimited,
)
from hypernode_worker.ipfs import EmbeddedStore, open_store
from hypernode_worker.ipfs.kubo import KuboStore
from hypernode_worker.ipfs.pinning import PinningService
from hypernode_worker.ipfs.transport import Transport
from tests.support.ipfs_servers import Answer, Request, answering, pinning_service, raw_server

DATA = b"some bytes"
CID = Cid.of(DATA)
TOKEN = "s3cret-token"


def error(message: str) -> Answer:
    return answering(json.dumps({"Message": message, "Code": 0}).encode(), "500 Internal Server Error")


async def kubo_block(answer: Answer, timeout_s: float = 5.0) -> bytes:
    transport = Transport()
    async with raw_server(answer) as server:
        try:
            return await KuboStore(server.url, block_timeout_s=timeout_s, transport=transport).block(CID)
        finally:
            await transport.close()


async def test_kubo_blocks_are_asked_for_by_post_and_verified() -> None:
    transport = Transport()
    async with raw_server(answering(DATA)) as server:
        kubo = KuboStore(server.url + "/api/v0/", auth="bearer:abc", block_timeout_s=7, transport=transport)
        assert await kubo.block(CID) == DATA
        await transport.close()
    request = server.requests[0]
    assert (request.method, request.target) == ("POST", f"/api/v0/block/get?arg={CID}&timeout=7s")
    assert request.headers["authorization"] == "Bearer abc"
    with pytest.raises(ContentInvalid, match="other bytes"):
        await kubo_block(answering(b"lies"))
    with pytest.raises(ContentInvalid, match="more for"):
        await kubo_block(answering(bytes(3 << 20)))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error("block was not found locally (offline): ipld: could not find bafk"), ContentNotFound),
        (error("context deadline exceeded"), ContentNotFound),
        (error("disk on fire"), EndpointDown),
        (answering(b"nonsense", "500 Oh"), EndpointDown),
        (answering(b"", "403 Forbidden"), ConfigError),
        (answering(b"", "404 Not Found"), EndpointDown),
        (answering(b"", "405 Method Not Allowed"), EndpointDown),
        (answering(b"", "429 Too Many Requests", Retry_After="3"), RateLimited),
        (answering(b"", "502 Bad Gateway"), EndpointDown),
        (answering(b"", "302 Found", Location="http://127.0.0.1:9/"), EndpointDown),
    ],
)
async def test_what_kubo_says_becomes_our_error(answer: Answer, expected: type[HypernodeError]) -> None:
    with pytest.raises(expected):
        await kubo_block(answer)


async def test_a_silent_kubo_is_given_up() -> None:
    async def silent(_request: Request, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    with pytest.raises(EndpointDown, match="didn't answer"):
        await kubo_block(silent, timeout_s=-1.8)  # Kubo gets two seconds more


@pytest.mark.parametrize("auth", ["abc", "basic:me", "digest:x"])
async def test_bad_kubo_credentials_are_said_without_them(auth: str) -> None:
    with pytest.raises(ConfigError) as caught:
        KuboStore("http://127.0.0.1:5001", auth=auth, block_timeout_s=1, transport=Transport())
    assert auth not in str(caught.value)


async def add_to_kubo(folder: Path, answer: Answer) -> Cid:
    async with raw_server(answer) as server:
        store = open_store(blocks_dir=folder, kubo_url=server.url)
        try:
            return await store.add_bytes(DATA)
        finally:
            await store.close()


def kubo_that(imported: Answer, listed: Answer) -> Answer:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        await (imported if "dag/import" in request.target else listed)(request, writer)

    return answer


IMPORTED = answering(json.dumps({"Root": {"Cid": {"/": str(CID)}, "PinErrorMsg": ""}}).encode())
LISTED = answering(json.dumps({"Keys": {str(CID): {"Type": "recursive"}}}).encode())


async def test_kubo_must_confirm_import_and_pin(tmp_path: Path) -> None:
    assert await add_to_kubo(tmp_path, kubo_that(IMPORTED, LISTED)) == CID
    pin_failed = answering(json.dumps({"Root": {"Cid": {"/": str(CID)}, "PinErrorMsg": "no room"}}).encode())
    cases = {
        "no room": kubo_that(pin_failed, LISTED),
        "didn't confirm": kubo_that(answering(b""), LISTED),
        "disk full": kubo_that(error("disk full"), LISTED),
        "doesn't list its pin": kubo_that(IMPORTED, error(f"path '{CID}' is not pinned")),
        "refused pin/ls": kubo_that(IMPORTED, answering(b"", "404 Not Found")),
    }
    for why, answer in cases.items():
        with pytest.raises(EndpointDown, match=why):
            await add_to_kubo(tmp_path, answer)
    assert EmbeddedStore(tmp_path).get(CID) == DATA  # what is written stays here whatever happens there


async def pin_to(folder: Path, url: str, token: str = TOKEN) -> Cid:
    store = open_store(blocks_dir=folder, upload_url=url, upload_token=token)
    try:
        return await store.add_bytes(DATA)
    finally:
        await store.close()


async def test_the_json_endpoint_leads_to_the_file_endpoint(tmp_path: Path) -> None:
    async with pinning_service(tmp_path / "there", token=TOKEN) as service:
        json_url = service.url.replace("pinFileToIPFS", "pinJSONToIPFS")
        assert await pin_to(tmp_path / "here", json_url) == CID
        assert service.uploads == [[str(CID)]]


@pytest.mark.parametrize("lie", ["bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "QmNonsense", ""])
async def test_a_service_that_makes_another_cid_is_refused(tmp_path: Path, lie: str) -> None:
    async with pinning_service(tmp_path / "there", token=TOKEN) as service:
        service.lie = lie
        with pytest.raises(ContentInvalid, match="profile"):
            await pin_to(tmp_path / "here", service.url)


async def test_a_service_that_names_no_cid_is_refused(tmp_path: Path) -> None:
    async with pinning_service(tmp_path / "there", token=TOKEN) as service:
        service.lie = 7
        with pytest.raises(EndpointDown, match="IpfsHash"):
            await pin_to(tmp_path / "here", service.url)


async def test_a_refused_token_is_said_without_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with pinning_service(tmp_path / "there", token="another") as service:
        with pytest.raises(ConfigError, match="refuses the credentials") as caught:
            await pin_to(tmp_path / "here", service.url)
    assert TOKEN not in f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"


@pytest.mark.parametrize("token", ["with space", "line\nbreak", "ünicode"])
async def test_a_token_that_can_not_be_one_is_refused(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PinningService("https://pin.example/pinning/pinFileToIPFS", token, transport=Transport())
    assert token not in str(caught.value)


async def test_empty_directories_are_left_out_for_a_service(tmp_path: Path) -> None:
    (tmp_path / "result" / "output").mkdir(parents=True)
    async with pinning_service(tmp_path / "there", token=TOKEN) as service:
        store = open_store(blocks_dir=tmp_path / "here", upload_url=service.url, upload_token=TOKEN)
        with pytest.raises(ContentInvalid, match="no file in this directory"):
            await store.add_path(tmp_path / "result")
        (tmp_path / "result" / "manifest.json").write_text("{}")
        cid = await store.add_path(tmp_path / "result")
        assert await store.has(cid)
        await store.close()
    assert service.uploads == [[f"{cid}/manifest.json"]]


async def test_names_that_no_form_can_carry_are_refused(tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / 'a"\r\nX: y').write_text("x")
    async with pinning_service(tmp_path / "there", token=TOKEN) as service:
        store = open_store(blocks_dir=tmp_path / "here", upload_url=service.url, upload_token=TOKEN)
        with pytest.raises(ContentInvalid, match="control characters"):
            await store.add_path(tmp_path / "result")
        await store.close()
    assert service.uploads == []
