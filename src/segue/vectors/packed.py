"""A BERT that reads texts laid end to end: each matrix product once for all of them, and nothing is padding.

On a processor a padded token costs what a real one does, and of sentences that arrive together a tenth to a third would
be padding however they are sorted. 16 sentences a time took 6.5 ms each on one core instead of 9 in passes cut by
length (MiniLM, bfloat16). Only attention must know where a text ends: transformers lets one register that function, the
rest is the model's own code.

Legend: T tokens of all texts, H heads, K width of a head, D width.
"""

from collections.abc import Sequence
from importlib.metadata import version
from threading import Lock
from typing import Any

import numpy as np

NAME = "segue_packed"
MOST_TOKENS = 1024  # of one pass
OLDEST = 5  # of transformers: the oldest whose BERT hands such arguments down to a registered attention in our tests
AGREES = 0.9999  # cosine to the model's own vectors; bfloat16 alone moves them by a twentieth of that


def can_pack(model: Any) -> bool:
    """Whether a SentenceTransformer is a BERT on a processor with a mean over its tokens and nothing behind it."""
    from transformers import BertModel

    kinds = [type(module).__name__ for module in model]
    return (
        int(version("transformers").partition(".")[0]) >= OLDEST
        and kinds in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
        and isinstance(model[0].auto_model, BertModel)
        and getattr(model[1], "pooling_mode", None) in ("mean", ["mean"], ("mean",))
        and model.device.type == "cpu"
        and model.truncate_dim is None
    )


def prepare(model: Any) -> None:
    """Let a model's attention stop at the end of each text. Called without lengths it is what it was."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model[0].auto_model.set_attn_implementation(NAME)


def encode_packed(model: Any, texts: Sequence[str], reading: Lock) -> tuple[np.ndarray, list[int]]:
    """What the model makes of the texts, not normalised, (N, D) float32; and the tokens it read of each.

    May run in several threads that share `reading`: a tokenizer is not made for that, a network is.
    """
    import torch

    with reading:
        features = model.preprocess(list(texts))
    mask_NL = features["attention_mask"].bool()
    tokens_N: list[int] = mask_NL.sum(dim=1).tolist()
    ids_T = features["input_ids"][mask_NL]
    position_T = (mask_NL.cumsum(dim=1) - 1)[mask_NL]
    parts, start, first = [], 0, 0
    with torch.inference_mode():
        for last in _packs(tokens_N):
            end = start + sum(tokens_N[first:last])
            lengths = tokens_N[first:last]
            parts += _means(model[0].auto_model, ids_T[start:end], position_T[start:end], lengths)
            start, first = end, last
    return torch.stack(parts).numpy(), tokens_N


def _packs(tokens_N: Sequence[int]) -> list[int]:
    """The ends of packs of at most MOST_TOKENS; a longer text is one of its own."""
    ends, held = list[int](), 0
    for i, tokens in enumerate(tokens_N):
        if held and held + tokens > MOST_TOKENS:
            ends.append(i)
            held = 0
        held += tokens
    return [*ends, len(tokens_N)]


def rounded(tokens: int) -> int:
    """The size of a pass: a multiple of 16, from 128 of 32, from 512 of 64.

    For each size oneDNN makes kernels of its own and keeps them: 0.7 ms and 0.7 MB for each of a layer's matrices.
    """
    step = 16 if tokens <= 128 else 32 if tokens <= 512 else 64
    return -(-tokens // step) * step


def _means(bert: Any, ids_T: Any, position_T: Any, lengths: list[int]) -> list[Any]:
    """The mean over each text's tokens, in float32. [(D,), …]"""
    from torch.nn.functional import pad

    more = rounded(len(ids_T)) - len(ids_T)  # belong to no text: what comes of them is not looked at
    ids_1T, position_1T = pad(ids_T, (0, more))[None], pad(position_T, (0, more))[None]
    hidden_TD = bert(input_ids=ids_1T, position_ids=position_1T, packed_lengths=lengths).last_hidden_state[0]
    means, start = [], 0
    for length in lengths:
        means.append(hidden_TD[start : start + length].float().mean(dim=0))
        start += length
    return means


def _attention(
    module: Any,
    query_BHTK: Any,
    key_BHTK: Any,
    value_BHTK: Any,
    mask: Any,
    packed_lengths: list[int] | None = None,
    **options: Any,
) -> tuple[Any, None]:
    """Attention as transformers asks for it, (B, T, H, K); with `packed_lengths` (B is 1) within each text."""
    from torch.nn.functional import scaled_dot_product_attention
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if packed_lengths is None:
        plain: tuple[Any, None] = sdpa_attention_forward(module, query_BHTK, key_BHTK, value_BHTK, mask, **options)
        return plain
    out_BTHK = value_BHTK.transpose(1, 2).clone()
    start = 0
    for length in packed_lengths:
        text = slice(start, start + length)
        seen = scaled_dot_product_attention(
            query_BHTK[:, :, text], key_BHTK[:, :, text], value_BHTK[:, :, text], scale=options.get("scaling")
        )
        out_BTHK[:, text] = seen.transpose(1, 2)
        start += length
    return out_BTHK, None
