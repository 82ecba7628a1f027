"""Small servers of models: OpenAI's and Anthropic's API and the Open Inference Protocol over HTTP, and the latter over
gRPC with tritonclient's own messages. Each says which model it was asked for, and by whom it is."""

import concurrent.futures
import contextlib
import json

from small_server import Answering, SmallServer


class _Handler(Answering):
    def do_POST(self):
        body = self.asked()
        self.server.paths.append(self.path)
        if self.path.startswith("/v2/models/"):
            return self._infer(body)
        asked = json.loads(body)
        self.server.bodies.append(asked)
        if self.path.endswith("/messages"):
            return self._message(asked)
        if self.path.endswith("/embeddings"):
            return self.answer({"object": "list", "model": asked["model"], "data": [
                {"object": "embedding", "index": 0, "embedding": [0.5]}],
                "usage": {"prompt_tokens": 1, "total_tokens": 1}})
        if not asked.get("stream"):
            return self.answer({**self._chat(asked, "chat.completion"), "choices": [
                {"index": 0, "finish_reason": "stop",
                 "message": {"role": "assistant", "content": "hello"}}]})
        self.begin_events()
        for word in ("hel", "lo"):
            chunk = {**self._chat(asked, "chat.completion.chunk"), "choices": [
                {"index": 0, "delta": {"content": word}}]}
            self.event(chunk)
        self.event("[DONE]")

    def _message(self, asked):
        """Anthropic's, whole or in the events of its streams."""
        message = {"id": self.server.name, "type": "message", "role": "assistant",
                   "model": asked["model"], "content": [], "stop_reason": None,
                   "stop_sequence": None, "usage": {"input_tokens": 7, "output_tokens": 1}}
        if not asked.get("stream"):
            return self.answer({**message, "stop_reason": "end_turn",
                               "content": [{"type": "text", "text": "hello"}]})
        self.begin_events()
        words = ({"type": "content_block_delta", "index": 0,
                  "delta": {"type": "text_delta", "text": word}} for word in ("hel", "lo"))
        for event in (
                {"type": "message_start", "message": message},
                {"type": "content_block_start", "index": 0,
                 "content_block": {"type": "text", "text": ""}},
                *words,
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                 "usage": {"output_tokens": 2}},
                {"type": "message_stop"}):
            self.event(event, event["type"])

    def _chat(self, asked, kind):
        return {"id": "1", "object": kind, "created": 1, "model": asked["model"],
                "system_fingerprint": self.server.name}

    def _infer(self, body):
        size = int(self.headers.get("inference-header-content-length", len(body)))
        asked = json.loads(body[:size])
        segments = self.path.split("/")
        # What came of the tensors, in bytes, and who took it.
        self.answer({"model_name": segments[3],
                    "model_version": segments[5] if "versions" in segments else "",
                    "id": self.server.name,
                    "outputs": [{"name": "bytes", "datatype": "INT64", "shape": [1],
                                 "data": [len(body) - size]}],
                    "parameters": {"rows": asked["inputs"][0]["shape"][0]}})


class ModelServer(SmallServer):
    """Over HTTP/1.1. Keeps the paths and the JSON that it was sent."""

    def __init__(self, name, address=("127.0.0.1", 0)):
        super().__init__(_Handler, address, name=name, paths=[], bodies=[])


class GrpcModelServer(contextlib.AbstractContextManager):
    """inference.GRPCInferenceService: answers ModelInfer and ModelStreamInfer."""

    def __init__(self, name):
        import grpc
        from tritonclient.grpc import service_pb2, service_pb2_grpc

        class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
            def ModelInfer(self, request, context):
                return service_pb2.ModelInferResponse(
                    model_name=request.model_name, model_version=request.model_version, id=name,
                    outputs=[service_pb2.ModelInferResponse.InferOutputTensor(
                        name="bytes", datatype="INT64", shape=[1])],
                    raw_output_contents=[
                        sum(map(len, request.raw_input_contents)).to_bytes(8, "little")])

            def ModelStreamInfer(self, requests, context):
                for request in requests:
                    yield service_pb2.ModelStreamInferResponse(
                        infer_response=self.ModelInfer(request, context))

        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(4),
                                   options=[("grpc.so_reuseport", 0)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def __exit__(self, *_):
        self._server.stop(0).wait()
