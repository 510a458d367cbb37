"""Layers that several models share, in plain PyTorch. Imports nothing of the package."""
