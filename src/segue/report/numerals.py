"""How numbers are written: three decimals, a true minus, [low, high], and – for what was not computed."""

from segue.report.run import Result

NONE = "–"
MINUS = "\N{MINUS SIGN}"


def number(value: float | None, kind: str = "plain") -> str:
    """A number for people.

    kind  `plain` 0.545 · `signed` +0.017 (differences and margins) · `offset` +1 · `small` three significant digits
          (mse, learning rates: three decimals would leave nothing of them) · `count` 4,165
    """
    if value is None:
        return NONE
    if kind == "count":
        return f"{value:,.0f}"
    if kind == "offset":
        return (f"{value:+.0f}" if value else "0").replace("-", MINUS)
    if kind == "small":
        return f"{value:#.3g}".replace("-", MINUS) if value else "0"
    rounded = round(value, 3) or 0.0  # never "-0.000"
    text = f"{rounded:+.3f}" if kind == "signed" and rounded else f"{rounded:.3f}"
    return text.replace("-", MINUS)


def size(count: int | None) -> str:
    """How large a model is: 17.5 M, 813 k, 512."""
    if count is None:
        return NONE
    for power, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= 0.9995 * power:
            return f"{count / power:.3g}{unit}"
    return str(count)


def interval(measured: Result, kind: str = "plain") -> str:
    """`[0.538, 0.552]`; empty where there is none."""
    if measured.low is None or measured.high is None:
        return ""
    return f"[{number(measured.low, kind)}, {number(measured.high, kind)}]"


def with_interval(measured: Result, kind: str = "plain") -> str:
    """`0.545 [0.538, 0.552]`"""
    return f"{number(measured.value, kind)} {interval(measured, kind)}".strip()


def told(measured: Result, kind: str = "plain") -> str:
    """All there is to say of a number: value, interval, n and chance. For hover titles."""
    parts = [with_interval(measured, kind)]
    if measured.n is not None:
        parts.append(f"n {number(measured.n, 'count')}")
    if measured.chance is not None:
        parts.append(f"chance {number(measured.chance, kind)}")
    return " · ".join(parts)
