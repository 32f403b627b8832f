"""What training minimises: terms, their weights by epoch, their sum."""

from segue.objectives.objective import TERMS, Objective
from segue.objectives.schedule import Schedule
from segue.objectives.term import Pass, Term

__all__ = ["TERMS", "Objective", "Pass", "Schedule", "Term"]
