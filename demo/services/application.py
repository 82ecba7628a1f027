"""A JSON-over-HTTP application of a few routes, served by uvicorn.

Handlers are plain blocking functions: they run in threads, so one slow call stops no other.
"""

import asyncio
import json

import uvicorn


class Refusal(Exception):
    """An answer other than 200: its status and a sentence."""

    def __init__(self, status, sentence):
        super().__init__(sentence)
        self.status = status


class Application:
    def __init__(self, routes):
        """routes: (method, path) -> function(JSON body or None, headers) -> JSON answer."""
        self._routes = routes

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return  # uvicorn runs it without "lifespan" then.
        body, more = b"", True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            body += event.get("body", b"")
            more = event.get("more_body", False)
        status, answer = await asyncio.to_thread(self._answer, scope, body)
        content = json.dumps(answer).encode()
        await send({"type": "http.response.start", "status": status, "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode())]})
        await send({"type": "http.response.body", "body": content})

    def _answer(self, scope, body):
        route = self._routes.get((scope["method"], scope["path"]))
        if route is None:
            return 404, {"error": f"no route {scope['method']} {scope['path']}"}
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            return 200, route(json.loads(body) if body else None, headers)
        except Refusal as refusal:
            return refusal.status, {"error": str(refusal)}
        except (ValueError, KeyError, TypeError) as error:
            return 400, {"error": f"the request is not understood: {error!r}"}


def serve(routes, address):
    """Serves until the process is told to end. address: "host:port"."""
    host, port = address.rsplit(":", 1)
    uvicorn.run(Application(routes), host=host, port=int(port), log_level="warning", lifespan="off")
