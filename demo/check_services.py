"""Checks the demonstration's model services alone, without a mesh: ./dev shell, then
python demo/check_services.py. Prints start-up time and memory of each."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import numpy

import place

sys.path.insert(0, str(place.DEMO / "services"))
import classifiers  # noqa: E402  (from services/)

READY_WITHIN_S = 60
POLL_S = 0.05
# Cosines with "That is a happy person", as the model's publishers print them.
HAPPY = {"That is a happy dog": 0.6946, "That is a very happy person": 0.9429,
         "Today is a sunny day": 0.2569}


def call(address, path, body=None):
    request = urllib.request.Request(
        f"http://{address}{path}", None if body is None else json.dumps(body).encode(),
        {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def wait_ready(name, process, url):
    start = time.monotonic()
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return time.monotonic() - start
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        if process.poll() is not None:
            raise SystemExit(f"{name} ended with status {process.returncode}")
        if time.monotonic() - start > READY_WITHIN_S:
            raise SystemExit(f"{name} did not become ready in {READY_WITHIN_S} s at {url}")
        time.sleep(POLL_S)


def resident_mib(process):
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


def start_all(here, log):
    """name -> process of every Workload with a command; front is told the others' addresses."""
    port, grpc_port = here.values["http"], here.values["grpc"]
    specs = {name: spec for name, spec in here.workloads().items() if "command" in spec}
    direct = (f"embed={specs['embed']['appAddress']}:{port},"
              f"classify={specs['classify-v1']['appAddress']}:{port},"
              f"classify-grpc={specs['classify-v2']['appAddress']}:{grpc_port}")
    specs["front"]["command"][-1] = direct
    processes = {}
    for name, spec in specs.items():
        processes[name] = subprocess.Popen(
            spec["command"], cwd=spec["workingDirectory"], stdout=log, stderr=log,
            env=dict(os.environ, **spec.get("env", {})))
    for name, spec in specs.items():
        seconds = wait_ready(name, processes[name],
                             f"http://{spec['appAddress']}:{port}{spec['ready']['path']}")
        print(f"{name}: ready after {seconds:.1f} s, {resident_mib(processes[name])} MiB")
    return processes, specs, port


def check_embedder(address):
    sentences = ["That is a happy person", *HAPPY]
    reply = call(address, "/v2/models/minilm/infer", {"inputs": [
        {"name": "sentence", "datatype": "BYTES", "shape": [len(sentences)], "data": sentences}]})
    output = reply["outputs"][0]
    vectors = numpy.array(output["data"], numpy.float32).reshape(output["shape"])
    assert numpy.allclose(numpy.linalg.norm(vectors, axis=1), 1, atol=1e-5), "not unit vectors"
    for row, (sentence, cosine) in enumerate(HAPPY.items(), 1):
        got = float(vectors[0] @ vectors[row])
        assert abs(got - cosine) < 2e-4, f"{sentence}: cosine {got}, the publishers print {cosine}"
    print("embed: unit vectors, cosines as the model's publishers print them")


def check_front(address):
    sentences, labels = classifiers.labelled_sentences("held_out.tsv")
    for transport, version in (("rest", "v1"), ("grpc", "v2")):
        start = time.monotonic()
        answers = [call(address, "/classify", {"text": sentence, "transport": transport})
                   for sentence in sentences]
        seconds = (time.monotonic() - start) / len(sentences)
        assert {answer["version"] for answer in answers} == {version}, answers[0]
        right = sum(answer["label"] == classifiers.LABELS[label]
                    for answer, label in zip(answers, labels))
        print(f"front over {transport} ({version}): {right} of {len(sentences)} held-out sentences "
              f"right, {1000 * seconds:.0f} ms each")
        assert right / len(sentences) >= 0.9, "less than 90 % are right"


def main():
    with tempfile.TemporaryDirectory() as directory:
        here = place.Place(directory)
        with open(here.directory / "services.log", "w+", encoding="utf-8") as log:
            processes = {}
            try:
                processes, specs, port = start_all(here, log)
                check_embedder(f"{specs['embed']['appAddress']}:{port}")
                check_front(f"{specs['front']['appAddress']}:{port}")
            except BaseException:
                log.seek(0)
                print(log.read()[-4000:], file=sys.stderr)
                raise
            finally:
                for process in processes.values():
                    process.terminate()
                for process in processes.values():
                    process.wait(10)
    print("all services work")


if __name__ == "__main__":
    main()
