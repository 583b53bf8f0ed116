"""The job definition: what a job's CID must contain. Strangers write it, so it is bounded and validated once, here.

    {"model": "...", "framework": "pytorch", "operations": [{"type": "run", "command": "python inference.py"}],
     "input": {...}, "env": {"NAME": "value"}, "timeout": 3600, "files": "bafy...", "image": "...",
     "requirements": {...}}

`files` is the CID of a directory that is copied to /workspace; `input` becomes /workspace/input.json. A string
command is run by /bin/sh -c, a list is an argv, and a missing one means the framework's default. What the program
itself enforces of the requirements stands on chain as well (`JobDefinition.on_chain`).

Each error is a DefinitionInvalid that names the field and never repeats its value, which may be a secret.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)

from hypernode_worker.core.accounts import Framework, GpuVendor, Requirements, Trust
from hypernode_worker.core.image_reference import parse_image_reference
from hypernode_worker.core.secret_like import secret_like
from hypernode_worker.core.strict_json import canonical_json, parse_strict_json
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import DefinitionInvalid

MAX_BYTES = 256 * 1024
MAX_OPERATIONS = 32
MAX_COMMAND_CHARS = 32_768
MAX_ARGUMENTS = 256
MAX_ENV = 128
MAX_ENV_VALUE_CHARS = 16_384
MAX_TIMEOUT_S = 30 * 86_400
WORKSPACE = "/workspace"
OUTPUT_DIR = f"{WORKSPACE}/output"
INPUT_FILE = "input.json"

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
# LD_* and their kin change how the sandbox's own programs start; NVIDIA_* would hand out GPUs that nobody assigned.
_RESERVED_PREFIXES = ("LD_", "DYLD_", "NVIDIA_", "HYPERNODE_", "GLIBC_", "MALLOC_")
_RESERVED_NAMES = frozenset({"OUTPUT_DIR", "GCONV_PATH", "LOCPATH", "NLSPATH", "HOSTALIASES", "RESOLV_HOST_CONF"})


class FrameworkName(StrEnum):
    """Frameworks as a definition names them."""

    CUSTOM = "custom"
    PYTORCH = "pytorch"
    HUGGINGFACE = "huggingface"
    STABLE_DIFFUSION = "stable-diffusion"
    OLLAMA = "ollama"

    @property
    def on_chain(self) -> Framework:
        return Framework[self.name]


class TrustName(StrEnum):
    """The least trust that a job accepts of its node."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class GpuVendorName(StrEnum):
    """Vendor of the GPUs that a job needs."""

    ANY = "any"
    NVIDIA = "nvidia"
    AMD = "amd"
    OTHER = "other"


def _cid(value: object) -> Cid:
    if isinstance(value, Cid):
        return value
    if not isinstance(value, str) or len(value) > 100:
        raise ValueError("must be a CID as text")
    return Cid.parse(value)


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    return value


def _workdir(value: str) -> str:
    _text(value)
    if len(value) > 1024 or not value.startswith("/") or posixpath.normpath(value) != value:
        raise ValueError("must be an absolute, normalised path of at most 1,024 characters")
    if value != WORKSPACE and not value.startswith(WORKSPACE + "/"):
        raise ValueError(f"must be {WORKSPACE} or lie under it")
    return value


def _env(value: dict[str, str]) -> dict[str, str]:
    if len(value) > MAX_ENV:
        raise ValueError(f"must have at most {MAX_ENV} variables")
    for name, text in value.items():
        if not _ENV_NAME.fullmatch(name):
            raise ValueError("has a name that is not letters, digits and underscores (at most 128, no leading digit)")
        if name in _RESERVED_NAMES or name.startswith(_RESERVED_PREFIXES):
            raise ValueError(f"must not set {name}, which is reserved")
        if len(text) > MAX_ENV_VALUE_CHARS or "\0" in text:
            raise ValueError(f"has a value for {name} that is too long or contains a NUL character")
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Operation(_Strict):
    """One step: one container, started when the one before it exited with 0.

    Attributes:
        command: text for /bin/sh -c, an argv, or None for the framework's default.
        workdir: absolute, normalised, under /workspace; made when missing.
        timeout: seconds of its own within the job's timeout.
    """

    type: Literal["run"] = "run"
    command: StrictStr | tuple[StrictStr, ...] | None = None
    workdir: StrictStr = WORKSPACE
    env: dict[str, StrictStr] = Field(default_factory=dict[str, str])
    timeout: StrictInt | None = Field(default=None, ge=1, le=MAX_TIMEOUT_S)

    @field_validator("command", mode="before")
    @classmethod
    def _check_command(cls, value: object) -> object:
        if value is None:
            return None
        parts = cast("list[object]", value) if isinstance(value, list) else [value]
        if isinstance(value, tuple):
            parts = list(cast("tuple[object, ...]", value))
        if not all(isinstance(part, str) for part in parts):
            raise ValueError("must be text or a list of texts")
        texts = cast("list[str]", parts)
        if not texts or not texts[0].strip() or len(texts) > MAX_ARGUMENTS:
            raise ValueError(f"must not be empty or have more than {MAX_ARGUMENTS} arguments")
        if sum(len(text) for text in texts) > MAX_COMMAND_CHARS or any("\0" in text for text in texts):
            raise ValueError(f"must have at most {MAX_COMMAND_CHARS} characters and no NUL")
        return texts[0] if isinstance(value, str) else tuple(texts)

    @field_validator("workdir")
    @classmethod
    def _check_workdir(cls, value: str) -> str:
        return _workdir(value)

    @field_validator("env")
    @classmethod
    def _check_env(cls, value: dict[str, str]) -> dict[str, str]:
        return _env(value)

    def argv(self, default: tuple[str, ...]) -> tuple[str, ...]:
        """What is executed; `default` is the framework's."""
        if self.command is None:
            return default
        return ("/bin/sh", "-c", self.command) if isinstance(self.command, str) else self.command


