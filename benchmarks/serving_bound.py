"""What the processor allows on /encode: its matrix products against those that a text needs.

Peak       one layer's matrices times 1,024 tokens, the fastest of many, measured before any server runs: all threads
           at it together, or as many times what one alone does, whichever is more
A text     2 operations for each weight of the encoder's matrices and each token, and 4 × tokens × width for each token
           in each layer's attention. Nothing else is counted: no GELU, softmax, normalising, tokenising, HTTP, JSON
So         requests/s × operations of a text = what a server's products amount to; divided by the peak its share.
           A server at its peak, everything else free, is the most that any arrangement of batches could reach
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

TOKENS = 1024  # in one product: larger ones are no faster
SECONDS = 1.0  # for each peak


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

    model = load_encoder("minilm")._model
    tokens_N: list[int] = model.preprocess(list(texts))["attention_mask"].sum(dim=1).tolist()
    bert = model[0].auto_model
    weights = [layer.weight for layer in bert.encoder.modules() if isinstance(layer, torch.nn.Linear)]
    linear, squared = (
        2.0 * sum(map(torch.numel, weights)),
        4.0 * bert.config.num_hidden_layers * bert.config.hidden_size,
    )
    operations = statistics.mean(linear * tokens + squared * tokens**2 for tokens in tokens_N)
    of_a_layer, threads = weights[: len(weights) // bert.config.num_hidden_layers], torch.get_num_threads()
    peaks = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        alone, together = (_peak([weight.detach().to(dtype) for weight in of_a_layer], n) for n in (1, threads))
        peaks[name] = max(together, threads * alone)
    return Bound(peaks, threads, statistics.mean(tokens_N), operations)


def _peak(weights: Sequence[Any], threads: int) -> float:
    """Operations a second of the products, at their fastest."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    inputs = [torch.randn(TOKENS, weight.shape[1]).to(weight.dtype) for weight in weights]
    operations, best = sum(2.0 * TOKENS * weight.numel() for weight in weights), 0.0
    until = time.perf_counter() + SECONDS
    while (began := time.perf_counter()) < until:
        for weight, one in zip(weights, inputs, strict=True):
            torch.nn.functional.linear(one, weight)
        best = max(best, operations / (time.perf_counter() - began))
    torch.set_num_threads(before)
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
