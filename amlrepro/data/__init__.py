"""Data: readers, synthetic scenes, tokens, transforms, loaders, checks. Imports `config`, `errors`, `files` only."""
