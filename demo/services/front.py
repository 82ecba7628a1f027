"""The service that people call: a sentence in, the kind of ticket out.

usage: front.py HOST:PORT OUTBOUND
It knows its colleagues by name only (embed, classify) and sends everything to OUTBOUND, the
HOST:PORT of its own sidecar, in clear text. Encryption, identity, versions and addresses are the
mesh's work. OUTBOUND may also be "embed=HOST:PORT,classify=HOST:PORT,classify-grpc=HOST:PORT",
the services themselves, to try this without a mesh.

POST /classify {"text": "...", "transport": "rest" or "grpc"}
"""

import json
import sys

import numpy
import tritonclient.grpc
import tritonclient.utils
import urllib3

import application

TIMEOUT_S = 10
XFCC = "x-forwarded-client-cert"
EMBED, CLASSIFY, CLASSIFY_GRPC = "embed", "classify", "classify:8081"


def destinations(outbound):
    """Where to connect for each name: the sidecar for all, or the services themselves."""
    if "=" not in outbound:
        return {EMBED: outbound, CLASSIFY: outbound, CLASSIFY_GRPC: outbound}
    named = dict(pair.split("=") for pair in outbound.split(","))
    return {EMBED: named["embed"], CLASSIFY: named["classify"],
            CLASSIFY_GRPC: named["classify-grpc"]}


class Front:
    def __init__(self, outbound):
        where = destinations(outbound)
        self._pools = {}
        for name in (EMBED, CLASSIFY):
            host, port = where[name].split(":")
            self._pools[name] = urllib3.HTTPConnectionPool(
                host, int(port), maxsize=16, retries=False, timeout=TIMEOUT_S)
        self._grpc = tritonclient.grpc.InferenceServerClient(
            where[CLASSIFY_GRPC], channel_args=[("grpc.default_authority", CLASSIFY_GRPC)])

    def classify(self, request, headers):
        transport = request.get("transport", "rest")
        if transport not in ("rest", "grpc"):
            raise application.Refusal(400, f'transport is "{transport}", expected "rest" or "grpc"')
        embedding, embed_caller = self._embed(request["text"])
        ask = self._classify_rest if transport == "rest" else self._classify_grpc
        answer = ask(embedding)
        answer["callers"] = {"front": headers.get(XFCC, ""), "embed": embed_caller,
                             "classify": answer.pop("caller")}
        return answer

    def _embed(self, text):
        reply = self._infer(EMBED, "minilm", {"name": "sentence", "datatype": "BYTES", "shape": [1],
                                              "data": [text]})
        vector = numpy.array(reply["outputs"][0]["data"], numpy.float32).reshape(1, -1)
        return vector, reply["parameters"]["caller"]

    def _classify_rest(self, embedding):
        reply = self._infer(CLASSIFY, "tickets", {
            "name": "embedding", "datatype": "FP32", "shape": list(embedding.shape),
            "data": embedding.ravel().tolist()})
        outputs = {output["name"]: output["data"][0] for output in reply["outputs"]}
        return {"label": outputs["label"], "probability": outputs["probability"],
                "version": reply["model_version"], "caller": reply["parameters"]["caller"],
                "split": reply["parameters"]["split"]}

    def _classify_grpc(self, embedding):
        tensor = tritonclient.grpc.InferInput("embedding", list(embedding.shape), "FP32")
        tensor.set_data_from_numpy(embedding)
        try:
            result = self._grpc.infer("tickets", [tensor], client_timeout=TIMEOUT_S)
        except tritonclient.utils.InferenceServerException as error:
            raise application.Refusal(502, f"classify (gRPC) answered {error.status()}: "
                                           f"{error.message()}") from error
        response = result.get_response()
        return {"label": result.as_numpy("label").ravel()[0].decode(),
                "probability": float(result.as_numpy("probability").ravel()[0]),
                "version": response.model_version,
                "caller": response.parameters["caller"].string_param,
                "split": response.parameters["split"].string_param}

    def _infer(self, service, model, tensor):
        try:
            reply = self._pools[service].urlopen(
                "POST", f"/v2/models/{model}/infer", body=json.dumps({"inputs": [tensor]}),
                headers={"host": service, "content-type": "application/json"})
        except urllib3.exceptions.HTTPError as error:
            raise application.Refusal(502, f"{service} cannot be reached: {error}") from error
        if reply.status != 200:
            raise application.Refusal(502, f"{service} answered {reply.status}: "
                                           f"{reply.data.decode(errors='replace')}")
        return json.loads(reply.data)


def ready(_request, _headers):
    return {"ready": True}


if __name__ == "__main__":
    application.serve({("GET", "/ready"): ready,
                       ("POST", "/classify"): Front(sys.argv[2]).classify}, sys.argv[1])
