"""A web service in front of a model server: it recognises handwritten digits."""
