"""What a run was trained on: its store, its OOD store, its split, found from any folder of the run.

A run must not be tested on its own training documents by mistake: data are compared by hash, never by how a path was
typed, and a checkpoint inside the run (`best`, `epochs/003`) knows the run it belongs to.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segue.artifacts import MANIFEST, is_finished, read_json
from segue.cli.split import chosen_split
from segue.errors import InputError

if TYPE_CHECKING:
    from segue.vectors import Store
    from segue.windows import Split

SPLIT = "split.json"


@dataclass(frozen=True)
class RunData:
    """Of one run: where its data lay, and by which hashes they are known.

    store, ood    paths; `store` is None for an unfinished run, `ood` where it had no OOD store
    """

    run: Path
    store: Path | None
    store_hash: str
    split: Path
    split_hash: str
    ood: Path | None
    ood_hash: str | None

    @property
    def finished(self) -> bool:
        return is_finished(self.run)

    def made_with(self, data: dict[str, Any]) -> bool:
        """Whether the `data` of a 5cat.json are the run's own: store, split and OOD store."""
        mine = (self.store_hash, self.split_hash, self.ood_hash)
        return mine == (data["store_hash"], data["split"]["hash"], data["ood_store_hash"])


def run_folder(predictor: Path) -> Path | None:
    """The folder that froze a split for a predictor: RUN, also for RUN/best and RUN/epochs/003; a steered one's own."""
    here = predictor.absolute()
    for folder in (here, here.parent, here.parent.parent):
        if (folder / SPLIT).is_file():
            return folder
    return None


def data_of(run: Path) -> RunData:
    """What a run, finished or not, was trained on. Raises InputError where its files do not say."""
    frozen = read_json(run / SPLIT)
    manifest = read_json(run / MANIFEST) if is_finished(run) else {}
    try:
        ood = manifest.get("ood")
        return RunData(
            run,
            Path(manifest["data"]["store"]) if manifest else None,
            frozen["store"],
            run / SPLIT,
            frozen["hash"],
            Path(ood["store"]) if ood else None,
            ood["hash"] if ood else None,
        )
    except (KeyError, TypeError, AttributeError):
        raise InputError(
            f"{run}: its {SPLIT} or {MANIFEST} does not say what it was trained on. Train it again."
        ) from None


@dataclass(frozen=True)
class Chosen:
    """What a predictor is judged on, and the run it comes from, if it comes from one."""

    store: "Store"
    ood: "Store | None"
    split: "Split"
    run: RunData | None

    def is_own(self, predictor: Path, data: dict[str, Any]) -> bool:
        """Whether a 5cat.json's `data` are those of the finished run that the predictor is, a checkpoint apart."""
        run = self.run
        return run is not None and run.finished and run.run == predictor.absolute() and run.made_with(data)

    def warnings(self) -> list[str]:
        """What must be said of documents that the run was trained on."""
        return trained_on(self.run.run, self.split, self.ood) if self.run else []


def chosen_data(predictor: str, data: Path | None, ood: Path | None, split: Path | None) -> Chosen:
    """The store, OOD store and split given, else those of the predictor's run; else 80/10/10 of the store given.

    A run's own split is taken whenever the store is the run's own, by hash, however its path is spelled.
    Raises InputError where no store is given or known, and for an OOD store that is the store itself.
    """
    from segue.vectors import Store

    folder = run_folder(Path(predictor)) if Path(predictor).is_dir() else None
    run = data_of(folder) if folder else None
    if data is None:
        if run is None or run.store is None:
            raise InputError(f"--data: {predictor} names no store of its own. Give the store to test on.")
        data = _there(run, run.store, "--data")
    store = Store(data)
    if run and store.hash == run.store_hash:
        ood = ood or (_there(run, run.ood, "--ood") if run.ood else None)
        split = split or run.split
    other = Store(ood) if ood else None
    if other is not None and other.hash == store.hash:
        raise InputError(
            f"--ood: {other.path} holds the same vectors as {store.path}, another corpus is wanted. "
            f"Leave it out, and give the split an OOD part with `segue split`."
        )
    return Chosen(store, other, chosen_split(store, split), run)


def _there(run: RunData, path: Path, option: str) -> Path:
    """A path that a run names. Raises InputError that says so where nothing is there any more."""
    if not path.exists():
        raise InputError(f"{path}: no such store; {run.run} was trained with it. Give the store with {option}.")
    return path


def trained_on(run: Path, split: "Split", ood: "Store | None") -> list[str]:
    """Warnings where documents judged are among those the run was trained on, by id."""
    from segue.windows import load_split

    train = set(load_split(run / SPLIT).train)
    judged = {"VAL": split.VAL, "OOD": tuple(ood.document_ids) if ood else split.OOD}
    said = []
    for part, ids in judged.items():
        shared = len(train & set(ids))
        if shared:
            said.append(
                f"{shared} of {len(ids)} {part} documents have the ids of documents that {run} was trained on: "
                f"unless they are other documents of the same name, these figures are not of unseen text."
            )
    return said
