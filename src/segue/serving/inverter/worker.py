"""vec2text behind two pipes: a request a line on stdin, an answer a line on stdout, both JSON.

    first line out   {"ready": {"embedder", "dim", "tokens", "vec2text"}}, or {"error": "…"} and the process ends
    request          {"id": 7, "vectors": [[…], …], "steps": 5, "beam": 1}
    answer           {"id": 7, "texts": ["…", …]}, or {"id": 7, "error": "…"}

Ends when stdin does. What libraries print goes to stderr. Run by its path, in a Python that has vec2text and need not
have segue: nothing here imports it.

What vec2text 0.0.13 needs to run on transformers 5, and without a hub where the files are local:

- `evaluate.load` fetches metrics from the hub, which decoding does not use: a stub.
- `from_pretrained` of its models fails in transformers 5 (they load other models while being built, on the meta
  device): they are built from their config, and their weights loaded from safetensors. Nothing is unpickled.
- The T5 inside is built from its config too: its weights lie in the checkpoint.
- `length_penalty`, which its beam search raises a length to, is None in transformers 5: 1.0, the value it was.

Legend: Q vectors, D width.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import types
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

CONFIG, WEIGHTS = "config.json", "model.safetensors"
# Written by transformers, of no meaning to vec2text.
NOT_OURS = ("architectures", "model_type", "transformers_version", "torch_dtype", "dtype", "_name_or_path")


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message is one line."""


def stub_metrics() -> None:
    """Keep vec2text's trainers from asking the hub for metrics."""
    import evaluate

    evaluate.load = lambda *_, **__: None


def find(name: str) -> Path:
    """A checkpoint's folder: the folder itself, or a repository of the hub, fetched or from the cache."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.model"]))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise CheckpointError(f"{name}: is no folder, and the hub does not give it ({first_line(error)})") from None


def weights(folder: Path) -> dict[str, Any]:
    """All tensors of a checkpoint in safetensors, in one file or several."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    index = folder / f"{WEIGHTS}.index.json"
    names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else [WEIGHTS]
    tensors: dict[str, Any] = {}
    for name in names:
        if not (folder / name).is_file():
            raise CheckpointError(
                f"{folder / name}: no such file; weights in safetensors are wanted, none is unpickled"
            )
        try:
            tensors |= load_file(folder / name)
        except SafetensorError as error:
            raise CheckpointError(f"{folder / name}: is damaged ({first_line(error)}). Copy it again") from None
    return tensors


class FromConfig:
    """Stands where vec2text asks transformers for a pretrained T5: the same network, its weights still to be loaded."""

    @staticmethod
    def from_pretrained(name: str, **_: Any) -> Any:
        from transformers import AutoConfig, AutoModelForSeq2SeqLM

        return AutoModelForSeq2SeqLM.from_config(AutoConfig.from_pretrained(name))


def sentence_transformer(name: str, torch_dtype: str = "float32", **_: Any) -> tuple[Any, Any]:
    """The encoder that is inverted, as sentence-transformers runs it (GTR: with its dense layer), and its tokenizer."""
    from sentence_transformers import SentenceTransformer

    known = {"gtr_base_st": "sentence-transformers/gtr-t5-base"}
    if name not in known and not Path(name).is_dir():
        raise CheckpointError(
            f"its encoder is {name!r}: gtr_base_st (GTR as sentence-transformers runs it) or a folder is wanted. "
            f"ielabgroup's checkpoints are made for that one"
        )
    model = SentenceTransformer(known.get(name, name), device="cpu")
    return model, model.tokenizer


@contextlib.contextmanager
def built_from_config() -> Any:
    """While vec2text builds a model: no weights are fetched that the checkpoint holds itself."""
    from vec2text.models import corrector_encoder, inversion

    before = inversion.load_encoder_decoder, inversion.load_embedder_and_tokenizer, corrector_encoder.transformers
    inversion.load_encoder_decoder = lambda model_name, lora=False: FromConfig.from_pretrained(model_name)
    inversion.load_embedder_and_tokenizer = sentence_transformer
    corrector_encoder.transformers = types.SimpleNamespace(AutoModelForSeq2SeqLM=FromConfig)
    try:
        yield
    finally:
        inversion.load_encoder_decoder, inversion.load_embedder_and_tokenizer = before[:2]
        corrector_encoder.transformers = before[2]


