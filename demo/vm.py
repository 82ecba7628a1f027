"""A virtual machine joins a mesh, serves a model, dies, is left out, comes back and leaves. ./dev demo vm

Three network namespaces are the machines: one with the control plane, a pod that asks, and the VM with a model
server that knows nothing of a mesh. What `glia vm join` writes is what runs: without systemd here, its command
lines are started as systemd would. Exits with 0 only if all of it was seen, each step with its time.
"""

import contextlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import yaml

import place
import run
from mesh import Deadline, DemoError

sys.path.insert(0, str(place.ROOT / "test" / "e2e"))
import harness  # noqa: E402  (from test/e2e)
import namespaces  # noqa: E402

LIMIT_S = float(os.environ.get("GLIA_DEMO_LIMIT_S", 180))
SIDECAR_USER = 1337
MODEL_PORT, CONTROL_PORT, SERVICE_ADDRESS = 8080, 15012, "10.96.0.10"
INTERVAL_S, TIMEOUT_S, FAILURES = 1.0, 0.5, 2
# docs/virtual-machines.md, without the push.
FAILING_WITHIN_S = FAILURES * INTERVAL_S + TIMEOUT_S
SILENT_WITHIN_S = 3 * INTERVAL_S + TIMEOUT_S + 0.25
PUSH_S = 2  # More than a push takes, on a busy machine.
DOMAIN = "vm.mesh"
SECRET = "9.87654321"  # In a question: on the wire nobody must see it.


def mesh_objects(pod, vm):
    def workload(name, address, **spec):
        return {"apiVersion": "glia.dev/v1", "kind": "Workload",
                "metadata": {"name": name, "labels": {"app": name}},
                "spec": {"address": address, "capture": {"families": "IPv4"}, **spec}}
    return [
        {"apiVersion": "glia.dev/v1", "kind": "Mesh", "metadata": {"name": "vm"},
         "spec": {"trustDomain": DOMAIN}},
        workload("pod", pod.v4),
        workload("tickets", vm.v4, ports=[{"name": "rest", "port": MODEL_PORT}],
                 health={"path": "/v2/models/tickets/ready", "interval": f"{INTERVAL_S:.0f}s",
                         "timeout": f"{int(1000 * TIMEOUT_S)}ms", "failures": FAILURES}),
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "tickets"},
         "spec": {"clusterIP": SERVICE_ADDRESS, "selector": {"app": "tickets"},
                  "ports": [{"name": "rest", "port": 80, "targetPort": "rest"}]}},
        {"apiVersion": "glia.dev/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "only-the-pod"},
         "spec": {"selector": {"app": "tickets"}, "rules": [{"from": [{"identities": ["pod"]}]}]}}]


