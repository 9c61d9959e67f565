"""The REST API of the server. Only ``host``, ``app`` and ``rest_connection`` need starlette and uvicorn."""
