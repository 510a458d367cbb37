"""ReLA (CVPR 2023): region-language attention for generalized referring segmentation. `spec` is torch-free."""
