"""Requests of the visitor through its own sidecar: one at a time, or a steady stream of them."""

import dataclasses
import itertools
import json
import threading
import time

import urllib3

TIMEOUT_S = 15
TRANSPORTS = ("rest", "grpc")  # How front calls the classifier.


@dataclasses.dataclass(frozen=True)
class Answer:
    started: float
    ended: float  # Both on time.monotonic()'s clock.
    transport: str
    wanted: str
    failure: str = ""  # Why there is no answer; the rest is empty then.
    label: str = ""
    version: str = ""
    split: str = ""
    callers: dict = dataclasses.field(default_factory=dict)

    @property
    def right(self):
        return self.label == self.wanted


class Visitor:
    """Sends sentences to front. Any thread may call it."""

    def __init__(self, outbound, sentences):
        """outbound: (host, port) of the visitor's sidecar; sentences: (text, label) pairs."""
        host, port = outbound
        self._pool = urllib3.HTTPConnectionPool(host, port, maxsize=8, retries=False,
                                                timeout=TIMEOUT_S)
        self._sentences = sentences

    def text(self, number):
        return self._sentences[number // 2 % len(self._sentences)][0]

    def ask(self, number):
        """The answer to the number-th question; even ones go over REST, odd ones over gRPC."""
        text, wanted = self._sentences[number // 2 % len(self._sentences)]
        transport = TRANSPORTS[number % 2]
        started = time.monotonic()
        try:
            reply = self._pool.urlopen(
                "POST", "/classify", body=json.dumps({"text": text, "transport": transport}),
                headers={"host": "front", "content-type": "application/json"})
            failure = "" if reply.status == 200 else f"{reply.status} {reply.data.decode()[:300]}"
        except urllib3.exceptions.HTTPError as error:
            failure = repr(error)
        ended = time.monotonic()
        if failure:
            return Answer(started, ended, transport, wanted, failure)
        said = json.loads(reply.data)
        return Answer(started, ended, transport, wanted, "", said["label"], said["version"],
                      said["split"], said["callers"])


class Traffic:
    """Four people who ask without pause, from start to the end of the `with` block."""

    PEOPLE = 4

    def __init__(self, visitor):
        self._visitor = visitor
        self._numbers = itertools.count()
        self._answers = []  # Only appended to; list.append is atomic.
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(self.PEOPLE)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _ask_on(self):
        while not self._stopping.is_set():
            self._answers.append(self._visitor.ask(next(self._numbers)))

    def answers(self, started_after=0.0):
        return [answer for answer in list(self._answers) if answer.started >= started_after]
