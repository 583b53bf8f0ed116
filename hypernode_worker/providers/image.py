"""Names of images, which strangers write: what is allowed, and what may be asked of which registry.

The grammar is that of the distribution project's reference, as documented for `docker pull`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from hypernode_worker.errors import ImageUnavailable

MAX_REFERENCE = 255 + 72
"""Characters: a name of 255, and a digest."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])"
_REFERENCE = re.compile(
    rf"(?:(?P<registry>{_HOST}(?::[0-9]{{1,5}})?)/)?(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
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


def parse_image(text: str) -> ImageReference:
    """Reads an image's name.

    Raises:
        ImageUnavailable: not such a name.
    """
    match = _REFERENCE.fullmatch(text) if len(text) <= MAX_REFERENCE else None
    if match is None:
        raise ImageUnavailable(f"{text[:120]!r} is no image's name: write it as [registry/]name[:tag][@sha256:digest]")
    registry, path = match["registry"], match["path"]
    if registry is not None and not _is_registry(registry):
        registry, path = None, f"{registry}/{path}"
        if not re.fullmatch(rf"{_COMPONENT}(?:/{_COMPONENT})*", path):
            raise ImageUnavailable(f"{text[:120]!r} is no image's name: names of images are in lower case")
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


def is_image_id(text: str) -> bool:
    """The id of an image on this machine: what `prepare` gives where no registry gave a digest."""
    return _IMAGE_ID.fullmatch(text) is not None


def verify_registry(reference: ImageReference, registries: frozenset[str] | None) -> None:
    """The registry may be asked.

    Args:
        registries: those allowed; None: every one with a public-looking name, so that a stranger's image name can't
            make the engine call services of this machine or network.

    Raises:
        ImageUnavailable: it may not.
    """
    registry = reference.registry
    if registries is not None:
        if registry not in registries:
            raise ImageUnavailable(
                f"images of {registry} are not allowed on this node: use one of {_listed(registries)}"
            )
        return
    host = registry.rsplit(":", 1)[0].strip("[]").lower()
    if "." not in host or host.endswith((".local", ".localhost", ".internal", ".lan")) or _is_address(host):
        raise ImageUnavailable(f"{registry} is no public registry: use an image of a public one, by its name")


def _is_registry(part: str) -> bool:
    """Docker's rule for whether the first part of a name is a registry."""
    return "." in part or ":" in part or part == "localhost"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return re.fullmatch(r"[0-9.]+|0x[0-9a-f.x]+", host) is not None
    return True


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"
