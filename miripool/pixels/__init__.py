"""Detector pixels: their rows in the index, one pixel's history, conditions on pixels, plots."""
