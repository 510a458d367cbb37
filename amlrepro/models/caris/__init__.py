"""CARIS (ACM MM 2023): context-aware referring segmentation, the paper's main baseline. `spec` is torch-free."""
