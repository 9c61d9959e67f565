"""Runtimes that implement the Servable interface: Python functions and folders, SavedModels, TensorFlow Lite."""
