"""MRR `future` by the number of train documents, and where two laws that fit it lead.

Legend: R draws of documents (0: the data), N numbers of train documents.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from onward_pictures import whole
from segue.report import svg
from segue.statistics import Result, result_of

FAR = (20_000,)
EXPONENTS = np.arange(0.1, 2.01, 0.05)
STYLES = (("model", "circle"), ("best", "square"), ("mean", "diamond"), ("copy", "triangle"), ("oracle", "circle"))


def power_law(draws_RN: np.ndarray, documents_N: Sequence[int], at: int) -> np.ndarray:
    """a − b·n^−c at n = `at`, least squares in each draw, c among `EXPONENTS`, b ≥ 0: (R, N) → (R,)

    The careful law: each document tells less than the one before. Where b would be below 0 it is 0, a level line.
    """
    n_N = np.asarray(documents_N, float)
    best_R, value_R = np.full(len(draws_RN), np.inf), draws_RN.mean(1)
    for exponent in EXPONENTS:
        feature_N = n_N**-exponent
        centred_N = feature_N - feature_N.mean()
        slope_R = np.minimum(draws_RN @ centred_N / (centred_N @ centred_N), 0)
        fitted_RN = draws_RN.mean(1)[:, None] + slope_R[:, None] * centred_N
        error_R = ((draws_RN - fitted_RN) ** 2).sum(1)
        ahead_R = draws_RN.mean(1) + slope_R * (float(at) ** -exponent - feature_N.mean())
        value_R = np.where(error_R < best_R, ahead_R, value_R)
        best_R = np.minimum(best_R, error_R)
    return value_R


def log_law(draws_RN: np.ndarray, documents_N: Sequence[int], at: int) -> np.ndarray:
    """a + b·log n at n = `at`, least squares in each draw: each doubling is worth the same. (R, N) → (R,)"""
    log_N = np.log(np.asarray(documents_N, float))
    centred_N = log_N - log_N.mean()
    slope_R = draws_RN @ centred_N / (centred_N @ centred_N)
    ahead_R: np.ndarray = draws_RN.mean(1) + slope_R * (np.log(at) - log_N.mean())
    return ahead_R


LAWS = {"power law": power_law, "log law": log_law}


def extrapolated(draws_RN: np.ndarray, documents_N: Sequence[int], windows: int) -> dict[str, Result]:
    """Each law at `FAR`, with the interval over the documents that judge: not over train sets or laws."""
    return {
        f"{law}, {at:,}": result_of(fit(draws_RN, documents_N, at), windows) for law, fit in LAWS.items() for at in FAR
    }


def curve_svg(found: Mapping[str, Mapping[int, Result]], far: Mapping[str, Result], part: str) -> str:
    """Name → train documents → figure, and each law's figure at `FAR`, as a picture that stands alone."""
    series = [
        svg.Series(name, style, shape, [_point(n, result) for n, result in sorted(by.items())])
        for (name, by), (style, shape) in zip(found.items(), STYLES, strict=False)
    ]
    series += [
        svg.Series(name, "oracle", shape, [_point(int(name.split(", ", 1)[1].replace(",", "")), result)])
        for (name, result), shape in zip(far.items(), ("cross", "diamond"), strict=True)
    ]
    documents = sorted({n for by in found.values() for n in by} | set(FAR))
    width, height = 620.0, 400.0
    chart = svg.line_chart(
        series,
        x_ticks=[(_place(n), f"{n:,}") for n in documents],
        x_label="train documents",
        y_label="MRR, pool future",
        description=f"MRR among the chunks still to come on {part}, by train documents",
        size=(width, height),
    )
    parts = [svg.tag("svg", chart, x=0.0, y=10.0, width=width, height=height)]
    for i, one in enumerate(series):
        at = 50.0 + 24 * i
        parts.append(svg.tag("g", svg.marker(one.shape, width + 16, at), class_=f"s-{one.style}"))
        parts.append(svg.tag("text", one.label, x=width + 30, y=at + 5, class_="label"))
    return whole(parts, width + 240, height + 20)


def _place(documents: int) -> float:
    return 3 * float(np.log10(documents))


def _point(documents: int, result: Result) -> svg.Point:
    told = f"{documents:,}: {result.value:.4f} [{result.low:.4f}, {result.high:.4f}]"
    return svg.Point(_place(documents), result.value, result.low, result.high, told)
