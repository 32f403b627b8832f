"""What the processor allows on /encode: its matrix products against those that a text needs.

Peak       the best of square products of several sizes, all cores, measured before any server runs
A text     2 operations for each weight of the encoder's matrices and each token, and 4 × tokens × width for each token
           in each layer's attention. Nothing else is counted: no GELU, softmax, normalising, tokenising, HTTP, JSON
So         requests/s × operations of a text = what a server's products amount to; divided by the peak its share.
           A server at its peak, everything else free, is the most that any arrangement of batches could reach
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

SIZES = (512, 1024, 2048)
SECONDS = 0.5  # for each size


class Bound(NamedTuple):
    """The peaks in operations a second by precision, and of the texts the mean tokens and operations each."""

    peaks: Mapping[str, float]
    threads: int
    tokens: float
    operations: float


def measured(texts: Sequence[str]) -> Bound:
    """The bound for the encoder that is served by default."""
    import torch

    from segue.vectors.encoders import load_encoder

    encoder = load_encoder("minilm")
    tokens_N = _tokens(encoder, texts)
    operations = statistics.mean(_operations(encoder, tokens) for tokens in tokens_N)
    peaks = {"float32": _peak(torch.float32), "bfloat16": _peak(torch.bfloat16)}
    return Bound(peaks, torch.get_num_threads(), statistics.mean(tokens_N), operations)


def _tokens(encoder: Any, texts: Sequence[str]) -> list[int]:
    """Tokens read of each text."""
    counted: list[int] = encoder._model.preprocess(list(texts))["attention_mask"].sum(dim=1).tolist()
    return counted


def _operations(encoder: Any, tokens: int) -> float:
    """Multiplications and additions in the matrix products of one text."""
    import torch

    bert = encoder._model[0].auto_model
    layers = [module for module in bert.encoder.modules() if isinstance(module, torch.nn.Linear)]
    weights = sum(layer.weight.numel() for layer in layers)
    width, depth = bert.config.hidden_size, bert.config.num_hidden_layers
    return 2.0 * weights * tokens + 4.0 * depth * width * tokens**2


def _peak(dtype: Any) -> float:
    """Operations a second of the best square product."""
    import torch

    best = 0.0
    for size in SIZES:
        left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
        _ = left @ right
        until = time.perf_counter() + SECONDS
        while (began := time.perf_counter()) < until:
            _ = left @ right
            best = max(best, 2.0 * size**3 / (time.perf_counter() - began))
    return best


def told(bound: Bound, rates: Mapping[str, tuple[float, str]], peer: str, wanted: float) -> str:
    """The bound in Markdown. `rates`: server → (texts a second, precision)."""
    peaks = ", ".join(f"{name} {peak / 1e9:.0f}" for name, peak in bound.peaks.items())
    lines = [
        f"A text has {bound.tokens:.0f} tokens and takes {bound.operations / 1e9:.2f} GFLOP in matrix products. "
        f"Peak of {bound.threads} threads, GFLOP/s: {peaks}.",
        "",
        "| /encode | precision | GFLOP/s in products | of that precision's peak |",
        "|---|---|---|---|",
    ]
    for name, (rate, precision) in rates.items():
        used = rate * bound.operations
        lines.append(f"| {name} | {precision} | {used / 1e9:.0f} | {used / bound.peaks[precision]:.0%} |")
    ours = bound.peaks["bfloat16"]
    most, need = ours / (rates[peer][0] * bound.operations), wanted * rates[peer][0] * bound.operations / ours
    lines.append(
        f"\n{wanted:g} × the naive server would take {need:.0%} of the bfloat16 peak for products alone; "
        f"all of that peak, and nothing else to do, would be {most:.1f} ×."
    )
    return "\n".join(lines)
