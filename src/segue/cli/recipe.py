"""`segue recipe`: what can be trained."""

from typing import Annotated

import typer
from rich.syntax import Syntax
from rich.table import Table

from segue.cli.console import show
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
    show(Syntax(resolved.to_yaml().rstrip(), "yaml", background_color="default"), resolved.to_json(), json)
