"""Runs in one archive, out of a store and into another; whose runs are whose. Torch-free.

`archive` packs, `landing` takes in, `origins` names laboratories and finds their stores; the rest serves these."""
