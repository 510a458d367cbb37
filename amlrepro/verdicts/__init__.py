"""What the numbers decide: claims, the audit, readings, budgets, the harness, laboratories. Never imports torch.

Stands between `report` (which shows it) and `suite` (which knows the cells)."""