class Guest:
    """A machine that joins by `glia vm join`, with files of its own below `root`."""

    def __init__(self, demo, name, machine):
        self.demo, self.name, self.machine = demo, name, machine
        self.root = demo.directory / name
        (self.root / "etc").mkdir(parents=True)
        self.hosts = self.root / "etc" / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.running = {}

    def glia(self, *words, text=None):
        return namespaces.run("ip", "netns", "exec", self.machine.name, self.demo.programs / "glia", *words,
                              input=text).stdout

    def command(self, unit, key="ExecStart"):
        """Of a unit that was written, in the place of systemd: where it puts credentials and state."""
        text = (self.root / "etc/systemd/system" / f"{unit}.service").read_text()
        words = re.findall(rf"^{key}=(.*)$", text, re.M)
        return [shlex.split(line.replace("${CREDENTIALS_DIRECTORY}", f"{self.root}/run")
                            .replace("/var/lib/glia", f"{self.root}/var/lib/glia")) for line in words]

    def join(self, token):
        self.glia("vm", "join", "-", "--root", self.root, "--programs", self.demo.programs, text=token)
        state, credentials = self.root / "var/lib/glia", self.root / "run"
        state.mkdir(parents=True, mode=0o700)
        credentials.mkdir(mode=0o700)
        shutil.copy(self.root / "etc/glia/join.yaml", credentials / "join.yaml")
        for path in (state, credentials, credentials / "join.yaml"):
            shutil.chown(path, SIDECAR_USER, SIDECAR_USER)
        self.start_sidecar()
        self.demo.wait(lambda: "in force" in self.running["sidecar"].text(), f"the sidecar of {self.name} has "
                       "its configuration")
        for words in self.command("glia-capture"):
            namespaces.run_in(self.machine.name, *words)
        [names] = self.command("glia-names")
        self.start("names", [*names, "--hosts", self.hosts])

    def start(self, name, command, **options):
        self.running[name] = self.demo.own(self.machine.start(
            f"{self.name}-{name}", command, self.demo.directory, **options))
        return self.running[name]

    def start_sidecar(self):
        [command] = self.command("glia-proxy")
        self.start("sidecar", command, user=SIDECAR_USER)

    def kill(self, name):
        program = self.running.pop(name)
        program.process.kill()
        program.process.wait()

    def ask(self, path, *more):
        """(status, body) as a program here gets it, which knows the name from the hosts file."""
        script = 'mount --bind "$0" /etc/hosts && exec curl -sS -m 5 -w "\\n%{http_code}" "$@"'
        ran = subprocess.run(
            ["ip", "netns", "exec", self.machine.name, "unshare", "--mount", "sh", "-c", script,
             str(self.hosts), *more, f"http://tickets{path}"], capture_output=True, text=True, timeout=20)
        body, _, status = ran.stdout.rpartition("\n")
        return int(status or 0), body


