"""Files of class names: text, CSV, JSON and TensorFlow's label maps."""
