"""A tiny application for meshes in tests: application.py NAME PORT. Ends with SIGTERM."""

import signal
import sys

import origins

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    with origins.HttpOrigin(sys.argv[1], port=int(sys.argv[2])):
        signal.sigwait([signal.SIGTERM])
