"""DETRIS (AAAI 2025): DINOv2 and CLIP text with dense adapters. `spec` is torch-free."""
