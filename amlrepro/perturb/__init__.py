"""What is done to pictures before a model sees them: the paper's seven perturbations, and occlusion. Torch-free."""
