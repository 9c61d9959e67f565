"""tfs-predict with many pictures: a row of results for each.

``run`` connects the parts: ``picture_sources`` lists the pictures, an engine (``engines``) produces an outcome for
each, ``row_answers`` reads what its outputs say, ``outputs``, ``drawings``, ``report_rows`` and ``failed_pictures``
write it, and ``progress`` reports it. Engines know nothing about answers and result files, and outputs know nothing
about engines.
"""
