"""What training minimises: terms, their weights by epoch, their sum."""

from segue.objectives.forward import Pass
from segue.objectives.objective import TERMS, Objective, Step, gradient_ratios
from segue.objectives.schedule import Schedule
from segue.objectives.term import Term

__all__ = ["TERMS", "Objective", "Pass", "Schedule", "Step", "Term", "gradient_ratios"]