def build(kind: str, settings: dict[str, Any]) -> Any:
    """An InversionModel or a CorrectorEncoderModel of vec2text, with random weights."""
    import vec2text
    from vec2text.models.config import InversionConfig

    config = InversionConfig(**{name: value for name, value in settings.items() if name not in NOT_OURS})
    with built_from_config():
        model = getattr(vec2text.models, kind)(config)
    model.encoder_decoder.generation_config.length_penalty = 1.0
    return model


def load(kind: str, folder: Path) -> Any:
    """A model with the weights of its checkpoint; every weight but the encoder's must be there."""
    try:
        settings = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / CONFIG}: cannot be read ({first_line(error)})") from None
    for key in ("model_name_or_path", "embedder_model_name"):  # a folder beside the checkpoint goes with it
        beside = folder / str(settings.get(key))
        settings[key] = str(beside) if beside.is_dir() else settings.get(key)
    try:
        model = build(kind, settings)
    except (AttributeError, KeyError, OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: no {kind} can be built from its {CONFIG} ({first_line(error)})") from None
    tensors = {name: value for name, value in weights(folder).items() if not name.startswith("embedder.")}
    own = {name: value for name, value in model.state_dict().items() if not name.startswith("embedder.")}
    for name, value in tensors.items():
        if name in own and own[name].shape != value.shape:
            shapes = f"{tuple(value.shape)}, {tuple(own[name].shape)} is wanted"
            raise CheckpointError(f"{folder}: {name} is {shapes}; the checkpoint is of another model")
    model.load_state_dict(tensors, strict=False)
    # Tied weights have several names and are stored under one.
    loaded = {own[name].data_ptr() for name in tensors if name in own}
    if lacking := [name for name, value in own.items() if value.data_ptr() not in loaded]:
        raise CheckpointError(f"{folder}: lacks {len(lacking)} weights of a {kind}, {lacking[0]} first")
    return model.eval()


class Inverter:
    """Both models, ready to write text."""

    def __init__(self, inversion: Path, corrector: Path):
        stub_metrics()
        import vec2text

        first, second = load("InversionModel", inversion), load("CorrectorEncoderModel", corrector)
        self._corrector = vec2text.load_corrector(first, second)
        self._device = next(second.parameters()).device
        self.about = {
            "embedder": first.config.embedder_model_name,
            "dim": second.embedder_dim,
            "tokens": first.config.max_seq_length,
            "vec2text": version("vec2text"),
        }
        if first.embedder_dim != second.embedder_dim:
            raise CheckpointError(f"{inversion}: inverts {first.embedder_dim} numbers, its corrector wants 768")

    def texts(self, vectors: list[list[float]], steps: int, beam: int) -> list[str]:
        """The text of each vector. 0 steps: the first hypothesis; a beam of 1 is greedy."""
        import torch
        import vec2text

        with torch.no_grad():
            return vec2text.invert_embeddings(
                embeddings=torch.tensor(vectors, dtype=torch.float32, device=self._device),
                corrector=self._corrector,
                num_steps=steps or None,
                sequence_beam_width=beam if steps and beam > 1 else 0,
            )


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def answer(inverter: Inverter, line: str) -> dict[str, Any]:
    """One request's answer. A mistake of vec2text is told and the process goes on."""
    request = json.loads(line)
    try:
        return {"id": request["id"], "texts": inverter.texts(request["vectors"], request["steps"], request["beam"])}
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        return {"id": request["id"], "error": f"{type(error).__name__}: {first_line(error)}"}


def say(out: TextIO, value: dict[str, Any]) -> None:
    out.write(json.dumps(value) + "\n")
    out.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description="vec2text behind two pipes")
    parser.add_argument("inversion", help="a checkpoint's folder or its name on the hub")
    parser.add_argument("corrector")
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # vec2text prints
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "WANDB_DISABLED": "true"}
    try:
        import torch

        if asked.threads:
            torch.set_num_threads(asked.threads)
        folders = [find(name).resolve() for name in (asked.inversion, asked.corrector)]
        with tempfile.TemporaryDirectory() as scratch:
            os.chdir(scratch)  # transformers' Trainer makes a folder where it stands
            inverter = Inverter(*folders)
            os.chdir("/")
    except CheckpointError as error:
        say(out, {"error": first_line(error)})
        sys.exit(2)
    except ImportError as error:
        say(out, {"error": f"{sys.executable} cannot import vec2text ({first_line(error)})"})
        sys.exit(2)
    say(out, {"ready": inverter.about})
    for line in sys.stdin:
        say(out, answer(inverter, line))


if __name__ == "__main__":
    main()
