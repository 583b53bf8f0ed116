"""Names of images: which are understood, which are refused, and which registries may be asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernode_worker.errors import ImageUnavailable
from hypernode_worker.providers.image import is_image_id, parse_image, verify_registry

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "repository", "registry", "tag", "digest"),
    [
        ("busybox", "busybox", "docker.io", "latest", None),
        ("library/busybox:1", "busybox", "docker.io", "1", None),
        ("docker.io/library/busybox", "busybox", "docker.io", "latest", None),
        (
            "pytorch/pytorch:2.1.0-cuda12.1-cudnn8-runtime",
            "pytorch/pytorch",
            "docker.io",
            "2.1.0-cuda12.1-cudnn8-runtime",
            None,
        ),
        ("ghcr.io/a/b/c:v1", "ghcr.io/a/b/c", "ghcr.io", "v1", None),
        ("localhost:5000/x", "localhost:5000/x", "localhost:5000", "latest", None),
        (f"a/b@{DIGEST}", "a/b", "docker.io", None, DIGEST),
        (f"a/b:t@{DIGEST}", "a/b", "docker.io", "t", DIGEST),
    ],
)
def test_names(text: str, repository: str, registry: str, tag: str | None, digest: str | None) -> None:
    found = parse_image(text)
    assert (found.repository, found.registry, found.tag, found.digest) == (repository, registry, tag, digest)
    assert parse_image(str(found)) == found


@pytest.mark.parametrize(
    "text",
    ["", " ", "A/b", "a b", "-a", "a//b", "/a", "a/", "a:", "a:b:c", "a@sha256:12", "a;rm", "a\n", "../a", "x" * 400,
     "a@md5:" + "0" * 32, "http://a/b", "a:" + "t" * 129, "$(id)", "a/b?x=1", "a/b#c"],
)  # fmt: skip
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ImageUnavailable, match="name"):
        parse_image(text)


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        found = parse_image(text)
    except ImageUnavailable:
        return
    assert parse_image(str(found)) == found
    assert set(str(found)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@[]")


@pytest.mark.parametrize(
    "text",
    ["localhost/x", "localhost:5000/x", "127.0.0.1:5000/x", "169.254.169.254/latest", "10.0.0.1/x", "[::1]:5000/x",
     "registry.internal/x", "printer.local/x", "0x7f.1/x", "2130706433.0/x", "myhost:80/x", "1.2.3/x"],
)  # fmt: skip
def test_a_private_registry_is_not_asked(text: str) -> None:
    with pytest.raises(ImageUnavailable, match="public"):
        verify_registry(parse_image(text), None)


def test_registries_by_list() -> None:
    allowed = frozenset({"localhost:5000"})
    verify_registry(parse_image("localhost:5000/x"), allowed)
    with pytest.raises(ImageUnavailable, match="localhost:5000"):
        verify_registry(parse_image("busybox"), allowed)
    verify_registry(parse_image("busybox"), None)
    verify_registry(parse_image("ghcr.io/a/b"), None)


def test_image_ids() -> None:
    assert is_image_id(DIGEST)
    assert not is_image_id("a@" + DIGEST)
    assert not is_image_id(DIGEST[:-1])
