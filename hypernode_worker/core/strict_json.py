"""JSON as strangers may send it: bounded in size and depth, no NaN, no name twice; and its canonical form."""

from __future__ import annotations

import json
import math
from typing import cast

MAX_DEPTH = 32


def parse_strict_json(data: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> object:
    """The value of JSON in UTF-8.

    Raises:
        ValueError: with the reason as the end of a sentence ("it is nested too deeply").
    """
    if len(data) > max_bytes:
        raise ValueError(f"it has {len(data)} bytes, more than {max_bytes}")
    try:
        value: object = json.loads(
            data.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(str(error)[:200]) from error
    if _depth(value) > max_depth:
        raise ValueError(f"it is nested deeper than {max_depth} levels")
    return value


def canonical_json(value: object) -> bytes:
    """Sorted names, no spaces, UTF-8, no NaN: the same value gives the same bytes.

    Raises:
        ValueError: the value isn't JSON, or holds text that UTF-8 can't carry.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError("it holds something that JSON in UTF-8 can't carry") from error


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same name twice")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _depth(value: object) -> int:
    deepest = 0
    stack: list[tuple[object, int]] = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if isinstance(item, dict):
            children = list(cast("dict[str, object]", item).values())
        elif isinstance(item, list):
            children = cast("list[object]", item)
        else:
            continue
        deepest = max(deepest, depth)
        stack.extend((child, depth + 1) for child in children)
    return deepest
