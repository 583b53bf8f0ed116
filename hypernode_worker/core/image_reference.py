"""References to container images, as strangers may write them: [registry/]path[:tag][@sha256:digest].

The grammar is that of the distribution project's reference, as documented for `docker pull`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_CHARS = 255 + 72
"""A name of 255, and a digest."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])"
_REFERENCE = re.compile(
    rf"(?:(?P<registry>{_HOST}(?::[0-9]{{1,5}})?)/)?(?P<path>{_PATH})"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_IMAGE_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_DEFAULT_REGISTRY = "docker.io"


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image's name, taken apart.

    Attributes:
        repository: as the engine shows it: Docker Hub's registry and its 'library/' left out.
        registry: host and port; 'docker.io' where the name has none.
        tag: 'latest' where there is neither tag nor digest.
    """

    repository: str
    registry: str
    tag: str | None
    digest: str | None

    @property
    def pull_name(self) -> tuple[str, str]:
        """Repository, and digest or tag, as the engine's pull call wants them."""
        return self.repository, self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")


def parse_image_reference(text: str) -> ImageReference | None:
    """Reads an image's name; None where it is none.

    Bare image ids are none: a stranger must not address what happens to lie in an operator's image store.
    """
    if len(text) > MAX_CHARS or _IMAGE_ID.fullmatch(text):
        return None
    match = _REFERENCE.fullmatch(text)
    if match is None:
        return None
    registry, path = match["registry"], match["path"]
    if registry is not None and not _is_registry(registry):
        registry, path = None, f"{registry}/{path}"
        if not re.fullmatch(_PATH, path):  # upper case, which only a registry may have
            return None
    if registry in ("index.docker.io", _DEFAULT_REGISTRY):
        registry = None
    if registry is None:
        path = path.removeprefix("library/")
    tag, digest = match["tag"], match["digest"]
    return ImageReference(
        repository=path if registry is None else f"{registry}/{path}",
        registry=registry or _DEFAULT_REGISTRY,
        tag=tag if tag or digest else "latest",
        digest=digest,
    )


def _is_registry(part: str) -> bool:
    """Docker's rule for whether the first part of a name is a registry."""
    return "." in part or ":" in part or part == "localhost"
