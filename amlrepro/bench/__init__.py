"""What costs what: every aim at speed with the two sides it is measured by and the gate that its results must pass.

`catalogue` and `spec` are torch-free; the modules that measure are imported when they are run.
"""
