"""Data: readers, synthetic scenes, tokens, transforms, loaders, checks. Imports `config`, `errors`, `files`, `perturb`
and, of `models`, what says how a model is fed: `models.spec` and `models.geometry`."""
