"""Where it runs: local slots and the one worker entry point. Torch only inside the worker."""
