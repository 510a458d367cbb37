"""Reproduction suite for AMLRIS: Alignment-aware Masked Learning for Referring Image Segmentation (ICLR 2026)."""

__version__ = "0.1.0"
