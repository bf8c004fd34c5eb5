"""When a run ends: at the first limit of its budget that it reaches."""

import math

from backend.schemas.experiments import Budget
from backend.schemas.measures import Update


class StoppingRule:
    """Checks a run's rows against the limits of its budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._best = math.inf
        self._without_progress = 0

    def state_dict(self) -> dict[str, float]:
        """Return the best test measure so far, and the number of evaluations since then."""
        return {"best": self._best, "without_progress": self._without_progress}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from a state."""
        self._best, self._without_progress = state["best"], int(state["without_progress"])

    def reached(self, row: Update) -> str:
        """Return which limit an update has reached, before its evaluation; empty if none."""
        budget = self._budget
        for name, limit, value in (
            ("updates", budget.updates, row.update),
            ("epochs", budget.epochs, row.epoch),
            ("seconds", budget.seconds, row.seconds),
        ):
            if limit is not None and value >= limit:
                return f"{name} = {limit:g} reached"
        return ""

    def out_of_patience(self, row: Update) -> str:
        """Count an evaluated row; return which test measure has not improved for too long, empty if none."""
        name, measure = ("test loss", row.test_loss)
        if row.test_accuracy is not None:
            name, measure = ("test accuracy", -row.test_accuracy)
        if measure is not None and measure < self._best:
            self._best = measure
            self._without_progress = 0
            return ""
        self._without_progress += 1
        if self._budget.patience is None or self._without_progress < self._budget.patience:
            return ""
        return f"patience = {self._budget.patience} reached: the {name} did not improve"