class VmDemo:
    def __init__(self, directory, ledger, deadline, stack):
        self.directory, self.ledger, self.deadline = directory, ledger, deadline
        self.own = stack
        self.programs = directory / "bin"
        self.programs.mkdir(mode=0o755)
        for path in (harness.GLIA, harness.GLIA_PROXY, harness.GLIA_CONTROL):
            shutil.copy(path, self.programs)  # Where the sidecar's user can read them.
        self.model = None

    def wait(self, look, what, within_s=30):
        return self.deadline.wait(look, what, within_s)

    def timed(self, what, look, bound_s=None, since=None):
        """Waits, and puts the time into the ledger; with a bound it must be kept."""
        start = since or time.monotonic()
        self.wait(look, what, within_s=max(30, 3 * (bound_s or 0)))
        took = time.monotonic() - start
        promised = f" ({bound_s:.2f} s are promised, and the push)" if bound_s else ""
        self.ledger.check(what, f"{took:.2f} s{promised}", not bound_s or took <= bound_s + PUSH_S)

    def glia(self, *words):
        return namespaces.run(self.programs / "glia", *words, "--state-dir", self.directory / "state").stdout

    def status(self):
        return {one["workload"]: one for one in json.loads(self.glia("status", "-o", "json"))["proxies"]}

    def away(self):
        return self.status().get("default/tickets", {}).get("away", "never seen")

    def endpoints(self):
        page = self.pod.machine("curl", "-s", "http://127.0.0.1:15000/clusters").stdout
        return len(set(re.findall(r"^outbound:80:tickets\.default::([\d.:]+)::", page, re.M)))

    def start_model(self):
        mlserver = pathlib.Path(sys.executable).parent / "mlserver"
        environment = {**os.environ, "PYTHONPATH": str(place.DEMO / "services"),
                       "OPENBLAS_NUM_THREADS": "1", "MLSERVER_HOST": "127.0.0.1",
                       "MLSERVER_HTTP_PORT": str(MODEL_PORT), "MLSERVER_GRPC_PORT": "8090"}
        words = [f"{key}={value}" for key, value in environment.items() if key.startswith(
            ("PYTHONPATH", "OPENBLAS", "MLSERVER"))]
        self.vm.start("model", ["env", "-C", place.DEMO / "services", *words, mlserver, "start", "classify-v1"])

    def question(self):
        vector = [float(SECRET)] + [0.0] * 383
        return json.dumps({"inputs": [{"name": "embedding", "datatype": "FP32", "shape": [1, 384],
                                       "data": vector}]})

    def infer(self):
        """(status, label, who the model server was told calls)"""
        status, body = self.pod.ask("/v2/models/tickets/infer", "-d", self.question(), "-H",
                                    "content-type: application/json")
        if status != 200:
            return status, body, ""
        answer = json.loads(body)
        return status, answer["outputs"][0]["data"][0], answer["parameters"]["caller"]

    # --- the scenes ------------------------------------------------------------------------------

    def machines_are_there(self):
        self.ledger.heading("Three machines: a control plane, a pod, and a VM")
        switch = self.own(namespaces.Switch())
        self.switch = switch
        control, pod, vm = (namespaces.Machine(switch, number) for number in (11, 12, 13))
        self.outside = namespaces.Machine(switch, 14)
        self.objects = mesh_objects(pod, vm)
        mesh = self.save([one for one in self.objects if one["metadata"]["name"] != "tickets"
                          or one["kind"] != "Workload"])
        start = time.monotonic()
        self.control = self.own(control.start("control", [
            self.programs / "glia-control", "--mesh", mesh, "--state-dir", self.directory / "state/control",
            "--listen", f"{control.v4}:{CONTROL_PORT}"], self.directory))
        self.timed("the control plane serves", lambda: self.control.check_alive() or
                   "serving" in self.control.text(), since=start)
        self.pod, self.vm = Guest(self, "pod", pod), Guest(self, "vm", vm)

    def save(self, objects):
        mesh, fresh = self.directory / "mesh.yaml", self.directory / "mesh.fresh"
        fresh.write_text(yaml.safe_dump_all(objects, sort_keys=False))
        os.replace(fresh, mesh)
        return mesh

    def token(self, workload):
        """When the edit that names it is in force."""
        def made():
            try:
                return self.glia("vm", "token", workload)
            except AssertionError:
                return None
        return self.wait(made, f"a token for {workload}")

    def pod_joins(self):
        start = time.monotonic()
        self.pod.join(self.glia("vm", "token", "pod"))
        self.timed("the pod is in the mesh, its traffic captured", lambda: "default/pod" in self.status(),
                   since=start)
        self.timed("Services have names there", lambda: SERVICE_ADDRESS in self.pod.hosts.read_text(),
                   since=start)
        status, body = self.pod.ask("/v2/models/tickets/ready")
        self.ledger.check("nobody is behind the Service yet", f"{status}", status == 503)

    def vm_joins(self):
        self.ledger.heading("The VM is named in the mesh, and joins: one command with a token")
        self.save(self.objects)
        start = time.monotonic()
        self.vm.join(self.token("tickets"))
        self.timed("glia vm join: identity, sidecar, capture, names", lambda: "default/tickets" in self.status(),
                   since=start)
        self.wait(lambda: "not well" in self.away(), "its sidecar says that no model is there yet")
        self.wait(lambda: self.endpoints() == 0, "the pod knows no endpoint")
        self.ledger.check("without its model server it is no endpoint", self.away(), True)
        start = time.monotonic()
        self.start_model()
        self.timed("the model server starts, and is an endpoint of the pod", lambda: self.endpoints() == 1,
                   since=start)

    def the_pod_asks(self):
        self.ledger.heading("The pod asks the model by name, and neither of them knows of a mesh")
        wire = self.directory / "wire"
        sniffer = self.own(harness.Program("wire", [
            "ip", "netns", "exec", self.switch.name, sys.executable,
            place.ROOT / "test/e2e/capture_peer.py", "sniff", wire], self.directory))
        self.wait(lambda: sniffer.check_alive() or "listening" in sniffer.text(), "the wire is listened to")
        start = time.monotonic()
        status, label, caller = self.infer()
        took = time.monotonic() - start
        self.ledger.check("an answer of the model", f"{status} {label}, {1000 * took:.0f} ms with curl's start",
                          status == 200)
        who = f"URI=spiffe://{DOMAIN}/ns/default/sa/pod"
        self.ledger.check("the model server is told who asks", caller or "nobody", who in caller)
        frames = wire.read_bytes()
        self.ledger.check("the wire between them", f"{len(frames)} bytes, TLS records, no word of the question",
                          b"\x17\x03\x03" in frames and SECRET.encode() not in frames
                          and b"embedding" not in frames)
        plain = self.outside("curl", "-sS", "-m", "3", f"http://{self.vm.machine.v4}:{MODEL_PORT}/v2",
                             check=False)
        self.ledger.check("plain text from outside", f"curl ends with {plain.returncode}", plain.returncode != 0)

    def the_application_dies(self):
        self.ledger.heading("The model server is killed, and started again")
        start = time.monotonic()
        self.vm.kill("model")
        self.timed("it is no endpoint any more", lambda: self.endpoints() == 0, FAILING_WITHIN_S, start)
        self.ledger.say(self.away())
        status = self.infer()[0]
        self.ledger.check("who asks is told at once", f"{status}", status == 503)
        start = time.monotonic()
        self.start_model()
        self.timed("it is one again (with the model server's start)", lambda: self.endpoints() == 1, since=start)
        status, label, _ = self.infer()
        self.ledger.check("an answer of the model", f"{status} {label}", status == 200)

    def the_machine_dies(self):
        self.ledger.heading("The VM is cut off: no word, no reset, nothing")
        self.wait(lambda: self.away() == "", "it is an endpoint")
        start = time.monotonic()
        self.switch("ip", "link", "set", "c13", "down")
        self.timed("it is no endpoint any more", lambda: self.endpoints() == 0, SILENT_WITHIN_S, start)
        self.ledger.say(self.away())
        start = time.monotonic()
        self.vm.kill("sidecar")  # And it starts anew, as systemd would have it.
        self.switch("ip", "link", "set", "c13", "up")
        self.vm.start_sidecar()
        self.timed("back on the network, it is one again, without a new token", lambda: self.endpoints() == 1,
                   since=start)
        status, label, _ = self.infer()
        self.ledger.check("an answer of the model", f"{status} {label}", status == 200)

    def the_vm_leaves(self):
        self.ledger.heading("glia vm leave")
        self.wait(lambda: self.away() == "", "it is an endpoint")
        start = time.monotonic()
        self.vm.running["sidecar"].terminate()
        self.timed("gone before its sidecar has ended", lambda: self.endpoints() == 0, since=start)
        [undo] = self.vm.command("glia-capture", "ExecStop")
        namespaces.run_in(self.vm.machine.name, *undo)
        self.vm.running.pop("names").terminate()
        self.vm.glia("vm", "leave", "--root", self.vm.root)
        left = [str(path) for path in self.vm.root.rglob("*") if path.is_file() and path != self.vm.hosts
                and "run/" not in str(path)]
        rules = self.vm.machine("nft", "list", "ruleset").stdout
        self.ledger.check("files, rules and names that are left", f"{len(left)}, {len(rules.splitlines())}, "
                          f"{self.vm.hosts.read_text().count('tickets')}",
                          not left and not rules and self.vm.hosts.read_text() == "127.0.0.1 localhost\n")

    def play(self):
        self.machines_are_there()
        self.pod_joins()
        self.vm_joins()
        self.the_pod_asks()
        self.the_application_dies()
        self.the_machine_dies()
        self.the_vm_leaves()


def main():
    if os.geteuid() != 0:
        raise SystemExit("./dev demo vm makes network namespaces: run it as root")
    ledger, deadline = run.Ledger(), Deadline(LIMIT_S)
    with tempfile.TemporaryDirectory(prefix="glia-vm-") as scratch:
        directory = pathlib.Path(scratch)
        directory.chmod(0o755)
        with contextlib.ExitStack() as programs:
            try:
                VmDemo(directory, ledger, deadline, programs.enter_context).play()
            except (DemoError, AssertionError) as error:
                ledger.check("the demonstration", str(error), False)
                for log in sorted(directory.glob("*.log")):
                    run.show_log(log)
            except KeyboardInterrupt:
                print("\ninterrupted: everything was stopped")
                return 130
    print(f"\n{deadline.elapsed():.0f} s in all. What was seen:\n")
    return 0 if ledger.table() else 1


if __name__ == "__main__":
    sys.exit(main())
