"""Models: CARIS and others, their specifications (torch-free) and official checkpoints. Imports `config` only."""
