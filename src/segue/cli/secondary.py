"""The table of what no gate judges: peers' metrics, ordering, the rollouts by what is fed back."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

# Headers broken so that the table fits 80 columns with every figure whole.
COLUMNS = {
    "ℓ2": ("l2",),
    "contr.\npaper": ("contrastive", "paper"),
    "contr.\ncode": ("contrastive", "code"),
    "binary": ("ordering", "binary"),
    "τ": ("ordering", "kendall_tau"),
    "per-\nfect": ("ordering", "perfect_match"),
    "rollout\nMRR": ("rollout", "mrr"),
    "snap-\nped": ("rollout", "snapped", "mrr"),
}


def secondary_table(result: dict[str, Any]) -> RenderableType:
    """A table for each part of a `5cat.json` value: the predictor with its intervals, its controls, chance, n."""
    return Group(*(_part(result, part) for part, found in result["splits"].items() if found))


def _part(result: dict[str, Any], part: str) -> Table:
    metrics = result["splits"][part]
    batch = (metrics.get("contrastive") or {}).get("batch")
    size = f"; batches of {batch:.0f} chunks" if batch else ""
    table = Table(
        title=f"{part}: what no gate judges{size}",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("predictor", no_wrap=True, min_width=15, max_width=15)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_row(Text(result["predictor"]["name"]), *_cells(metrics), style="bold")
    table.add_row("  from", *_cells(metrics, "low"), style="dim")
    table.add_row("  to (95 %)", *_cells(metrics, "high"), style="dim")
    table.add_section()
    for control, its in result["controls"].items():
        table.add_row(control, *_cells(its.get(part)), style="" if its["attainable"] else "dim")
    table.add_row("chance", *_cells(metrics, "chance"), style="dim")
    table.add_row("n", *_cells(metrics, "n"), style="dim")
    return table


def _cells(metrics: dict[str, Any] | None, field: str = "value") -> list[str]:
    cells = []
    for path in COLUMNS.values():
        node: Any = metrics
        for step in path:
            node = node.get(step) if isinstance(node, dict) else None
        value = node.get(field) if isinstance(node, dict) else None
        cells.append("–" if value is None else f"{value:,}" if field == "n" else f"{round(value, 3) + 0.0:.3f}")
    return cells
