"""A worker between a queue of jobs and a model server: it recognises handwritten digits."""
