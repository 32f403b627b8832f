"""Make the model that comes with segue of a run of the study: weights, description, card with the study's own figures.

python benchmarks/onward_ship.py --out runs/onward --run transfer-seed0
"""

import argparse
from pathlib import Path

from onward_page import WIKIPEDIA, Judged, elsewhere
from onward_study import CORPORA
from segue.artifacts import read_json, write_text
from segue.models import load_model
from segue.models.saved import SHIPPED, model_folder, save_model

NAME = "onward"
CARD = Path(__file__).with_name("onward_card.md")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/onward"), help="the study's folder")
    parser.add_argument("--run", default="transfer-seed0")
    options = parser.parse_args()
    source = options.out / options.run
    model, manifest = load_model(source), read_json(model_folder(source) / "manifest.json")
    model.name = NAME
    kept = {key: manifest[key] for key in ("epoch", "recipe", "trained_on")}
    folder = save_model(model, SHIPPED / NAME, made_by="benchmarks/onward_ship.py", **kept)
    parts = {name: Judged(options.out / "judged" / name) for name in (*WIKIPEDIA, *CORPORA)}
    table = elsewhere({WIKIPEDIA.get(name, name): judged for name, judged in parts.items()})
    told = {"parameters": model.parameter_count, "space": model.space.id, "run": options.run, "epoch": kept["epoch"]}
    write_text(folder / "README.md", CARD.read_text(encoding="utf-8").format(table="\n".join(table), **told))


if __name__ == "__main__":
    main()
