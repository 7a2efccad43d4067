"""Strict JSON for bytes that others signed: where two readers could differ, this one refuses (as src/json.rs).

No duplicate key, no lone surrogate, no byte order mark, no NaN, bounded nesting; numbers are kept as written.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeGuard


class Number(str):
    """A number as it was written."""

    __slots__ = ()


def parse(text: bytes, max_depth: int) -> Any:
    """One value and nothing after it. ``max_depth`` counts arrays and objects inside one another.

    Raises ValueError for anything else.
    """
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_refuse,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check(value, max_depth)
    return value


def as_u64(value: object) -> int | None:
    """The number, if it is written as decimal digits only and fits 64 bits."""
    if not isinstance(value, Number) or len(value) > 20 or not (value.isascii() and value.isdigit()):
        return None
    number = int(value)
    return number if number < 1 << 64 else None


def is_text(value: object) -> TypeGuard[str]:
    """Whether it is a string; a number is not one."""
    return isinstance(value, str) and not isinstance(value, Number)


def has_only(value: object, *keys: str) -> TypeGuard[dict[str, Any]]:
    """Whether it is an object without other keys."""
    return isinstance(value, dict) and all(key in keys for key in value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _check(value: Any, max_depth: int) -> None:
    level, depth = [value], 0
    while level:
        inner: list[Any] = []
        for item in level:
            if isinstance(item, str):
                item.encode("utf-8")  # raises UnicodeEncodeError, a ValueError, for a lone surrogate
                continue
            if isinstance(item, dict | list):
                if depth == max_depth:
                    raise ValueError("nested too deeply")
                if isinstance(item, dict):
                    inner.extend(item.keys())
                    inner.extend(item.values())
                else:
                    inner.extend(item)
        level, depth = inner, depth + 1
