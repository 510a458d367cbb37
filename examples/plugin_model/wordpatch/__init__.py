"""A small referring-segmentation model that plugs into amlrepro."""
