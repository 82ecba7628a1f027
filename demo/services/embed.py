"""The sentence embedder: MiniLM behind the REST half of the Open Inference Protocol.

usage: embed.py HOST:PORT
POST /v2/models/minilm/infer takes one BYTES input of n sentences and returns FP32 [n, 384].
"""

import sys

import application
import minilm

MODEL = "minilm"


class Embedder:
    def __init__(self):
        self._model = minilm.MiniLM()

    def infer(self, request, headers):
        tensor = request["inputs"][0]
        if tensor["datatype"] != "BYTES" or not all(isinstance(s, str) for s in tensor["data"]):
            raise application.Refusal(400, "the input must be of datatype BYTES, a list of sentences")
        vectors = self._model.embed(tensor["data"])
        return {
            "model_name": MODEL,
            "id": request.get("id", ""),
            "parameters": {"caller": headers.get("x-forwarded-client-cert", "")},
            "outputs": [{"name": "embedding", "datatype": "FP32", "shape": list(vectors.shape),
                         "data": vectors.ravel().tolist()}],
        }

    def metadata(self, _request, _headers):
        return {"name": MODEL, "versions": [], "platform": "numpy",
                "inputs": [{"name": "sentence", "datatype": "BYTES", "shape": [-1]}],
                "outputs": [{"name": "embedding", "datatype": "FP32", "shape": [-1, minilm.WIDTH]}]}

    def routes(self):
        def yes(_request, _headers):
            return {"ready": True}

        return {
            ("GET", "/v2/health/live"): yes,
            ("GET", "/v2/health/ready"): yes,
            ("GET", f"/v2/models/{MODEL}/ready"): yes,
            ("GET", f"/v2/models/{MODEL}"): self.metadata,
            ("POST", f"/v2/models/{MODEL}/infer"): self.infer,
        }


if __name__ == "__main__":
    application.serve(Embedder().routes(), sys.argv[1])
