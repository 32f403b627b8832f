"""Early stop: no further epochs once a VAL metric has ceased to improve."""

from dataclasses import dataclass


@dataclass
class Patience:
    """Counts the epochs in a row that were no better than the best so far; not computed is no better."""

    higher: bool
    patience: int
    best: float | None = None
    waited: int = 0

    def is_over(self, value: float | None) -> bool:
        """After an epoch of that value: were the last `patience` epochs all no better?"""
        if value is not None and (self.best is None or (value > self.best if self.higher else value < self.best)):
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        return self.waited >= self.patience
