"""A gRPC client without a sidecar: grpc_caller.py TARGET. For each number on its standard input it makes
so many calls and prints, as JSON, how often who answered, or what the error was. GRPC_XDS_BOOTSTRAP
says where its control plane is, so it is a process of its own."""

import collections
import json
import sys

import grpc

CALL_LIMIT_S = 20

if __name__ == "__main__":
    credentials = grpc.xds_channel_credentials(grpc.local_channel_credentials())
    with grpc.secure_channel(sys.argv[1], credentials) as channel:
        who = channel.unary_unary("/e2e.Echo/Who")
        for line in sys.stdin:
            seen = collections.Counter()
            for _ in range(int(line)):
                try:
                    seen[who(b"", timeout=CALL_LIMIT_S, wait_for_ready=True).decode()] += 1
                except grpc.RpcError as error:
                    seen[f"{error.code()}: {error.details()}"] += 1
            print(json.dumps(seen), flush=True)
