"""The truth: a pool's folder with its journal, manifests and blobs, and how changes become durable in it."""
