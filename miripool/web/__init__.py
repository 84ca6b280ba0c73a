"""The web door: a page that shows pools, an HTTP API, and products as FITS files by HTTP."""
