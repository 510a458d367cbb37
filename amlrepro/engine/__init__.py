"""One training, one evaluation: loop, optimiser, schedule, checkpoints. Imports aml, models, data, metrics, config."""
