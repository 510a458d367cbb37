"""The method: PMME, AFM, presets and the other masking strategies."""
