"""Bodies that work, spoiled: what serving_fuzz.py sends beside what schemathesis makes.

NaN, infinity, numbers of thousands of digits, half surrogate pairs, paths, markup, deep nesting, keys dropped or added,
lists repeated, bytes cut or flipped.
"""

import json
import random
from typing import Any

TEXTS = (
    "", " ", "\x00", "\ud800", "\u202e", "🦉", "a" * 30_000, "../../../../etc/passwd", "..%2f..%2fetc%2fpasswd",
    "file:///etc/passwd", "http://127.0.0.1:9/", "<script>alert(1)</script>", "{{7*7}}", "${jndi:ldap://x}", "';--",
    "%s%n", "NaN", "null", "\r\nX-Injected: 1", "C:\\windows",
)  # fmt: skip
NUMBERS = (
    float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 5e-324, 0, -0.0, -1, 1, 2**31, 2**63, 2**64, -(2**63),
    10**4000, 1.5, 1_000_000,
)  # fmt: skip
_OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [[[]]], [None], {"a": {}}, [1, "a"], [[1.0], [1.0, 2.0]])


def spoiled(draw: random.Random, example: Any) -> bytes:
    """An example with up to three faults, as bytes that may be no JSON."""
    value = json.loads(json.dumps(example))
    for _ in range(draw.choice([0, 1, 1, 1, 2, 3])):
        value = _faulty(draw, value)
    body = json.dumps(value, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")
    fault = draw.random()
    if fault < 0.05:
        return body[: draw.randrange(len(body))]
    if fault < 0.1:
        at = draw.randrange(len(body))
        return body[:at] + bytes([draw.randrange(256)]) + body[at + 1 :]
    if fault < 0.12:
        return b"[" * draw.choice([50, 100_000]) + body
    return body


def _faulty(draw: random.Random, value: Any) -> Any:
    """The value with one place in it replaced, dropped, added or repeated."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(sorted(value))
        rest = {name: one for name, one in value.items() if name != key}
        fault = draw.random()
        if fault < 0.1:
            return rest
        if fault < 0.2:
            return {**value, draw.choice(["model", "k", "extra", "__proto__", "\ud800", ""]): _odd(draw)}
        return {**rest, key: _faulty(draw, value[key])}
    if isinstance(value, list) and value and draw.random() < 0.85:
        at = draw.randrange(len(value))
        fault = draw.random()
        if fault < 0.1:
            return value[:at] + value[at + 1 :]
        if fault < 0.2:
            return value * draw.choice([2, 3, 50])
        return [*value[:at], _faulty(draw, value[at]), *value[at + 1 :]]
    return _odd(draw)


def _odd(draw: random.Random) -> Any:
    return draw.choice(draw.choice([TEXTS, NUMBERS, _OTHERS]))
