"""Arrays as blobs: HDF5 files named by their content, read tile by tile. Only here is HDF5 used."""
