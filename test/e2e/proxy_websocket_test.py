"""WebSocket and CONNECT through glia-proxy, with real clients, servers and proxies beside it."""

import asyncio
import contextlib
import threading
import unittest

from bootstrap import bootstrap, cluster, listener, to
from harness import GLIA_PROXY, Proxy, Scene, WITHIN_S, curl, envoy, eventually
from origins import HttpOrigin

try:
    import aiohttp
    from aiohttp import web
except ImportError:
    raise unittest.SkipTest("no aiohttp in the Python environment; ./dev test installs it")

LARGE = 3 << 20  # bytes of one message


async def chat(request):
    """Greets, then says everything back; "bye" ends it from this side."""
    socket = web.WebSocketResponse(protocols=["chat"], max_msg_size=2 * LARGE)
    await socket.prepare(request)
    await socket.send_str(f"welcome from {request.headers['x-forwarded-proto']}")
    async for message in socket:
        if message.type == aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        elif message.data == "bye":
            await socket.close(code=4001, message=b"as you wish")
        else:
            await socket.send_str(message.data)
    return socket


async def plain(_):
    return web.Response(text="plain")


class WebSocketOrigin(contextlib.AbstractContextManager):
    """An aiohttp server on a thread of its own."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(WITHIN_S)
        return self

    async def _start(self):
        app = web.Application()
        app.router.add_get("/chat", chat)
        app.router.add_get("/plain", plain)
        self.runner = web.AppRunner(app, shutdown_timeout=0)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        return self.runner.addresses[0][1]

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(WITHIN_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(WITHIN_S)
        self.loop.close()


def talk_to(url, conversation):
    """Runs a conversation with the WebSocket server at `url`."""
    async def run():
        timeout = aiohttp.ClientTimeout(total=WITHIN_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            async with session.ws_connect(url, protocols=["chat"],
                                          max_msg_size=2 * LARGE) as socket:
                return await conversation(socket)
    return asyncio.run(run())


class WebSocket(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.origin = cls.enterClassContext(WebSocketOrigin())
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [listener("in", [to("chat", timeout="1s")], log=cls.directory / "access.log",
                      upgrade_configs=[{"upgrade_type": "websocket"}]),
             listener("plain", [to("chat")])],
            [cluster("chat", cls.origin.port)])))

    def talk(self, conversation, listener="in"):
        return talk_to(self.proxy.url("/chat", listener), conversation)

    def test_messages_go_both_ways_and_the_client_ends_it(self):
        async def conversation(socket):
            self.assertEqual(await socket.receive_str(), "welcome from http")
            for i in range(100):
                await socket.send_str(f"message {i}")
                self.assertEqual(await socket.receive_str(), f"message {i}")
            large = bytes(range(256)) * (LARGE // 256)
            await socket.send_bytes(large)
            self.assertEqual(await socket.receive_bytes(), large)
            await socket.ping()
            await socket.send_str("after the ping")
            self.assertEqual(await socket.receive_str(), "after the ping")
            return socket.protocol
        self.assertEqual(self.talk(conversation), "chat")
        line = eventually(lambda: [line for line in self.access_log(1)
                                   if line["response_code"] == 101
                                   and line["bytes_received"] > LARGE],
                          "the conversation in the access log")[0]
        self.assertGreater(line["bytes_sent"], LARGE)
        eventually(lambda: self.proxy.metric("envoy_http_downstream_rq_active") == 0,
                   "no conversation is left")

    def test_the_server_ends_it(self):
        async def conversation(socket):
            await socket.receive_str()
            await socket.send_str("bye")
            message = await socket.receive()
            return message.type, socket.close_code
        self.assertEqual(self.talk(conversation), (aiohttp.WSMsgType.CLOSE, 4001))

    def test_a_conversation_outlives_the_timeout_of_its_route(self):
        async def conversation(socket):
            await socket.receive_str()
            loop = asyncio.get_running_loop()
            until = loop.time() + 1.5  # The route's timeout is a second.
            said = 0
            while loop.time() < until:
                await socket.send_str("still here")
                self.assertEqual(await socket.receive_str(), "still here")
                said += 1
            return said
        self.assertGreater(self.talk(conversation), 1)

    def test_a_listener_without_upgrade_configs_asks_the_server_without(self):
        async def conversation(_):
            self.fail("there is a conversation")
        with self.assertRaises(aiohttp.WSServerHandshakeError) as refused:
            self.talk(conversation, "plain")
        self.assertEqual(refused.exception.status, 400)

    def test_other_requests_go_on_beside_it(self):
        async def conversation(socket):
            await socket.receive_str()
            answer = await asyncio.to_thread(self.proxy.fetch, "/plain")
            return answer.text
        self.assertEqual(self.talk(conversation), "plain")


# HTTP/1.1 at both ends, HTTP/2 between the proxies, each of which is Glia or Envoy.
CONNECTS = {"allow_connect": True}


class Chain(Scene):
    def chains(self, inner, outer):
        """Two proxies in a row with routes `outer` and `inner`, once for each pair of programs."""
        real = envoy()
        options = {"upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}],
                   "http2_protocol_options": CONNECTS}
        pairs = {"glia": (GLIA_PROXY, GLIA_PROXY), "envoy-first": (real, GLIA_PROXY),
                 "envoy-last": (GLIA_PROXY, real)}
        for name, (first, last) in pairs.items():
            with Proxy(self.directory, bootstrap(
                    [listener("in", [inner], **options)],
                    [cluster("origin", self.origin.port)]), name=f"{name}-2", program=last) as behind:
                with Proxy(self.directory, bootstrap(
                        [listener("in", [outer], **options)],
                        [cluster("next", behind.ports["in"], http2=CONNECTS)]),
                        name=f"{name}-1", program=first) as before:
                    yield name, before

    def test_messages_go_both_ways_over_an_http2_stream(self):
        async def conversation(socket):
            await socket.receive_str()
            for i in range(20):
                await socket.send_str(f"message {i}")
                self.assertEqual(await socket.receive_str(), f"message {i}")
            large = bytes(range(256)) * (LARGE // 256)
            await socket.send_bytes(large)
            self.assertEqual(await socket.receive_bytes(), large)
            await socket.send_str("bye")
            await socket.receive()
            return socket.protocol, socket.close_code
        with WebSocketOrigin() as self.origin:
            for name, proxy in self.chains(to("origin"), to("next")):
                self.assertEqual(talk_to(proxy.url("/chat"), conversation), ("chat", 4001), name)

    def test_a_tunnel_goes_through_an_http2_stream_to_the_cluster(self):
        connect = {"connect_matcher": {}}
        ends = to("origin", connect, upgrade_configs=[
            {"upgrade_type": "CONNECT", "connect_config": {}}])
        with HttpOrigin() as self.origin:
            for name, proxy in self.chains(ends, to("next", connect)):
                answer = curl("--proxytunnel", "--proxy", proxy.url("/"),
                              "http://where.example:5432/through")
                self.assertEqual(answer.status, 200, name)
                self.assertIn("/through", answer.text)


if __name__ == "__main__":
    unittest.main()
