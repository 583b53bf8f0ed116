"""The manifest of a result: what ran where, how it ended, and the sha256 of each file, signed by the node's key.

A result is a directory: manifest.json, logs/00.log, logs/01.log ..., and output/** (what the job wrote to
$OUTPUT_DIR). The root's CID is the job's result_cid; sha256 of manifest.json's exact bytes is its result_hash, so that
cid, hash and signature each commit to every byte. The signature covers the canonical JSON of all other fields behind
a prefix whose first byte no Solana transaction begins with: what a node signs here can never move its money.

`core.result_directory` compares a fetched directory with its manifest.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError, field_validator
from solders.pubkey import Pubkey
from solders.signature import Signature

from hypernode_worker.core.outcome import RunOutcome
from hypernode_worker.core.strict_json import canonical_json, parse_strict_json
from hypernode_worker.errors import ResultInvalid

MANIFEST = "manifest.json"
LOGS = "logs"
OUTPUT = "output"
VERSION = 1
MAX_MANIFEST_BYTES = 16 * 1024 * 1024
MAX_FILES = 20_000
MAX_MESSAGE_CHARS = 1_000

_PREFIX = b"\xffhypernode result manifest v1\n"
_SHA256 = re.compile(r"[0-9a-f]{64}")

_Time = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
_Short = Annotated[StrictStr, Field(max_length=512)]
_Count = Annotated[StrictInt, Field(ge=0, le=2**63 - 1)]
_Share = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ResultFile(_Strict):
    """One file of the result; `path` is relative, under logs/ or output/."""

    path: Annotated[StrictStr, Field(min_length=1, max_length=4096)]
    bytes: _Count
    sha256: StrictStr

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str) -> str:
        inside = value.startswith((f"{LOGS}/", f"{OUTPUT}/"))
        if not inside or posixpath.normpath(value) != value or "\0" in value or ".." in value.split("/"):
            raise ValueError(f"must be a normalised path under {LOGS}/ or {OUTPUT}/")
        return value

    @field_validator("sha256")
    @classmethod
    def _check_sha256(cls, value: str) -> str:
        if not _SHA256.fullmatch(value):
            raise ValueError("must be 64 hexadecimal digits")
        return value


class OperationResult(_Strict):
    """How one operation ended; exit_code is None when it never started.

    Attributes:
        reason: how its container ended ('exited', 'out_of_memory', ...; 'not_started').
        cpu_seconds, max_memory_bytes: None where the provider can't tell.
    """

    index: _Count
    exit_code: StrictInt | None
    reason: _Short
    started_at: _Time | None = None
    ended_at: _Time | None = None
    cpu_seconds: _Share | None = None
    max_memory_bytes: _Count | None = None


class ImageUsed(_Strict):
    """The image as it was asked for, and as it was resolved (by digest, or the local id)."""

    reference: _Short
    resolved: _Short


class GpuSpecs(_Strict):
    uuid: _Short
    vendor: _Short
    name: _Short
    memory_bytes: _Count
    driver: _Short


class Host(_Strict):
    """The machine that ran it: the node's word."""

    cpu_model: _Short
    cpu_cores: _Count
    cpu_threads: _Count
    memory_bytes: _Count
    disk_bytes: _Count
    os: _Short
    kernel: _Short
    arch: _Short
    gpus: tuple[GpuSpecs, ...] = Field(default=(), max_length=256)


class Manifest(_Strict):
    """All that a node says of a run. Times are unix seconds of the node's clock.

    Attributes:
        node: address of the node's account; authority: the wallet whose key signs.
        run: queued_slot of the claim, which tells one attempt from another.
        message: one sentence for the client: how it ended and, if that was a mistake, what to change.
        isolated: the provider put a kernel boundary around the job.
        usage: measured over the run: 'cpu_seconds', 'max_memory_bytes', 'gpu_utilization_max' and the like.
        signature: base58 of 64 bytes; "" while it is unsigned.
    """

    version: StrictInt = VERSION
    job: _Short
    market: _Short
    node: _Short
    authority: _Short
    run: _Short
    definition_cid: _Short
    outcome: RunOutcome
    exit_status: Annotated[StrictInt, Field(ge=-(2**31), lt=2**31)]
    message: Annotated[StrictStr, Field(max_length=MAX_MESSAGE_CHARS)]
    started_at: _Time
    ended_at: _Time
    provider: _Short
    isolated: StrictBool
    image: ImageUsed | None = None
    operations: tuple[OperationResult, ...] = Field(max_length=64)
    host: Host
    usage: dict[_Short, _Share] = Field(default_factory=dict[str, float], max_length=64)
    files: tuple[ResultFile, ...] = Field(max_length=MAX_FILES)
    signature: _Short = ""

    @field_validator("version")
    @classmethod
    def _check_version(cls, value: int) -> int:
        if value != VERSION:
            raise ValueError(f"is not {VERSION}: update this program to read newer results")
        return value

    @field_validator("files")
    @classmethod
    def _check_files(cls, value: tuple[ResultFile, ...]) -> tuple[ResultFile, ...]:
        paths = [file.path for file in value]
        if paths != sorted(set(paths)):
            raise ValueError("must be sorted by path, each path once")
        return value

    def signed(self, sign: Callable[[bytes], bytes]) -> Manifest:
        """This manifest with the signature of `authority`'s key; `sign` gives 64 bytes of ed25519 over its message."""
        return self.model_copy(update={"signature": str(Signature.from_bytes(sign(self._signed_message())))})

    def to_bytes(self) -> bytes:
        """The exact bytes of manifest.json: canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def result_hash(self) -> bytes:
        """32 bytes: sha256 of `to_bytes()`."""
        return hashlib.sha256(self.to_bytes()).digest()

    def verify_signature(self, authority: Pubkey) -> None:
        """Raises ResultInvalid unless `authority` (the node's wallet, from its account) signed this manifest."""
        if self.authority != str(authority):
            raise ResultInvalid(
                f"The manifest names {self.authority[:60]} as its node's wallet, the chain {authority}; don't trust it."
            )
        try:
            good = Signature.from_string(self.signature).verify(authority, self._signed_message())
        except ValueError:
            good = False
        if not good:
            raise ResultInvalid(f"The manifest isn't signed by the node's wallet {authority}; don't trust this result.")

    def _signed_message(self) -> bytes:
        return _PREFIX + canonical_json(self.model_dump(mode="json", exclude={"signature"}))

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Reads manifest.json as a stranger wrote it; verifies its schema only.

        Raises:
            ResultInvalid: no strict JSON, not canonical, or a field that breaks the schema.
        """
        try:
            value = parse_strict_json(data, max_bytes=MAX_MANIFEST_BYTES)
            if not isinstance(value, dict):
                raise ResultInvalid("The result's manifest is not a JSON object; the node wrote no valid result.")
            manifest = cls.model_validate(cast("dict[str, object]", value))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            path = ".".join(str(part)[:80] for part in first["loc"])
            raise ResultInvalid(f"The result's manifest is invalid, field {path!r}: {first['msg']}.") from None
        except ValueError as error:
            raise ResultInvalid(f"The result's manifest can't be read: {error}.") from error
        if manifest.to_bytes() != data:
            raise ResultInvalid("The result's manifest is not canonical JSON; the node wrote no valid result.")
        return manifest
