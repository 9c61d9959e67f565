"""TensorFlow's own model server for tests, as a process that does not outlive the test run."""
