"""The public TensorFlow Serving schema under its public module layout.

``tensorflow_serving.apis.predict_pb2`` is ``tfs_client.protos.tensorflow_serving.apis.predict_pb2`` here, and so on.
The classes live in a descriptor pool of their own, so TensorFlow may be imported in the same process. A message of
theirs and one of ours are different types that agree on every byte: pass messages across as bytes.

To print or read an ``Any`` in text or JSON, hand the formatter that pool:
``text_format.Parse(text, message, descriptor_pool=message.DESCRIPTOR.file.pool)``.
"""
