"""Runtimes behind the Servable interface, one module each."""
