"""The life of a version: aspired, loaded, served, unloaded."""
