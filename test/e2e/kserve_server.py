"""KServe's Python server with one model, which says how many rows it got and their sum.

  kserve_server.py HTTP_PORT GRPC_PORT
"""

import sys

import kserve
import numpy


class Sums(kserve.Model):
    def __init__(self):
        super().__init__("sums")
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        values = payload.inputs[0].as_numpy()
        output = kserve.InferOutput(name="sums", shape=[2], datatype="FP32")
        output.set_data_from_numpy(numpy.array([len(values), values.sum()], numpy.float32), True)
        return kserve.InferResponse(response_id=payload.id or "none", model_name=self.name,
                                    infer_outputs=[output])


if __name__ == "__main__":
    http_port, grpc_port = map(int, sys.argv[1:])
    del sys.argv[1:]  # KServe reads them, too.
    kserve.ModelServer(http_port=http_port, grpc_port=grpc_port, workers=1).start([Sums()])
