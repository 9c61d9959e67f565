"""Raw httpx over REST: a prepared body, or JSON written for every call by orjson or by the standard library.

python -m comparison.clients.raw_httpx ready|orjson|json
"""

from __future__ import annotations

import json
import sys
from typing import Any

import httpx
import numpy as np
import orjson

from comparison.clients.client import MODEL, TIMEOUT, Client, UnsupportedError
from comparison.clients.program import serve


class RawHttpx(Client):
    def open(self) -> None:
        if not self.given.rest or self.given.style != "sync":
            raise UnsupportedError("blocking calls over REST only")
        self._client = httpx.Client(base_url=f"http://{self.given.target}", timeout=TIMEOUT)
        (self._array,) = self.given.files.inputs.values()
        self._ready = self.given.files.request
        self._write, self._read = {
            "ready": (lambda: self._ready, orjson.loads),
            "orjson": (self._with_orjson, orjson.loads),
            "json": (lambda: json.dumps({"instances": self._array.tolist()}).encode(), json.loads),
        }[sys.argv[1]]

    def _with_orjson(self) -> bytes:
        return orjson.dumps({"instances": self._array}, option=orjson.OPT_SERIALIZE_NUMPY)

    def call(self) -> Any:
        reply = self._client.post(f"/v1/models/{MODEL}:predict", content=self._write())
        return self._read(reply.raise_for_status().content)["predictions"]

    def check(self, answer: Any) -> None:
        super().check(np.asarray(answer, np.float32))

    def close(self) -> None:
        self._client.close()


if __name__ == "__main__":
    serve(RawHttpx, "httpx", "orjson", "numpy")
