"""Pools as folders of FITS files: mounted by FUSE, or served by WebDAV."""
