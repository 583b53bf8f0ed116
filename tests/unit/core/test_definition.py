"""Job definitions: the seed's example is accepted, and what strangers get wrong is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernode_worker.core.accounts import Framework, GpuVendor, Requirements, Trust
from hypernode_worker.core.definition import MAX_BYTES, JobDefinition
from hypernode_worker.core.image_reference import parse_image_reference
from hypernode_worker.core.secret_like import secret_like
from hypernode_worker.core.types import Cid
from hypernode_worker.errors import DefinitionInvalid

SEED: dict[str, Any] = {
    "model": "meta-llama/Llama-2-7b-chat-hf",
    "framework": "pytorch",
    "operations": [{"type": "run", "command": "python inference.py", "workdir": "/workspace"}],
    "input": {"prompt": "Explain quantum computing in simple terms", "max_tokens": 200, "temperature": 0.7},
    "env": {"HF_TOKEN": "hf_xxx"},
    "timeout": 3600,
}
OPERATION: dict[str, Any] = SEED["operations"][0]


def read(value: object) -> JobDefinition:
    return JobDefinition.from_bytes(json.dumps(value).encode())


def test_the_seeds_example_is_valid() -> None:
    definition = read(SEED)
    assert definition.model == SEED["model"]
    assert definition.input == SEED["input"]
    assert definition.operations[0].argv(("no",)) == ("/bin/sh", "-c", "python inference.py")
    assert definition.secret_like() == ("HF_TOKEN",)
    assert definition.on_chain() == Requirements(
        min_trust=Trust.NORMAL, gpu_vendor=GpuVendor.NONE, framework=Framework.PYTORCH
    )


def test_everything_optional_is_read() -> None:
    files = Cid.of(b"x")
    definition = read(
        {
            "framework": "custom",
            "operations": [{"command": ["python", "-V"], "workdir": "/workspace/a/b", "timeout": 5, "env": {"A": "1"}}],
            "files": str(files),
            "image": "example.org:5000/team/name:tag@sha256:" + "0" * 64,
            "requirements": {"trust": "low", "gpu_vendor": "amd", "vram_mb": 8000, "country": ["DE"], "network": True},
        }
    )
    assert definition.files == files
    assert definition.operations[0].argv(()) == ("python", "-V")
    assert definition.on_chain() == Requirements(
        min_trust=Trust.LOW, gpu_vendor=GpuVendor.AMD, gpu_count=1, vram_mb=8000, framework=Framework.CUSTOM
    )


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"surprise": 1}, "surprise"),
    ({"framework": "tensorflow"}, "framework"),
    ({"operations": []}, "operations"),
    ({"operations": [OPERATION] * 40}, "operations"),
    ({"operations": [{"type": "shell", "command": "x"}]}, "operations[0].type"),
    ({"operations": [{**OPERATION, "extra": 1}]}, "operations[0].extra"),
    ({"operations": [{**OPERATION, "workdir": "/etc"}]}, "operations[0].workdir"),
    ({"operations": [{**OPERATION, "workdir": "/workspace/../etc"}]}, "operations[0].workdir"),
    ({"operations": [{**OPERATION, "workdir": "/workspaces"}]}, "operations[0].workdir"),
    ({"operations": [{**OPERATION, "workdir": "workspace"}]}, "operations[0].workdir"),
    ({"operations": [{**OPERATION, "command": ""}]}, "operations[0].command"),
    ({"operations": [{**OPERATION, "command": []}]}, "operations[0].command"),
    ({"operations": [{**OPERATION, "command": [1]}]}, "operations[0].command"),
    ({"operations": [{**OPERATION, "command": "a\0b"}]}, "operations[0].command"),
    ({"operations": [{**OPERATION, "command": "a" * 40_000}]}, "operations[0].command"),
    ({"operations": [{**OPERATION, "timeout": 0}]}, "operations[0].timeout"),
    ({"env": {"LD_PRELOAD": "x"}}, "env"),
    ({"env": {"OUTPUT_DIR": "x"}}, "env"),
    ({"env": {"NVIDIA_VISIBLE_DEVICES": "all"}}, "env"),
    ({"env": {"1A": "x"}}, "env"),
    ({"env": {"A B": "x"}}, "env"),
    ({"env": {"A": 1}}, "env.A"),
    ({"env": {f"A{n}": "" for n in range(200)}}, "env"),
    ({"timeout": 0}, "timeout"),
    ({"timeout": True}, "timeout"),
    ({"timeout": 1.5}, "timeout"),
    ({"timeout": "3600"}, "timeout"),
    ({"files": "nonsense"}, "files"),
    ({"files": 7}, "files"),
    ({"image": "a b"}, "image"),
    ({"image": "sha256:" + "0" * 64}, "image"),
    ({"model": "x" * 1000}, "model"),
    ({"requirements": {"ram_mb": -1}}, "requirements.ram_mb"),
    ({"requirements": {"country": ["Germany"]}}, "requirements.country"),
    ({"requirements": {"trust": 2}}, "requirements.trust"),
    ({"framework": "custom", "operations": [{"type": "run"}]}, "operations[0].command"),
]


@pytest.mark.parametrize(("change", "field"), MISTAKES)
def test_a_mistake_is_refused_and_its_field_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(DefinitionInvalid) as error:
        read({**SEED, **change})
    assert field in str(error.value)


def test_errors_do_not_repeat_values() -> None:
    with pytest.raises(DefinitionInvalid) as error:
        read({**SEED, "env": {"A": ["hunter2"]}})
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"{",
        b'{"timeout":NaN}',
        b'{"input":1e999}',
        b'{"model":"a","model":"b"}',
        b"[" * 100_000,
        b'{"input":' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"input":' + b"9" * 5000 + b"}",
        b'{"framework":"pytorch","operations":[{}],"input":"\\ud800"}',
        b" " * (MAX_BYTES + 1),
    ],
)
def test_what_is_no_strict_json_is_refused(data: bytes) -> None:
    with pytest.raises(DefinitionInvalid):
        JobDefinition.from_bytes(data)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_canonical_bytes_read_back_as_the_same_definition(value: object) -> None:
    definition = JobDefinition.from_dict({**SEED, "input": value})
    data = definition.to_bytes()
    assert JobDefinition.from_bytes(data) == definition
    assert JobDefinition.from_bytes(data).to_bytes() == data


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_arbitrary_bytes_give_a_definition_or_definition_invalid(data: bytes) -> None:
    with pytest.raises(DefinitionInvalid):
        JobDefinition.from_bytes(data)


def test_secrets_are_told_by_name_or_value() -> None:
    env = {
        "HF_TOKEN": "abc",
        "DB_PASSWORD": "x",
        "PLAIN": "hf_abcdef",
        "URL": "https://user:pass@example.org/",
        "EMPTY_TOKEN": "",
        "MODEL": "llama",
        "LANG": "C.UTF-8",
    }
    assert secret_like(env) == ("DB_PASSWORD", "HF_TOKEN", "PLAIN", "URL")


@pytest.mark.parametrize("text", ["busybox", "python:3.12-slim", "a/b/c", "localhost:5000/x", "x@sha256:" + "a" * 64])
def test_image_references(text: str) -> None:
    assert parse_image_reference(text) is not None


@pytest.mark.parametrize(
    "text", ["", "a/B", "-x", "a:b:c:", "a" * 600, "0" * 64, "x@sha256:12", "a-" * 250, "--privileged"]
)
def test_what_is_no_image_reference(text: str) -> None:
    assert parse_image_reference(text) is None