class NodeRequirements(_Strict):
    """What a node must have; all of it is the node's word, and `trust` says how much that must be worth.

    Attributes:
        network: the job needs outbound network (the market and the operator must allow it).
        country: two-letter codes, any of which will do; empty: anywhere.
    """

    trust: TrustName = TrustName.NORMAL
    gpu_vendor: GpuVendorName = GpuVendorName.ANY
    gpu_count: StrictInt = Field(default=0, ge=0, le=64)
    vram_mb: StrictInt = Field(default=0, ge=0, le=4_000_000)
    ram_mb: StrictInt = Field(default=0, ge=0, le=64_000_000)
    disk_gb: StrictInt = Field(default=0, ge=0, le=1_000_000)
    cpu_cores: StrictInt = Field(default=0, ge=0, le=4_096)
    country: tuple[StrictStr, ...] = ()
    network: StrictBool = False

    @field_validator("country")
    @classmethod
    def _check_country(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) > 250 or not all(re.fullmatch(r"[A-Z]{2}", code) for code in value):
            raise ValueError("must be a list of two-letter country codes in capitals")
        return value


class JobDefinition(_Strict):
    """A valid job definition. `input` is any JSON; treat it as read-only."""

    model: StrictStr = Field(default="", max_length=512)
    framework: FrameworkName
    operations: tuple[Operation, ...] = Field(min_length=1, max_length=MAX_OPERATIONS)
    input: Any = None
    env: dict[str, StrictStr] = Field(default_factory=dict[str, str])
    timeout: StrictInt = Field(default=3600, ge=1, le=MAX_TIMEOUT_S)
    files: Annotated[Cid, PlainValidator(_cid), PlainSerializer(str)] | None = None
    image: StrictStr | None = None
    requirements: NodeRequirements = NodeRequirements()

    @field_validator("model")
    @classmethod
    def _check_model(cls, value: str) -> str:
        return _text(value)

    @field_validator("env")
    @classmethod
    def _check_env(cls, value: dict[str, str]) -> dict[str, str]:
        return _env(value)

    @field_validator("image")
    @classmethod
    def _check_image(cls, value: str | None) -> str | None:
        if value is not None and parse_image_reference(value) is None:
            raise ValueError("must be an image reference such as 'python:3.12-slim' or 'host/name@sha256:...'")
        return value

    @model_validator(mode="after")
    def _check_custom_has_commands(self) -> JobDefinition:
        if self.framework is FrameworkName.CUSTOM:
            for index, operation in enumerate(self.operations):
                if operation.command is None:
                    raise ValueError(f"operations[{index}].command is missing: a custom job has no default command")
        return self

    @classmethod
    def from_bytes(cls, data: bytes) -> JobDefinition:
        """Reads and validates the content of a definition's CID.

        Raises:
            DefinitionInvalid: too large, too deep, no strict JSON, or a field that breaks the schema.
        """
        try:
            value = parse_strict_json(data, max_bytes=MAX_BYTES)
        except ValueError as error:
            raise DefinitionInvalid(
                f"The job definition can't be read, {error}; correct it and post it again."
            ) from error
        if not isinstance(value, dict):
            raise DefinitionInvalid("The job definition must be a JSON object; correct it and post it again.")
        return cls.from_dict(cast("dict[str, object]", value))

    @classmethod
    def from_dict(cls, value: Mapping[str, object]) -> JobDefinition:
        """Validates a definition that has been parsed already. Raises DefinitionInvalid."""
        try:
            definition = cls.model_validate(value)
        except ValidationError as error:
            raise DefinitionInvalid(_explain(error)) from None
        definition.to_bytes()
        return definition

    def to_bytes(self) -> bytes:
        """Canonical JSON: sorted names, no spaces, absent values left out. The same definition gives the same CID.

        Raises DefinitionInvalid when that is larger than MAX_BYTES or can't be written as strict JSON.
        """
        value = self.model_dump(mode="json", exclude={"input"}, exclude_none=True)
        if self.input is not None:
            value["input"] = self.input
        try:
            data = canonical_json(value)
        except ValueError as error:
            raise DefinitionInvalid(
                f"The job definition can't be written, {error}; correct it and post it again."
            ) from error
        if len(data) > MAX_BYTES:
            raise DefinitionInvalid(f"The job definition has {len(data)} bytes, more than {MAX_BYTES}; use `files`.")
        return data

    def on_chain(self) -> Requirements:
        """What create_job is given, and what the program enforces."""
        needs = self.requirements
        vendor = GpuVendor.NONE if needs.gpu_vendor is GpuVendorName.ANY else GpuVendor[needs.gpu_vendor.name]
        return Requirements(
            min_trust=Trust[needs.trust.name],
            gpu_vendor=vendor,
            gpu_count=max(needs.gpu_count, 1 if needs.vram_mb or vendor else 0),
            vram_mb=needs.vram_mb,
            framework=self.framework.on_chain,
        )

    def secret_like(self) -> tuple[str, ...]:
        """Names of variables, of the job and of its operations, whose values look like secrets; sorted."""
        found = set(secret_like(self.env))
        for operation in self.operations:
            found.update(secret_like(operation.env))
        return tuple(sorted(found))


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ""
    for part in first["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{str(part)[:80]}"
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    if first["type"] == "extra_forbidden":
        message = "no such field is known"
    where = f"field {path.lstrip('.')!r}: " if path else ""
    return f"The job definition is invalid, {where}{message}; correct it and post it again."
