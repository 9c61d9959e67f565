"""A web service in front of a model server, for pre-fork servers: it recognises handwritten digits."""
