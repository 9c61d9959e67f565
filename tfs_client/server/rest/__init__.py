"""The REST face of the tiny server. Only ``host`` and ``app`` need starlette and uvicorn."""
