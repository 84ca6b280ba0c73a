"""SAMP: images and tables for DS9, TOPCAT and Aladin, and the rows and positions that they send back."""
