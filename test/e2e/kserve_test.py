"""KServe's Python server behind glia-proxy, asked with Triton's clients, over REST and gRPC."""

import pathlib
import subprocess
import sys
import unittest

import numpy
import tritonclient.grpc
import tritonclient.http
import tritonclient.utils

from bootstrap import bootstrap, cluster, listener, to
from harness import Proxy, Scene, access_log_lines, curl, eventually, free_port

GLIA = "type.googleapis.com/glia.v1"
START_S = 60  # It imports much.


class KServe(Scene):
    JSON = False  # set_data_from_numpy()'s binary_data: KServe 0.21 takes no binary tensors over REST.

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        http_port, grpc_port = free_port(), free_port()
        log = open(cls.directory / "kserve.log", "wb")
        cls.addClassCleanup(log.close)
        server = subprocess.Popen(
            [sys.executable, pathlib.Path(__file__).with_name("kserve_server.py"),
             str(http_port), str(grpc_port)], stdout=log, stderr=log)
        cls.addClassCleanup(server.wait)
        cls.addClassCleanup(server.terminate)
        renamed = {"typed_per_filter_config": {
            "model": {"@type": f"{GLIA}.ModelRewrite", "model": "sums"}}}

        def routes(name):
            return [{**to(name, {"prefix": "/", "headers": [
                {"name": "x-glia-model", "string_match": {"exact": "totals"}}]}), **renamed},
                to(name)]
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [listener("in", routes("rest"), log=cls.directory / "access.log"),
             listener("grpc", routes("grpc"))],
            [cluster("rest", http_port), cluster("grpc", grpc_port, http2=True)])))
        eventually(lambda: curl(cls.proxy.url("/v2/health/ready")).status == 200,
                   f"KServe is ready: see {cls.directory}/kserve.log", within_s=START_S)

    def ask(self, module, client, model, *how):
        tensor = module.InferInput("x", [3, 2], "FP32")
        tensor.set_data_from_numpy(numpy.arange(6, dtype=numpy.float32).reshape(3, 2), *how)
        return client.infer(model, [tensor]).as_numpy("sums").tolist()

    def test_rest(self):
        client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{self.proxy.ports['in']}")
        self.addCleanup(client.close)
        self.assertTrue(client.is_model_ready("sums"))
        self.assertEqual(self.ask(tritonclient.http, client, "sums", self.JSON), [3, 15])
        # Under another name, as a canary would have it.
        self.assertEqual(self.ask(tritonclient.http, client, "totals", self.JSON), [3, 15])
        lines = eventually(lambda: [line for line in access_log_lines(self.directory / "access.log")
                                    if line.get("model") == "totals"], "the line of the request")
        self.assertEqual((lines[0]["model_dialect"], lines[0]["response_code"]), ("oip", 200))

    def test_grpc(self):
        client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{self.proxy.ports['grpc']}")
        self.addCleanup(client.close)
        self.assertTrue(client.is_model_ready("sums"))
        self.assertEqual(self.ask(tritonclient.grpc, client, "sums"), [3, 15])
        self.assertEqual(self.ask(tritonclient.grpc, client, "totals"), [3, 15])

    def test_a_model_that_is_not_there_is_the_servers_answer(self):
        client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{self.proxy.ports['in']}")
        self.addCleanup(client.close)
        with self.assertRaises(tritonclient.utils.InferenceServerException):
            self.ask(tritonclient.http, client, "nothing", self.JSON)


if __name__ == "__main__":
    unittest.main()
