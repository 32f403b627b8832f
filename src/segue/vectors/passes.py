"""Texts of many lengths through an encoder in passes that hold little padding, their tokens counted on the way.

For a service: what arrives together is of any length, and on a processor a padded token costs what a real one does.

Legend: N texts, D width, T tokens of the longest text.
"""

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

# What a pass costs beside its tokens, in tokens: some 2 ms of Python and kernel launches on a processor, which encodes
# a token in 0.06 ms; an accelerator takes thousands in the same time.
OVERHEAD_CPU, OVERHEAD_ACCELERATOR = 32, 4096
# Passes come in few shapes. For every new number of tokens oneDNN makes kernels anew: 0.7 ms and 0.7 MB for each of a
# layer's matrices, kept. Of all shapes that text gives, a service grew to 1.3 GB within a minute.
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


def rounded(tokens: int) -> int:
    """The width of a pass whose longest text has so many tokens: a multiple of 4, from 32 of 8, from 64 of 16."""
    step = 4 if tokens <= 32 else 8 if tokens <= 64 else 16
    return -(-tokens // step) * step


def cut(widths: Sequence[int], sizes: Sequence[int], overhead: int) -> list[int]:
    """Where to cut texts sorted by falling width, so that Σ (texts × the widest + overhead) is least. → the ends

    Each pass holds one of `sizes` (1 among them) many texts. Exact, by dynamic programming.
    """
    best, begin = [0], [0]
    for end in range(1, len(widths) + 1):
        cost, start = min(
            (best[end - size] + size * widths[end - size] + overhead, end - size) for size in sizes if size <= end
        )
        best.append(cost)
        begin.append(start)
    ends = list[int]()
    end = len(widths)
    while end:
        ends.append(end)
        end = begin[end]
    return ends[::-1]


def encode_in_passes(
    model: Any, texts: Sequence[str], prompt: str | None, most: int, reading: Lock
) -> tuple[np.ndarray, list[int]]:
    """What a SentenceTransformer makes of the texts, not normalised, (N, D) float32; and the tokens it read of each.

    The tokens count the prompt's and the special ones, and none that was cut off. No pass holds more than `most` texts.
    May run in several threads that share `reading`: a tokenizer is not made for that, a network is.
    """
    import torch

    with reading:
        features = model.preprocess(list(texts), prompt=prompt)
    mask_NT = features.get("attention_mask")
    if mask_NT is None or not bool(mask_NT[:, 0].all()):  # no padding, or padding on the left
        tokens_N = _tokens_without_mask(features) if mask_NT is None else mask_NT.sum(dim=1).tolist()
        with reading:
            whole_ND = model.encode(list(texts), batch_size=most, show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(whole_ND, dtype=np.float32), tokens_N
    tokens_N = mask_NT.sum(dim=1).tolist()
    order = sorted(range(len(texts)), key=lambda i: (-tokens_N[i], i))
    widest = max(mask_NT.shape[1], model.max_seq_length or 0)  # the model has no place for more
    widths = [min(rounded(tokens_N[i]), widest) for i in order]
    overhead = OVERHEAD_CPU if model.device.type == "cpu" else OVERHEAD_ACCELERATOR
    parts, start = [], 0
    with torch.inference_mode():
        for end in cut(widths, [size for size in SIZES if size <= most], overhead):
            rows = order[start:end]
            out = model(
                {name: _part(value, rows, widths[start], mask_NT, model.device) for name, value in features.items()}
            )
            parts.append(out["sentence_embedding"][:, : model.truncate_dim].float().cpu().numpy())
            start = end
    vectors_ND = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
    vectors_ND[order] = np.concatenate(parts)
    return vectors_ND, tokens_N


def _part(value: Any, rows: list[int], width: int, mask_NT: Any, device: Any) -> Any:
    """A feature of some of the texts, `width` tokens wide, on the model's device."""
    from torch.nn.functional import pad

    if getattr(value, "shape", None) == mask_NT.shape:
        value = pad(value[rows, :width], (0, max(0, width - value.shape[1])))
    return value.to(device) if hasattr(value, "to") else value


def _tokens_without_mask(features: Any) -> list[int]:
    """A static embedding joins its texts' tokens and says where each begins."""
    begins = np.append(np.asarray(features["offsets"]), len(features["input_ids"]))
    return [int(n) for n in np.diff(begins)]
