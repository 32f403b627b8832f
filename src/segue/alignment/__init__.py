"""5CAT: does a predictor look forward or copy? Known-answer controls beside every figure."""

from segue.alignment.entry import judge_predictor
from segue.alignment.explanation import explain
from segue.alignment.fivecat import controls_for, five_cat, mini_5cat, part_of, warnings_of
from segue.alignment.measure import Part
from segue.models.outside import Claims

__all__ = [
    "Claims",
    "Part",
    "controls_for",
    "explain",
    "five_cat",
    "judge_predictor",
    "mini_5cat",
    "part_of",
    "warnings_of",
]
