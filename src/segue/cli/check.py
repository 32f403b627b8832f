"""`segue check`: is there something to learn in a store. Also run by `embed`, `import` and `train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from segue.cli.console import err, progress, show
from segue.cli.options import Device, Json, StorePath, Threads, pick_device
from segue.errors import InputError
from segue.progress import Progress, silent

if TYPE_CHECKING:
    import numpy as np

    from segue.statistics import Result
    from segue.vectors import Store
    from segue.windows import Split
    from segue.windows.checks import Check, Checked
    from segue.windows.hygiene import Hygiene

Strict = Annotated[bool, typer.Option("--strict", help="Stop with status 1 where a data check fails; else a warning.")]

VERIFIED_UP_TO = 2e9  # bytes of vectors; beyond, a check would mostly be hashing (1.4 GB/s on one core)


def check(
    store: StorePath,
    context: Annotated[int, typer.Option(help="Context chunks C.")] = 5,
    horizon: Annotated[int, typer.Option(help="Offset h of the target; 1 is the next chunk.")] = 1,
    split: Annotated[
        Path | None, typer.Option(help="Check the documents of a split, and that its parts share none.")
    ] = None,
    documents: Annotated[int, typer.Option(help="Check so many documents at most, drawn evenly; 0: all.")] = 2000,
    page: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an HTML page with the curves.")] = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = None,
) -> None:
    """Check a store: coherence, temporal signal, monotone slots, near-duplicates, padding, split hygiene; lag curve.

    Exit status 1 when a check fails. Whether the data have an arrow of time, `segue arrow` says.
    """
    import numpy as np

    from segue.vectors import Store
    from segue.windows import load_split
    from segue.windows.hygiene import check_split

    if context < 2 or horizon < 1:
        raise InputError(f"--context {context} --horizon {horizon}: at least 2 and 1 are wanted.")
    if documents < 0:
        raise InputError(f"--documents: found {documents}, a number from 1 is wanted, or 0 for all.")
    opened, where = Store(store), pick_device(device, threads)
    frozen = load_split(split) if split else None
    wanted = np.arange(opened.n_documents)
    if frozen:
        wanted = np.unique(np.concatenate([frozen.documents(opened, part) for part in ("train", "VAL", "OOD")]))
    with progress() as report:
        hygiene = check_split(opened, frozen, device=where, progress=report) if frozen else None
        checked = _checked(opened, wanted, context, horizon, documents, where, report, hygiene)
        verified = checked is not None and _verified(opened, report)
    if checked is None:
        raise InputError(
            f"{store}: no document has {context + horizon} chunks in a row, so there is no window to check. "
            f"Chunk more finely, or use longer documents."
        )
    value = {
        "store": str(store),
        "store_hash": opened.hash,
        "verified": verified,
        "space": opened.space.id,
        "split": str(split) if split else None,
        "context": context,
        "horizon": horizon,
        **checked.to_json(),
    }
    if page:
        from segue.report.checks import write_check_page

        err.print(f"page: {write_check_page(value, page)}", highlight=False, soft_wrap=True)
    show(_table(store, checked), value, json)
    if not checked.passed:
        raise typer.Exit(1)


def _verified(store: "Store", report: Progress) -> bool:
    """Whether the whole store was compared with its hashes; of a large one the rows that are checked must do."""
    from segue.vectors.store import VECTORS

    size = (store.path / VECTORS).stat().st_size
    if size <= VERIFIED_UP_TO:
        store.verify(report)
        return True
    err.print(
        f"note: {store.path / VECTORS} is {size / 1e9:.1f} GB: hashes are not compared, and only the rows of the "
        f"documents checked are looked at for NaN; `segue store describe {store.path} --verify` reads all.",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )
    return False


def _checked(
    store: "Store",
    wanted: "np.ndarray",
    context: int,
    horizon: int,
    most: int,
    device: str,
    report: Progress,
    hygiene: "Hygiene | None",
) -> "Checked | None":
    """The checks of at most `most` of the wanted documents, 0 for all; None where none has a window."""
    import numpy as np

    from segue.windows.checks import check_windows, sampled_windows

    windows, of = sampled_windows(store, wanted, context, horizon, most or len(wanted))
    store.require_finite(np.flatnonzero(np.isin(store.document_N, windows.documents)), report)
    return check_windows(windows, device, report, of=of, hygiene=hygiene) if len(windows) else None


def warn_of_data(
    store: "Store",
    *,
    split: "Split | None" = None,
    ood: "Store | None" = None,
    context: int = 5,
    horizon: int = 1,
    device: str = "cpu",
    strict: bool = False,
) -> None:
    """A warning line on stderr for each check that fails; under `strict`, then exit status 1.

    For the commands that make or use a store: of a large one a sample of the documents is checked. With a split, the
    documents of train, and whether the parts share any.
    """
    import numpy as np

    from segue.windows.checks import MAX_DOCUMENTS
    from segue.windows.hygiene import check_split

    with progress() as bars:
        report = bars if err.is_terminal else silent  # a command's own log is not about this
        hygiene = check_split(store, split, ood, device, report) if split else None
        wanted = split.documents(store, "train") if split else np.arange(store.n_documents)
        checked = _checked(store, wanted, context, horizon, MAX_DOCUMENTS, device, report, hygiene)
    if checked is None:
        lines = [f"no document has {context + horizon} chunks in a row: nothing to learn the next chunk from"]
    else:
        sample = f" ({checked.documents:,} of {checked.of:,} documents checked)" if checked.sampled else ""
        failed = [one for one in checked.checks if not one.passed]
        lines = [f"{one.name} {_value(one)}, wanted {one.wanted}{sample}" for one in failed]
    for line in lines:
        err.print(Text(f"warning: {store.path}: {line}. See `segue check`.", style="yellow"), soft_wrap=True)
    if lines and strict:
        err.print(Text("stopped by --strict", style="red"), soft_wrap=True)
        raise typer.Exit(1)


def _table(store: Path, checked: "Checked") -> RenderableType:
    """Checks, slots and lag curve; every figure whole in 80 columns."""
    sample = f" of {checked.of:,}, a sample" if checked.sampled else ""
    table = _plain(f"{store}: {checked.windows:,} windows of {checked.documents:,} documents{sample}")
    for column, side in (("check", "left"), ("found", "right"), ("95 % interval", "left"), ("wanted", "left")):
        table.add_column(column, justify="right" if side == "right" else "left", no_wrap=column != "wanted")
    table.add_column("")
    for one in checked.checks:
        verdict = "[red]fails[/]" if not one.passed else "[green]good[/]" if one.good else "[green]passes[/]"
        table.add_row(one.name, _value(one), _interval(one), one.wanted, verdict)
    said: list[RenderableType] = [
        table,
        _curve("cos(slot, target), oldest to last", list(range(1 - len(checked.slots), 1)), checked.slots),
        _curve("lag curve: mean cos(x_t, x_t+k)", list(range(1, len(checked.lags) + 1)), checked.lags),
    ]
    if checked.hygiene:
        for pair in checked.hygiene.pairs[:5]:
            (a, b), (first, second) = pair.parts, pair.documents
            said.append(Text(f"{a} {first!r} and {b} {second!r} share {pair.share:.0%} of the shorter", style="red"))
        if checked.hygiene.left_out:
            said.append(Text(f"{checked.hygiene.left_out:,} less similar pairs of documents were not compared"))
    return Group(*said)


def _plain(title: str) -> Table:
    return Table(
        title=f"\n{title}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False
    )


def _curve(title: str, heads: list[int], results: "list[Result]") -> Table:
    table = _plain(title)
    for head in heads:
        table.add_column(str(head), justify="right", no_wrap=True)
    table.add_row(*("–" if one.value is None else f"{one.value:.3f}" for one in results))
    return table


def _value(one: "Check") -> str:
    return _number(one, one.found.value)


def _interval(one: "Check") -> str:
    low, high = one.found.low, one.found.high
    return "–" if low is None or high is None else f"{_number(one, low)} … {_number(one, high)}"


def _number(one: "Check", value: float | None) -> str:
    """A count, a share in %, a signed difference, a mean."""
    if value is None or isinstance(value, int):
        return "–" if value is None else f"{value:,}"
    if one.name == "adjacent near-duplicates":
        return f"{value:.2%}"
    return f"{value:+.3f}" if one.name == "temporal signal" else f"{value:.3f}"
