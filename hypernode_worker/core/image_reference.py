"""References to container images, as strangers may write them: [host[:port]/]path[:tag][@sha256:digest]."""

from __future__ import annotations

import re

MAX_CHARS = 512

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = (
    r"(?:(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])(?:\.(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9]))*)"
)
_REFERENCE = re.compile(
    rf"(?:{_HOST}(?::[0-9]{{1,5}})?/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
_IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


def is_image_reference(text: str) -> bool:
    """Whether this is a well-formed reference by name.

    Bare image ids are refused: a stranger must not address what happens to lie in an operator's image store.
    """
    if not text or len(text) > MAX_CHARS or _IMAGE_ID.fullmatch(text):
        return False
    return _REFERENCE.fullmatch(text) is not None
