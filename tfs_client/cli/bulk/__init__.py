"""tfs-predict in bulk: many pictures through a model, a row of results for each.

``sources`` lists the pictures, an engine (``engines``) makes an outcome of each, ``outputs`` and ``failures`` keep
them, ``progress`` tells how it goes, and ``running`` holds it all together. Engines know nothing of files of results,
and whatever keeps results knows nothing of engines.
"""
