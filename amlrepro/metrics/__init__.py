"""Records to numbers, with intervals: pure functions, torch-free."""
