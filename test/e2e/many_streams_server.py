"""A grpc.aio server of e2e.Many/Chat, which says back what it is told; prints its port. A process of
its own, because 10,000 streams keep one Python busy."""

import asyncio

import grpc


async def chat(requests, context):
    async for message in requests:
        yield message


async def main():
    # gRPC's own server turns calls away above 1000 that Python has not yet taken up.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0),
                                      ("grpc.server.max_pending_requests", 20_000),
                                      ("grpc.server.max_pending_requests_hard_limit", 20_000)])
    method = grpc.stream_stream_rpc_method_handler(chat)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("e2e.Many",
                                                                          {"Chat": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"port {port}", flush=True)
    await server.wait_for_termination()


asyncio.run(main())
