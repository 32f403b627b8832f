"""The table of commands and the exit status: 0 good, 1 the checked thing fails, 2 bad input, 130 interrupted."""

import sys
from typing import NoReturn

import typer
from rich.text import Text

from segue.cli import (
    arrow,
    certify,
    chat,
    check,
    compare,
    demo,
    embed,
    fivecat,
    frontier,
    import_,
    notes,
    predict,
    rank,
    recipe,
    registry,
    report,
    serve,
    split,
    steer,
    store,
    train,
    watch,
    windows,
)
from segue.cli.console import err, listen_to_log
from segue.errors import InputError

app = typer.Typer(
    name="segue",
    help="Latent vector models: train networks that predict the next text embedding, and test them so that the "
    "verdict can be trusted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

# In the order of the way of the data.
app.command("demo")(demo.demo)
app.command("embed")(embed.embed)
app.command("import")(import_.import_vectors)
app.add_typer(store.app, name="store")
app.command("check")(check.check)
app.command("arrow")(arrow.arrow)
app.command("split")(split.split)
app.command("windows")(windows.windows)
app.add_typer(recipe.app, name="recipe")
app.command("train")(train.train)
app.command("5cat")(fivecat.fivecat)
app.command("certify")(certify.certify)
app.command("frontier")(frontier.frontier)
app.command("steer")(steer.steer)
app.command("report")(report.report)
app.command("watch")(watch.watch)
app.command("compare")(compare.compare)
app.command("notes")(notes.notes)
app.command("predict")(predict.predict)
app.command("rank")(rank.rank)
app.command("chat")(chat.chat)
app.add_typer(registry.app, name="registry")
app.add_typer(serve.app, name="serve")


def main() -> None:
    """Entry point of `segue`."""
    listen_to_log()
    try:
        app()
    except InputError as error:
        err.print(Text(f"error: {error}", style="red"), soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as end:
        if end.code == 130:  # what typer makes of Ctrl-C, without a word
            _interrupted()
        raise


def _interrupted() -> NoReturn:
    said = "interrupted: run the same command again (train: with --resume) to go on"
    err.print(said, style="red", highlight=False, soft_wrap=True)
    sys.exit(130)
