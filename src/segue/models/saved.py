"""Model folders: what is trained is what is loaded, tested and served.

MODEL/weights.safetensors   the parameters, by name
MODEL/model.yaml            kind, name, family, options, space, context, horizon, facets
MODEL/manifest.json         kind "model", hashes of both; written last
"""

import hashlib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from segue.artifacts import MANIFEST, hash_file, make_folder, read_manifest, write_atomic, write_manifest, write_text
from segue.errors import InputError, nearest
from segue.models.families import build_model, family_named
from segue.models.network import LatentModel
from segue.models.steered import BASE, Steered
from segue.vectors import Space

WEIGHTS, DESCRIPTION = "weights.safetensors", "model.yaml"
SHIPPED = Path(str(files("segue.models"))) / "shipped"  # a folder for each
BEST = "best"  # a run's link to the epoch its recipe's metric chose
REMEDY = "Copy the folder again from where it came, or train it again."


def save_tensors(path: str | Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file, whole or not at all. Raises InputError for a full disk and the like."""
    blob = save({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()})
    with write_atomic(path) as file:
        file.write(blob)


def weights_hash(model: LatentModel) -> str:
    """sha256 of a model's parameters, by name, as `sha256:…`: the same wherever the model lies."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def load_tensors(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Read a safetensors file. Raises InputError when it is missing or damaged."""
    try:
        return load_file(path, device=str(device))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, the folder is not whole. {REMEDY}") from None
    except SafetensorError as error:
        raise InputError(f"{path}: is not a whole safetensors file ({error}). {REMEDY}") from None


def save_model(model: LatentModel, folder: str | Path, made_by: str = "segue", **fields: Any) -> Path:
    """Write a model folder, its manifest last. `fields` go into the manifest (run, epoch, …).

    Raises InputError when the folder cannot be written.
    """
    folder = make_folder(folder)
    (folder / MANIFEST).unlink(missing_ok=True)
    description = {
        "kind": "network",
        "name": model.name,
        "family": model.family,
        "options": model.options.model_dump(),
        "space": model.space.to_json(),
        "context": model.context,
        "horizon": model.horizon,
        "facets": list(model.facets),
    }
    save_tensors(folder / WEIGHTS, model.state_dict())
    write_text(folder / DESCRIPTION, yaml.safe_dump(description, sort_keys=False, allow_unicode=True))
    hashes = {name: hash_file(folder / name) for name in (WEIGHTS, DESCRIPTION)}
    write_manifest(folder, "model", made_by, parameters=model.parameter_count, hashes=hashes, **fields)
    return folder


def verify(folder: Path, field: str = "hashes") -> None:
    """Compare a finished model folder's files with the hashes that a field of its manifest has for them.

    Raises InputError for the first file that is missing or was changed, and when the manifest has no such field.
    """
    hashes = read_manifest(folder, "model").get(field)
    if not isinstance(hashes, dict):
        raise InputError(f"{folder / MANIFEST}: has no {field} to know its files by. {REMEDY}")
    for name, wanted in hashes.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path}: no such file, the folder is not whole. {REMEDY}")
        if hash_file(path) != wanted:
            raise InputError(f"{path}: was changed after it was written (its hash differs). {REMEDY}")


def read_description(folder: Path) -> dict[str, Any]:
    """What a folder's model.yaml says. Raises InputError when it is missing or no map."""
    path = folder / DESCRIPTION
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, the folder is not whole. {REMEDY}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path}: does not describe a model ({said}). {REMEDY}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: does not describe a model (it is no map). {REMEDY}")
    return found


def load_weights(model: LatentModel, path: Path) -> None:
    """Put a file's tensors into a model. Raises InputError where names or shapes do not fit."""
    found, wanted = load_tensors(path), model.state_dict()
    missing, strange = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    if missing or strange:
        first = min(missing) if missing else min(strange)
        said = "lacks" if missing else "has, beyond what the model knows,"
        count = len(missing) if missing else len(strange)
        raise InputError(f"{path}: {said} {count} tensors (first: {first}). {REMEDY}")
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            raise InputError(
                f"{path}: {name} is {tuple(found[name].shape)}, {DESCRIPTION} makes it {tuple(tensor.shape)}. {REMEDY}"
            )
    model.load_state_dict(found)


def _load_network(folder: Path, description: dict[str, Any]) -> LatentModel:
    family = family_named(description["family"])
    with torch.random.fork_rng(devices=[]):  # fresh weights are overwritten: drawing them must not move the generator
        model = build_model(
            description["family"],
            Space.from_json(description["space"]),
            family.options_type(**description["options"]),
            context=description["context"],
            horizon=description["horizon"],
            facets=description["facets"],
            name=description["name"],
        )
    load_weights(model, folder / WEIGHTS)
    return model


# What a model.yaml's `kind` says and who reads it: another kind of saved predictor is a function and a line.
KINDS: dict[str, Callable[[Path, dict[str, Any]], LatentModel]] = {
    "network": _load_network,
    "steered": lambda folder, its: Steered(load_model(folder / BASE), its["beta"], its["name"]),
}


def shipped_models() -> list[str]:
    """Names of the models that come with segue."""
    return sorted(folder.name for folder in SHIPPED.iterdir() if (folder / DESCRIPTION).is_file())


def located(path: str | Path) -> Path:
    """The path itself; where nothing lies there and it is the name of a model that ships, that one's folder."""
    path = Path(path)
    ships = len(path.parts) == 1 and not path.exists() and path.name in shipped_models()
    return SHIPPED / path.name if ships else path


def model_folder(path: str | Path) -> Path:
    """The model folder that a path means: itself, the best epoch of a run, or a model of that name that ships."""
    path = located(path)
    best = path / BEST
    return best if best.is_dir() and not (path / DESCRIPTION).exists() else path


def load_model(path: str | Path, device: torch.device | str = "cpu") -> LatentModel:
    """Load a saved predictor from a model folder, or from a run folder its best epoch. In evaluation mode.

    Raises InputError when the folder is missing, unfinished, damaged, or its weights do not fit its description.
    """
    folder = model_folder(path)
    if not folder.exists():
        raise InputError(f"{folder}: no such model. Check the path; with segue comes {', '.join(shipped_models())}.")
    verify(folder)
    description = read_description(folder)
    try:
        kind = description["kind"]
        if kind not in KINDS:
            raise InputError(f"{folder / DESCRIPTION}: unknown kind {kind!r}. {nearest(str(kind), KINDS)}")
        model = KINDS[kind](folder, description)
    except (KeyError, TypeError, AttributeError, ValidationError) as error:
        said = str(error).replace("\n", " ")
        raise InputError(f"{folder / DESCRIPTION}: does not describe a model ({said}). {REMEDY}") from None
    return model.to(device).eval()
