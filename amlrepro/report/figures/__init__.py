"""Figures: plain data, what they are made from, how they look, drawing and saving them. Torch-free."""
