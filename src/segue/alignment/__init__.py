"""5CAT: does a predictor look forward or copy? Known-answer controls beside every figure."""

from segue.alignment.fivecat import controls_for, five_cat, mini_5cat, part_of, warnings_of
from segue.alignment.measure import Part

__all__ = ["Part", "controls_for", "five_cat", "mini_5cat", "part_of", "warnings_of"]
