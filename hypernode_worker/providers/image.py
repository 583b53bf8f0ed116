"""Which images jobs may have, which strangers name: from which registry, and which of those made on this machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from hypernode_worker.core.image_reference import ImageReference, parse_image_reference
from hypernode_worker.errors import ImageUnavailable

_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")


def parse_image(text: str) -> ImageReference:
    """Reads an image's name.

    Raises:
        ImageUnavailable: not such a name.
    """
    reference = parse_image_reference(text)
    if reference is None:
        raise ImageUnavailable(f"{text[:120]!r} is no image's name: write it as [registry/]name[:tag][@sha256:digest]")
    return reference


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


def verify_origin(reference: ImageReference, digests: Sequence[str], local: frozenset[str]) -> None:
    """An image that is already on this machine may be given to a stranger's job.

    What was built here may hold what its owner wouldn't publish, and a job's output is published. (An engine that keeps
    images in containerd may show a digest for those too: there only the registry's name protects them.)

    Args:
        digests: repository@digest of each registry that the image is known to have come from.
        local: names of images made on this machine that jobs may use, as str(ImageReference).

    Raises:
        ImageUnavailable: it may not.
    """
    if str(reference) not in local and not any(each.startswith(f"{reference.repository}@") for each in digests):
        raise ImageUnavailable(
            f"image {reference} was made on the node's own machine and isn't in its LOCAL_IMAGES: use an image of a "
            "registry"
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return re.fullmatch(r"[0-9.]+|0x[0-9a-f.x]+", host) is not None
    return True


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"
