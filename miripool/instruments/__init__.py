"""Instruments: detectors and where their pixels are, one module for each instrument."""
