"""A fetched result as JSON and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypernode_worker.cli import screen

if TYPE_CHECKING:
    from hypernode_worker.client import Result


def result_json(result: Result | None) -> dict[str, object]:
    if result is None:
        return {}
    files = [{"path": file.path, "bytes": file.bytes, "sha256": file.sha256} for file in result.manifest.files]
    manifest = result.manifest
    return {
        "path": str(result.path),
        "outcome": manifest.outcome.value,
        "message": manifest.message,
        "signed": result.signed,
        "files": files,
    }


def result_text(result: Result) -> str:
    manifest = result.manifest
    signed = "and the node's signature" if result.signed else "(the node has left: its signature can't be checked)"
    lines = [
        f"{manifest.outcome.value}: {screen.one_line(manifest.message)}",
        f"Verified against CID, result_hash {signed}: {result.path}",
    ]
    lines += [f"  {file.bytes:>12,}  {screen.one_line(file.path)}" for file in manifest.files]
    return "\n".join(lines)
