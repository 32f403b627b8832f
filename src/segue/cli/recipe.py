"""`segue recipe`: what can be trained."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
import yaml
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from segue.cli.console import out, show
from segue.cli.options import Json

app = typer.Typer(help="Look at recipes.", no_args_is_help=True)

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe's name, or a .yaml file of yours.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one field, as model.layers=2; repeatable."),
]


@app.command("list")
def list_(json: Json = None) -> None:
    """The recipes that ship with segue."""
    from segue.recipe import header, resolve, shipped

    table = Table("recipe", "model", "epochs", "terms", "what it is", title="recipes", title_justify="left")
    values = []
    for name, path in shipped().items():
        recipe = resolve(name)
        terms = list(recipe.objective)
        about = header(path)
        table.add_row(name, recipe.model.family, str(recipe.epochs), ", ".join(terms), about)
        values.append(
            {"name": name, "model": recipe.model.family, "epochs": recipe.epochs, "terms": terms, "about": about}
        )
    show(table, values, json)


@app.command("show")
def show_(recipe: RecipeName, sets: Sets = None, json: Json = None) -> None:
    """Print a whole recipe: what it extends and every --set resolved."""
    from segue.recipe import resolve

    resolved = resolve(recipe, sets or ())
    if json is None and not out.is_terminal:  # a file to change and to train by: nothing cut, whatever the width
        print(resolved.to_yaml(), end="")
        return
    shown = Syntax(resolved.to_yaml().rstrip(), "yaml", background_color="default", word_wrap=True)
    show(shown, resolved.to_json(), json)


@app.command("diff")
def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A shipped recipe's name, or a .yaml file.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another; RUN/recipe.yaml is what a run was trained by.")],
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one field of B; repeatable.")
    ] = None,
    json: Json = None,
) -> None:
    """Print where two recipes differ, both resolved: a line a key. Exit status 0 whether they do or not."""
    from segue.recipe import resolve

    ours, theirs = (_leaves(resolve(name, its).to_json()) for name, its in ((first, ()), (second, sets or ())))
    names = [str(leaves.pop("name")) for leaves in (ours, theirs)]  # two files differ in it whatever they say
    sections = list(dict.fromkeys(key.split(".")[0] for key in [*ours, *theirs]))
    keys = sorted({**ours, **theirs}, key=lambda key: sections.index(key.split(".")[0]))
    differing = [key for key in keys if (key in ours) != (key in theirs) or ours.get(key) != theirs.get(key)]
    value = {
        "a": names[0],
        "b": names[1],
        "differences": [
            {"key": key, **{side: its[key] for side, its in (("a", ours), ("b", theirs)) if key in its}}
            for key in differing
        ],
    }
    if not differing:
        show(Text(f"{names[0]} and {names[1]} are the same recipe."), value, json)
        return
    heads = names if names[0] != names[1] else [first, " ".join([second, *(sets or ())])]
    table = Table(title=f"{len(differing)} of {len(keys)} keys differ", title_justify="left")
    table.add_column("key", overflow="fold", width=min(38, max(map(len, differing))))
    for head in heads:
        table.add_column(Text(head), overflow="fold")
    for key in differing:
        table.add_row(Text(key), *(Text(_written(its[key]) if key in its else "–") for its in (ours, theirs)))
    show(table, value, json)


def _leaves(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted keys of a resolved recipe; null is not used, so absent.

    A schedule is one value, and so is a list; maps in a list that have names go by them.
    """
    from segue.recipe import is_section

    def walk(value: Any, key: str) -> Iterator[tuple[str, Any]]:
        if is_section(value) and value:
            for name, inner in value.items():
                yield from walk(inner, f"{key}.{name}" if key else str(name))
        elif (
            isinstance(value, list | tuple)
            and value
            and all(isinstance(one, Mapping) and "name" in one for one in value)
        ):
            for one in value:
                yield f"{key}.{one['name']}", {name: its for name, its in one.items() if name != "name"}
        elif value is not None and not (isinstance(value, list | tuple) and not value):
            yield key, list(value) if isinstance(value, tuple) else value

    return dict(walk(tree, ""))


def _written(value: Any) -> str:
    """A value as a recipe would have it; text as it is, each entry of a list of maps or texts on a line of its own."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and any(isinstance(one, Mapping | str) for one in value):
        return "\n".join(_written(one) for one in value)
    used = {name: its for name, its in value.items() if its is not None} if isinstance(value, Mapping) else value
    text = yaml.safe_dump(used, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("...\n").strip()
