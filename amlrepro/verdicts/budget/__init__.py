"""What a budget of GPU hours can decide: `plan_budget`. Torch-free."""

from amlrepro.verdicts.budget.planning import SEEDS, Extra, plan_budget
from amlrepro.verdicts.budget.result import BudgetPlan, as_json

__all__ = ["SEEDS", "BudgetPlan", "Extra", "as_json", "plan_budget"]
