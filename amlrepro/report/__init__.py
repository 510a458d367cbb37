"""Store to tables, figures and pages. Never imports torch."""
