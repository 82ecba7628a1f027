"""Requests to models through glia-proxy, by the clients that people use: openai and tritonclient."""

import json
import unittest

import anthropic
import numpy
import openai
import tritonclient.grpc
import tritonclient.http
import tritonclient.utils

from bootstrap import ANYTHING, bootstrap, cluster, listener, rbac, to
from harness import Proxy, Scene, access_log_lines, curl, eventually
from model_server import GrpcModelServer, ModelServer

GLIA = "type.googleapis.com/glia.v1"
PROMPT = "an incantation that stands in no log"


def reads(**options):
    return {"name": "glia.filters.http.model_requests",
            "typed_config": {"@type": f"{GLIA}.ModelRequests", **options}}


def asks(model, **more):
    return {"prefix": "/", "headers": [
        {"name": "x-glia-model", "string_match": {"exact": model}}, *more.pop("headers", ())], **more}


def renamed(model, version=""):
    return {"typed_per_filter_config": {
        "model": {"@type": f"{GLIA}.ModelRewrite", "model": model, "version": version}}}


class Models(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.small, cls.large = (cls.enterClassContext(ModelServer(name)) for name in ("small", "large"))
        cls.tensors = cls.enterClassContext(GrpcModelServer("tensors"))
        many = {"name": "x-glia-model-input-tokens", "range_match": {"start": 1000, "end": 10**9}}
        routes = [
            {"match": asks("assistant"), "route": {"weighted_clusters": {"clusters": [
                {"name": "small", "weight": 1, **renamed("assistant-v1")},
                {"name": "large", "weight": 1, **renamed("assistant-v2")}]}}},
            to("large", asks("llama", headers=[many])),
            to("small", asks("llama")),
            {**to("large", asks("resnet")), **renamed("resnet-50", "3")},
        ]
        grpc_routes = [{**to("tensors", asks("resnet")), **renamed("resnet-50", "3")},
                       to("tensors", asks("bert"))]
        known = [{"header": {"name": "x-glia-model", "string_match": {"exact": name}}}
                 for name in ("assistant", "llama", "resnet")]
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [listener("in", routes, log=cls.directory / "access.log",
                      filters=[reads(unknown="REFUSE"), rbac("ALLOW", {"known": (known, ANYTHING)})]),
             listener("grpc", grpc_routes, filters=[reads()])],
            [cluster("small", cls.small.port), cluster("large", cls.large.port),
             cluster("tensors", cls.tensors.port, http2=True)])))
        cls.anthropic = anthropic.Anthropic(base_url=cls.proxy.url(""), api_key="none", max_retries=0)
        cls.openai = openai.OpenAI(base_url=cls.proxy.url("/v1"), api_key="none", max_retries=0)

    def chat(self, model, content=PROMPT, **more):
        return self.openai.chat.completions.create(
            model=model, messages=[{"role": "user", "content": content}], **more)

    def test_openai_is_routed_by_model_and_size(self):
        answer = self.chat("llama")
        self.assertEqual((answer.model, answer.system_fingerprint), ("llama", "small"))
        self.assertEqual(answer.choices[0].message.content, "hello")
        answer = self.chat("llama", "word " * 100_000)
        self.assertEqual((answer.model, answer.system_fingerprint), ("llama", "large"))
        self.assertEqual(self.large.bodies[-1]["messages"][0]["content"], "word " * 100_000)
        self.assertEqual(self.openai.embeddings.create(model="llama", input="x").model, "llama")

    def test_openai_streams(self):
        chunks = list(self.chat("llama", stream=True))
        self.assertEqual("".join(chunk.choices[0].delta.content for chunk in chunks), "hello")
        log = self.directory / "access.log"
        line = eventually(lambda: [line for line in access_log_lines(log)
                                   if line.get("model_dialect") == "openai"
                                   and line.get("model_streaming")], "the stream's line")[0]
        self.assertEqual(line["model"], "llama")

    def message(self, model):
        return {"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": PROMPT}]}

    def test_anthropic_is_routed_by_model(self):
        answer = self.anthropic.messages.create(**self.message("llama"))
        self.assertEqual((answer.id, answer.model, answer.content[0].text), ("small", "llama", "hello"))
        seen = {self.anthropic.messages.create(**self.message("assistant")).model for _ in range(40)}
        self.assertEqual(seen, {"assistant-v1", "assistant-v2"})
        with self.assertRaises(anthropic.PermissionDeniedError):
            self.anthropic.messages.create(**self.message("gpt"))

    def test_anthropic_streams(self):
        with self.anthropic.messages.stream(**self.message("llama")) as stream:
            self.assertEqual("".join(stream.text_stream), "hello")
            self.assertEqual(stream.get_final_message().usage.output_tokens, 2)
        log = self.directory / "access.log"
        line = eventually(lambda: [line for line in access_log_lines(log)
                                   if line.get("model_dialect") == "anthropic"
                                   and line.get("model_streaming")], "the stream's line")[0]
        self.assertEqual((line["model_input_tokens"], line["model_output_tokens"]), (7, 2))

    def test_one_name_stands_for_two_versions(self):
        seen = {(answer.model, answer.system_fingerprint)
                for answer in (self.chat("assistant") for _ in range(40))}
        self.assertEqual(seen, {("assistant-v1", "small"), ("assistant-v2", "large")})
        sent = self.large.bodies[-1]
        self.assertEqual(sent["model"], "assistant-v2")

    def test_an_unknown_model_and_a_twofold_one_are_refused(self):
        with self.assertRaises(openai.PermissionDeniedError) as raised:
            self.chat("gpt")
        self.assertEqual(raised.exception.response.headers["x-glia-policy"], "known")
        for body, why in (('{"model":"llama","model":"gpt"}', 'two keys "model"'),
                          ('{"messages":[]}', "its body names none"), ("{", "ends before its JSON")):
            answer = curl("--json", body, self.proxy.url("/v1/chat/completions"))
            self.assertEqual(answer.status, 400)
            self.assertIn(why, answer.text)
        self.assertGreaterEqual(self.proxy.metric("glia_model_refused"), 3)

    def test_no_prompt_is_in_the_log(self):
        self.chat("llama")
        self.access_log(1)
        for log in self.directory.glob("*.log"):
            self.assertNotIn(PROMPT, log.read_text())

    def test_tritonclient_over_http(self):
        client = tritonclient.http.InferenceServerClient(f"127.0.0.1:{self.proxy.ports['in']}")
        tensor = tritonclient.http.InferInput("x", [4, 1000], "FP32")
        tensor.set_data_from_numpy(numpy.zeros((4, 1000), dtype=numpy.float32), binary_data=True)
        answer = client.infer("resnet", [tensor]).get_response()
        self.assertEqual((answer["model_name"], answer["model_version"], answer["id"]),
                         ("resnet-50", "3", "large"))
        self.assertEqual(answer["outputs"][0]["data"], [16_000])
        self.assertEqual(self.large.paths[-1], "/v2/models/resnet-50/versions/3/infer")
        with self.assertRaises(tritonclient.utils.InferenceServerException) as raised:
            client.infer("secret", [tensor])
        self.assertEqual(raised.exception.status(), "403")

    def grpc_input(self, rows):
        tensor = tritonclient.grpc.InferInput("x", [rows, 1000], "FP32")
        tensor.set_data_from_numpy(numpy.zeros((rows, 1000), dtype=numpy.float32))
        return tensor

    def test_tritonclient_over_grpc(self):
        client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{self.proxy.ports['grpc']}")
        for rows in (1, 500):  # 500 are 2 MB, more than is held.
            tensor = self.grpc_input(rows)
            answer = client.infer("bert", [tensor], model_version="2")
            self.assertEqual((answer.get_response().model_name, answer.get_response().model_version),
                             ("bert", "2"))
            self.assertEqual(answer.as_numpy("bytes"), [4000 * rows])
        answer = client.infer("resnet", [self.grpc_input(2)], model_version="1").get_response()
        self.assertEqual((answer.model_name, answer.model_version, answer.id),
                         ("resnet-50", "3", "tensors"))
        with self.assertRaises(tritonclient.utils.InferenceServerException) as raised:
            client.infer("secret", [self.grpc_input(1)])
        self.assertIn("UNIMPLEMENTED", raised.exception.status())

    def test_a_stream_over_grpc_keeps_to_one_model(self):
        client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{self.proxy.ports['grpc']}")
        results = []
        client.start_stream(lambda result, error: results.append(error or result))
        for model in ("bert", "bert", "other"):
            client.async_stream_infer(model, [self.grpc_input(1)])
        client.stop_stream()
        names = [result.get_response().model_name for result in results
                 if not isinstance(result, Exception)]
        self.assertEqual(set(names) - {"bert"}, set())
        self.assertIsInstance(results[-1], tritonclient.utils.InferenceServerException)

    def test_the_body_that_an_upstream_gets_is_the_one_that_was_sent(self):
        # The larger one is more than is held, and curl waits for 100 (Continue) before it sends that.
        for size, protocol in ((1000, "--http1.1"), (1000, "--http2-prior-knowledge"),
                               (1_000_000, "--http1.1"), (1_000_000, "--http2-prior-knowledge")):
            body = {"model": "llama", "x": "é" * size, "nested": [{"model": "no"}] * 3}
            file = self.directory / "body.json"
            file.write_text(json.dumps(body, ensure_ascii=False))
            answer = curl(protocol, "--json", f"@{file}", self.proxy.url("/v1/chat/completions"))
            self.assertEqual(answer.status, 200)
            # What was not read counts as prompt.
            server = self.small if size == 1000 else self.large
            self.assertTrue(server.bodies[-1] == body)


if __name__ == "__main__":
    unittest.main()
