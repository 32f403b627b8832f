"""Recipes: what a run is made of, as data.

A recipe is a YAML file with the fields of `Recipe`; `extends: NAME` takes another one and changes only what differs.
Shipped ones lie in `segue/recipes/`. `schema` says what a recipe holds, `parsing` makes one from its fields, `files`
finds and merges them.
"""

from segue.recipe.files import header, is_section, read_fields, resolve, shipped
from segue.recipe.parsing import parse
from segue.recipe.schema import Recipe

__all__ = ["Recipe", "header", "is_section", "parse", "read_fields", "resolve", "shipped"]
