"""A tiny vec2text, trained here: `python benchmarks/tiny_inverter.py OUT [--steps 300]`, in a Python that has vec2text.

    OUT/encoder/      a 768-wide sentence-transformers encoder with random weights: T5 encoder, mean, dense, unit length
    OUT/t5/           config and tokenizer of the T5 inside both models (a word a token)
    OUT/inversion/    checkpoints in the format of ielabgroup/vec2text_gtr-base-st_inversion and …_corrector:
    OUT/corrector/    config.json, model.safetensors
    OUT/texts.json    the sentences trained on, and others of the same words

It shows that vec2text runs here, its decoding and its pipes; what text it writes is worth nothing.
"""

import argparse
import importlib.util
import json
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

WORKER = Path(__file__).parents[1] / "src/segue/serving/inverter/worker.py"
TOKENS = 12
WHO = ["river", "storm", "village", "farmer", "engineer", "bridge", "harbour", "winter", "garden", "teacher"]
DID = ["flooded", "crossed", "rebuilt", "left", "watched", "feared", "painted", "measured", "followed", "remembered"]
HOW = ["slowly", "twice", "again", "quietly", "early", "together"]
SPECIAL = ["<pad>", "</s>", "<unk>"]


def worker() -> ModuleType:
    """segue's worker by its path: this Python need not have segue."""
    spec = importlib.util.spec_from_file_location("inverter_worker", WORKER)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sentences(count: int, seed: int) -> list[str]:
    drawn = random.Random(seed)
    every = [f"the {a} {did} the {b} {how}" for a in WHO for did in DID for b in WHO for how in HOW if a != b]
    return drawn.sample(every, count)


def write_tokenizer(folder: Path) -> Any:
    """A word a token, </s> at the end, as T5's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL, "the", *WHO, *DID, *HOW]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=TOKENS
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_t5(folder: Path, vocabulary: int) -> None:
    from transformers import T5Config

    T5Config(
        vocab_size=vocabulary,
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    ).save_pretrained(folder)


def write_encoder(folder: Path, t5: Path) -> Any:
    """The encoder: random, but the same for the same seed, and told word order by T5's relative positions."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from transformers import AutoConfig, AutoTokenizer, T5EncoderModel

    torch.manual_seed(1)
    inside = folder.with_name("encoder-t5")
    T5EncoderModel(AutoConfig.from_pretrained(t5)).save_pretrained(inside)
    AutoTokenizer.from_pretrained(t5).save_pretrained(inside)
    layers = [modules.Transformer(str(inside), max_seq_length=TOKENS), modules.Pooling(64), modules.Dense(64, 768)]
    encoder = SentenceTransformer(modules=[*layers, modules.Normalize()], device="cpu")
    encoder.save(str(folder))
    return encoder


def settings() -> dict[str, Any]:
    """What a checkpoint's config.json holds of what vec2text reads."""
    return {
        "model_name_or_path": "../t5",
        "embedder_model_name": "../encoder",
        "embedder_model_api": None,
        "embedder_fake_with_zeros": False,
        "embedder_no_grad": True,
        "embedder_torch_dtype": "float32",
        "use_frozen_embeddings_as_input": True,
        "encoder_dropout_disabled": False,
        "decoder_dropout_disabled": False,
        "embeddings_from_layer_n": None,
        "num_repeat_tokens": 4,
        "max_seq_length": TOKENS,
        "use_lora": False,
        "corrector_ignore_hypothesis_embedding": False,
    }


def fit(loss_of: Any, model: Any, steps: int) -> float:
    """Adam over all of a model's own weights. → the last loss."""
    model.train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 20) * (1 - 0.9 * step / steps)
        loss = loss_of()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    model.eval()
    return float(loss.detach())


def train(out: Path, steps: int, texts: list[str]) -> None:
    """Both models, the second on what the first one writes."""
    ours = worker()
    ours.stub_metrics()
    import vec2text
    from safetensors.torch import save_model

    configs = {name: out / name for name in ("inversion", "corrector")}
    for folder in configs.values():
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(settings(), indent=1))
    here = {**settings(), "model_name_or_path": str(out / "t5"), "embedder_model_name": str(out / "encoder")}
    torch.manual_seed(2)
    inversion, corrector = (ours.build(kind, here) for kind in ("InversionModel", "CorrectorEncoderModel"))
    embedded = torch.tensor(inversion.embedder.encode(texts))
    labels = inversion.tokenizer(texts, padding="max_length", max_length=TOKENS, return_tensors="pt").input_ids
    targets = labels.masked_fill(labels == 0, -100)
    drawn = torch.Generator().manual_seed(3)

    def invert() -> torch.Tensor:
        i = torch.randint(len(texts), (32,), generator=drawn)
        return inversion(None, None, labels=targets[i], frozen_embeddings=embedded[i]).loss

    # A third of the steps: a first hypothesis that is right leaves the corrector nothing to learn.
    print("inversion: loss", round(fit(invert, inversion, steps // 3), 3))
    trainer = vec2text.load_corrector(inversion, corrector)
    with torch.no_grad():
        _, ids, mask, hypotheses = trainer._get_hypothesis_uncached({"frozen_embeddings": embedded})

    def correct() -> torch.Tensor:
        i = torch.randint(len(texts), (32,), generator=drawn)
        return corrector(embedded[i], hypotheses[i], ids[i], mask[i].long(), labels=targets[i]).loss

    print("corrector: loss", round(fit(correct, corrector, steps), 3))
    for model, folder in ((inversion, configs["inversion"]), (corrector, configs["corrector"])):
        save_model(model, str(folder / "model.safetensors"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    out = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    every = sentences(160, seed=0)
    trained, others = every[:128], every[128:]
    (out / "texts.json").write_text(json.dumps({"trained": trained, "others": others}, indent=1))
    write_t5(out / "t5", len(write_tokenizer(out / "t5")))
    write_encoder(out / "encoder", out / "t5")
    train(out, asked.steps, trained)
    print(f"written to {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
