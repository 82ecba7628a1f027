"""Traffic that the kernel's rules lead through the sidecars: machines as network namespaces, programs in
them that know nothing of a mesh, and the wire between them read along."""

import contextlib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

import capture_peer
import harness
import meshes
import namespaces

PROXY_USER = 1337

PEER = pathlib.Path(__file__).with_name("capture_peer.py")


def workload(machine, name, family="v4", ports=True, **capture):
    spec = {"address": getattr(machine, family), "capture": capture}
    if ports:
        spec["ports"] = [
            {"name": "http", "port": capture_peer.HTTP, "protocol": "HTTP"},
            {"name": "grpc", "port": capture_peer.GRPC, "protocol": "GRPC"},
            {"name": "tcp", "port": capture_peer.TCP, "protocol": "TCP"}]
    return {"apiVersion": "glia.dev/v1", "kind": "Workload",
            "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def service(name, address, app=None):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"clusterIP": address, "selector": {"app": app or name}, "ports": [
                {"name": "http", "port": 80, "targetPort": "http"},
                {"name": "grpc", "port": 81, "targetPort": "grpc", "appProtocol": "grpc"},
                {"name": "tcp", "port": 5432, "targetPort": "tcp", "appProtocol": "tcp"}]}}


class Rules(unittest.TestCase):
    """`glia capture` alone, in a machine without a sidecar."""

    def setUp(self):
        switch = self.enterContext(namespaces.Switch())
        self.machine = namespaces.Machine(switch, 2)

    def glia(self, *words, status=0):
        ran = self.machine(harness.GLIA, "capture", *words, status=status)
        return ran.stdout + ran.stderr

    def rules(self):
        """What the kernel holds, without counts."""
        seen = self.machine("nft", "-s", "list", "ruleset").stdout
        for program in ("iptables-legacy-save", "ip6tables-legacy-save"):
            seen += "".join(re.sub(r" \[\d+:\d+\]$", "", line, flags=re.M)
                            for line in self.machine(program).stdout.splitlines(True)
                            if not line.startswith("#"))
        return seen

    def others_rules(self):
        """As other tools would have put them."""
        self.machine("nft", "add table inet other; add chain inet other out "
                     "{ type filter hook output priority 0; }; "
                     "add rule inet other out tcp dport 7777 counter drop")
        self.machine("iptables-nft", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "7778",
                     "-j", "REDIRECT", "--to-ports", "7779")
        self.machine("iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "7780", "-j", "DROP")

    def install_and_remove(self, *flags):
        before = self.rules()
        self.assertIn("installed", self.glia("install", *flags))
        first = self.rules()
        self.assertNotEqual(first, before)
        self.assertIn("nothing to do", self.glia("install", *flags))
        self.assertEqual(self.rules(), first)
        self.assertIn("outbound connections come to port 15001", self.glia("check", *flags))
        self.assertIn("removed", self.glia("remove"))
        return before, self.rules()

    def test_nft_goes_as_it_came(self):
        self.others_rules()
        for mode in ("redirect", "tproxy"):
            with self.subTest(mode):
                before, after = self.install_and_remove("--backend", "nft", "--mode", mode)
                self.assertEqual(after, before)

    def test_nft_goes_as_it_came_where_there_was_nothing(self):
        before, after = self.install_and_remove("--backend", "nft")
        self.assertEqual((before, after), ("", ""))

    def test_iptables_of_nft_goes_as_it_came(self):
        # ip6tables-nft needs a module for REDIRECT that not every kernel has.
        flags = ("--backend", "iptables-nft", "--families", "v4")
        before, after = self.install_and_remove(*flags)
        self.assertEqual((before, after), ("", ""))
        self.others_rules()
        for mode in ("redirect", "tproxy"):
            with self.subTest(mode):
                before, after = self.install_and_remove(*flags, "--mode", mode)
                self.assertEqual(after, before)

    def test_legacy_iptables_goes_as_it_came(self):
        for table in ("nat", "mangle"):  # They are the kernel's, and stay once they were looked at.
            self.machine("iptables-legacy", "-t", table, "-L", "-n")
        self.machine("iptables-legacy", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "7778",
                     "-j", "REDIRECT", "--to-ports", "7779")
        for mode in ("redirect", "tproxy"):
            with self.subTest(mode):
                before, after = self.install_and_remove(
                    "--backend", "iptables-legacy", "--families", "v4", "--mode", mode)
                self.assertEqual(after, before)

    def test_a_family_that_the_kernel_cannot_redirect_leaves_nothing_behind(self):
        before = self.rules()
        ran = self.machine(harness.GLIA, "capture", "install", "--backend", "iptables-nft",
                           status=None)
        if ran.returncode == 0:  # This kernel can; then both are there.
            return self.assertIn("table ip6 nat", self.rules())
        self.assertIn("this kernel lacks a module that the rules need", ran.stderr)
        self.assertIn("--families v4", ran.stderr)
        self.assertEqual(self.rules(), before)

    def test_rules_that_somebody_changed_are_put_right(self):
        self.glia("install", "--backend", "nft")
        wanted = self.rules()
        self.machine("nft", "flush chain inet glia outbound")
        self.assertIn("not those that were asked for", self.glia("check", "--backend", "nft",
                                                                 status=1))
        self.assertIn("replaced", self.glia("install", "--backend", "nft"))
        self.assertEqual(self.rules(), wanted)

    def test_another_backend_takes_over(self):
        self.glia("install", "--backend", "iptables-nft", "--families", "v4")
        self.glia("install", "--backend", "nft")
        self.assertNotIn("GLIA_", self.rules())
        self.assertIn("table inet glia", self.rules())

    def test_what_is_printed_is_what_is_installed(self):
        flags = ("--backend", "nft", "--exclude-outbound-networks", "10.1.0.0/16,fd00::/8",
                 "--exclude-interfaces", "docker0,eth1", "--include-inbound-ports", "80,8000-8010",
                 "--exclude-uids", "0,33", "--include-interfaces", "eth0,docker1")
        shown = self.glia("print", *flags)
        self.glia("install", *flags)
        self.assertIn("nothing to do", self.glia("install", *flags))
        installed = self.machine("nft", "-s", "list", "table", "inet", "glia").stdout
        self.assertEqual(sorted(installed), sorted(shown))  # nft has an order of its own for names.

    def test_connections_that_were_there_before_stay_as_they_are(self):
        # Of a machine whose kernel has followed none: the next packet of each looks like a new connection.
        for flags in (("--backend", "nft"), ("--backend", "iptables-nft", "--families", "v4")):
            with self.subTest(flags[1]), namespaces.Switch() as switch:
                machine, other = (namespaces.Machine(switch, number) for number in (2, 3))
                server = ("import socket; s = socket.create_server(('', 7000)); print('ready', flush=True); "
                          "c, _ = s.accept(); [c.sendall(c.recv(9)) for _ in range(3)]")
                client = (f"import socket; c = socket.create_connection(('{machine.v4}', 7000), 10); "
                          "[(c.sendall(b'x'), print(c.recv(9), flush=True), input()) for _ in range(2)]")
                with self.talker(machine, server) as listening:
                    self.assertEqual(listening.stdout.readline(), "ready\n")
                    with self.talker(other, client) as calling:
                        self.assertEqual(calling.stdout.readline(), "b'x'\n")
                        machine(harness.GLIA, "capture", "install", *flags)
                        calling.stdin.write("\n")
                        calling.stdin.flush()
                        self.assertEqual(calling.stdout.readline(), "b'x'\n")

    @contextlib.contextmanager
    def talker(self, machine, script):
        with subprocess.Popen(["ip", "netns", "exec", machine.name, sys.executable, "-c", script],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
            try:
                yield program
            finally:
                program.kill()

    def test_check_fails_where_nothing_is_captured(self):
        self.assertIn("not there; run `glia capture install`", self.glia("check", status=1))

    def test_check_fails_where_somebody_is_before_us(self):
        self.glia("install", "--backend", "nft")
        self.machine("nft", "add table inet other; add chain inet other out "
                     "{ type nat hook output priority -150; }; "
                     "add rule inet other out meta l4proto tcp redirect to :1")
        self.assertIn("outbound traffic is not captured", self.glia(
            "check", "--backend", "nft", status=1))

    def test_without_the_right_the_fix_is_named(self):
        binary = shutil.copy(harness.GLIA, self.enterContext(readable_directory()))
        ran = self.machine("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                           "--bounding-set", "-all", "--", binary, "capture", "install",
                           "--backend", "nft", status=1)
        self.assertIn("run as root, or with the capability NET_ADMIN", ran.stderr)


def readable_directory():
    """A directory for programs that run as another user."""
    directory = tempfile.TemporaryDirectory(prefix="glia-e2e-")
    pathlib.Path(directory.name).chmod(0o755)
    return directory


class Captured(harness.Scene):
    """web, api and db are pods, vm is a virtual machine with a model server; outside has no sidecar."""

    @classmethod
    def setUpClass(cls):
        namespaces.must_be_root()
        super().setUpClass()
        cls.directory.chmod(0o755)
        cls.switch = cls.enterClassContext(namespaces.Switch())
        names = ("web", "api", "db", "vm", "transparent", "outside")
        cls.machines = {name: namespaces.Machine(cls.switch, 11 + i)
                        for i, name in enumerate(names)}
        cls.programs = cls.directory / "bin"
        cls.programs.mkdir(mode=0o755)
        for program in (harness.GLIA_PROXY,
                        harness.BIN / "control_plane" / "standalone" / "glia-translate"):
            shutil.copy(program, cls.programs)
        cls.authority = cls.directory / "ca"
        cls.authority.mkdir(mode=0o700)
        shutil.chown(cls.authority, PROXY_USER, PROXY_USER)
        cls.sidecars = {}
        cls.write_mesh()
        for name in names:
            cls.start_application(name)
        for name in names[:-1]:
            cls.start_sidecar(name)

    @classmethod
    def write_mesh(cls):
        web, api, db, vm, transparent = (
            cls.machines[name] for name in ("web", "api", "db", "vm", "transparent"))
        headless = service("db", "None")
        headless["spec"]["ports"][0]["port"] = capture_peer.HTTP
        model = workload(vm, "vm", inbound="Permissive")
        model["spec"]["ports"].append({"name": "model", "port": capture_peer.MODEL})
        model["spec"]["modelServer"] = {"engine": "vllm", "metricsPort": capture_peer.MODEL}
        models = service("vm", "10.96.0.11")
        models["spec"]["ports"].append({"name": "model", "port": 8000, "targetPort": "model"})
        objects = [
            {"apiVersion": "glia.dev/v1", "kind": "Mesh", "metadata": {"name": "capture"},
             "spec": {"trustDomain": "capture.mesh", "accessLog": {"path": "none"}}},
            workload(web, "web", outbound="Allow"), workload(api, "api", outbound="RegistryOnly"), workload(db, "db"), model,
            workload(transparent, "transparent", mode="TProxy"),
            service("transparent", "10.96.0.12"), service("transparent6", "fd96::12", "transparent"),
            
            service("api", "10.96.0.10"), service("api6", "fd96::10", app="api"),
            models, headless,
            {"apiVersion": "glia.dev/v1", "kind": "AuthorizationPolicy",
             "metadata": {"name": "not-the-vm"},
             "spec": {"selector": {"app": "db"}, "rules": [
                 {"from": [{"identities": ["web", "api"]}]}]}}]
        cls.mesh = cls.directory / "mesh.yaml"
        cls.mesh.write_text(yaml.safe_dump_all(objects))
        cls.mesh.chmod(0o644)

    @classmethod
    def start_application(cls, name):
        program = cls.enterClassContext(cls.machines[name].start(
            f"app-{name}", [sys.executable, PEER, "serve", name], cls.directory))
        harness.eventually(lambda: program.check_alive() or "serving" in program.text(),
                           f"the application of {name} serves")

    @classmethod
    def start_sidecar(cls, name):
        machine, transparent = cls.machines[name], name == "transparent"
        program = cls.enterClassContext(machine.start(
            f"sidecar-{name}",
            [cls.programs / "glia-proxy", "--mesh", cls.mesh, "--workload", name,
             "--ca-dir", cls.authority, "--concurrency", "1", "--capture"],
            cls.directory, user=PROXY_USER, right="net_admin" if transparent else ""))
        harness.eventually(lambda: program.check_alive() or "in force" in program.text(),
                           f"the sidecar of {name} is ready")
        machine(harness.GLIA, "capture", "install", "--exclude-outbound-ports", "9999",
                "--mode", "tproxy" if transparent else "redirect")
        cls.sidecars[name] = program

    def ask(self, name, *question):
        """What a program on that machine sees."""
        ran = self.machines[name](sys.executable, PEER, *question)
        return yaml.safe_load(ran.stdout)

    def metric(self, name, metric):
        page = self.machines[name]("curl", "-s", "http://127.0.0.1:15000/stats/prometheus").stdout
        return sum(float(line.rpartition(" ")[2]) for line in page.splitlines()
                   if line.startswith(metric))

    def wire(self):
        """A context; afterwards what() is all that went from machine to machine."""
        return Wire(self)

    def test_http_to_an_address_of_a_service_is_encrypted_and_has_an_identity(self):
        with self.wire() as wire:
            seen = self.ask("web", "http", "http://10.96.0.10/secret-path", "", "secret-body")
        self.assertEqual((seen["status"], seen["name"]), (200, "api"))
        self.assertIn("URI=spiffe://capture.mesh/ns/default/sa/web", seen["caller"])
        self.assertEqual(seen["body"], "secret-body")
        wire.is_encrypted(b"secret-path", b"secret-body", b"HTTP/1.1")

    def test_http_by_name_and_by_a_name_that_nobody_knows(self):
        for host in ("api", "api.default.svc.cluster.local", "alias.example"):
            seen = self.ask("web", "http", "http://10.96.0.10/", host)
            self.assertEqual((seen["status"], seen.get("name")), (200, "api"), seen)
            self.assertIn("sa/web", seen["caller"])

    def test_grpc(self):
        with self.wire() as wire:
            seen = self.ask("web", "grpc", "10.96.0.10:81", "secret-call")
        self.assertEqual(seen, {"answer": "api heard secret-call"})
        wire.is_encrypted(b"secret-call")

    def test_a_server_that_speaks_first_is_not_waited_for(self):
        with self.wire() as wire:
            seen = self.ask("web", "tcp", "10.96.0.10", "5432", "secret-line")
        self.assertEqual((seen.get("greeting"), seen.get("answer")),
                         ("welcome to api\n", "heard secret-line\n"), seen)
        self.assertLess(seen["waited"], 0.8)
        wire.is_encrypted(b"welcome to api", b"secret-line")

    def test_workloads_of_a_headless_service_are_called_by_their_address(self):
        address = self.machines["db"].v4
        with self.wire() as wire:
            seen = self.ask("api", "tcp", address, str(capture_peer.TCP), "secret-peer")
            page = self.ask("api", "http", f"http://{address}:{capture_peer.HTTP}/secret-page")
        self.assertEqual(seen.get("greeting"), "welcome to db\n", seen)
        self.assertEqual((page["status"], page["name"]), (200, "db"))
        self.assertIn("sa/api", page["caller"])
        wire.is_encrypted(b"welcome to db", b"secret-peer", b"secret-page")

    def test_a_policy_counts_for_relayed_connections(self):
        address = self.machines["db"].v4
        seen = self.ask("vm", "tcp", address, str(capture_peer.TCP), "let me in")
        self.assertNotIn("welcome", seen.get("greeting", ""), seen)

    def test_the_vm_is_called_with_mutual_tls_and_takes_plain_text_as_well(self):
        with self.wire() as wire:
            seen = self.ask("web", "http", "http://10.96.0.11/secret-model")
        self.assertIn("sa/web", seen["caller"])
        wire.is_encrypted(b"secret-model")
        address = self.machines["vm"].v4
        plain = self.ask("outside", "http", f"http://{address}:{capture_peer.HTTP}/", "", "",
                         "URI=spiffe://capture.mesh/ns/default/sa/web")  # Nobody may say so.
        self.assertEqual((plain["status"], plain["caller"]), (200, ""))
        other = self.ask("outside", "http", f"http://{address}:{capture_peer.OTHER}/")
        self.assertEqual((other["status"], other["name"]), (200, "vm"))
        first = self.ask("outside", "tcp", address, str(capture_peer.TCP), "hello")
        self.assertEqual(first.get("greeting"), "welcome to vm\n", first)

    def test_a_model_server_streams_its_answer(self):
        with self.wire() as wire:
            seen = self.ask("web", "chat", "10.96.0.11", "8000", "secret-prompt")
        self.assertEqual(seen, {"status": 200, "text": "hello", "type": "text/event-stream"})
        wire.is_encrypted(b"secret-prompt", b"chat.completion.chunk")

    def test_strict_takes_no_plain_text(self):
        address = self.machines["api"].v4
        for port in (capture_peer.HTTP, capture_peer.TCP, capture_peer.OTHER):
            seen = self.ask("outside", "http", f"http://{address}:{port}/")
            self.assertIn("error", seen, port)

    def test_tproxy_keeps_the_address_of_the_caller(self):
        for address in ("10.96.0.12", "fd96::12"):
            host = f"[{address}]" if ":" in address else address
            with self.wire() as wire:
                seen = self.ask("web", "http", f"http://{host}/secret-path")
                line = self.ask("web", "tcp", address, "5432", "secret-line")
            self.assertEqual((seen.get("status"), seen.get("name")), (200, "transparent"), seen)
            self.assertIn("sa/web", seen["caller"])
            self.assertEqual(line.get("greeting"), "welcome to transparent\n", line)
            wire.is_encrypted(b"secret-path", b"secret-line")
        own = self.ask("transparent", "http", "http://10.96.0.12/")
        self.assertEqual((own.get("status"), own.get("name")), (200, "transparent"), own)

    def test_ipv6(self):
        with self.wire() as wire:
            seen = self.ask("web", "http", "http://[fd96::10]/secret-six")
            line = self.ask("web", "tcp", "fd96::10", "5432", "secret-line")
        self.assertEqual((seen.get("status"), seen.get("name")), (200, "api"), seen)
        self.assertIn("sa/web", seen["caller"])
        self.assertEqual(line.get("greeting"), "welcome to api\n", line)
        wire.is_encrypted(b"secret-six", b"secret-line")

    def test_what_is_for_nobody_of_the_mesh_passes_untouched(self):
        outside = self.machines["outside"]
        for address in (outside.v4, outside.v6):
            host = f"[{address}]" if ":" in address else address
            page = self.ask("web", "http", f"http://{host}:{capture_peer.HTTP}/")
            self.assertEqual((page["status"], page["name"]), (200, "outside"))
            line = self.ask("web", "tcp", address, str(capture_peer.TCP), "hello")
            self.assertEqual(line.get("greeting"), "welcome to outside\n", line)
            self.assertLess(line["waited"], 0.8)
            self.assertEqual(self.ask("web", "udp", address, str(capture_peer.UDP), "x"),
                             {"answer": "outside x"})
        self.assertGreater(self.metric("web", 'envoy_cluster_upstream_cx_total{envoy_cluster_name='
                                              '"passthrough"'), 0)

    def test_what_is_for_nobody_of_the_mesh_is_refused_where_the_registry_decides(self):
        outside = self.machines["outside"]
        page = self.ask("api", "http", f"http://{outside.v4}:{capture_peer.HTTP}/", "outside.example")
        self.assertEqual(page.get("status"), 404, page)
        self.assertIn("no Service has this host name", page["text"])
        named = self.ask("api", "http", f"http://{outside.v4}:{capture_peer.HTTP}/", "vm")
        self.assertEqual((named["status"], named["name"]), (200, "vm"))
        before = self.metric("api", "envoy_listener_no_filter_chain_match")
        line = self.ask("api", "tcp", outside.v4, "7", "hello", "client")
        self.assertEqual(line.get("answer", ""), "", line)
        self.assertGreater(self.metric("api", "envoy_listener_no_filter_chain_match"), before)

    def test_what_is_left_out_goes_past_the_sidecar(self):
        outside = self.machines["outside"]
        before = self.metric("web", "envoy_cluster_upstream_cx_total")
        seen = self.ask("web", "http", f"http://{outside.v4}:{capture_peer.LEFT_OUT}/")
        self.assertEqual((seen["status"], seen["name"]), (200, "outside"))
        self.assertEqual(self.metric("web", "envoy_cluster_upstream_cx_total"), before)

    def test_without_its_sidecar_nothing_goes_out_unmeshed(self):
        db = self.machines["db"]
        sidecar = self.sidecars["db"]
        sidecar.terminate()
        sidecar.ended()
        try:
            seen = self.ask("db", "http", f"http://{self.machines['outside'].v4}:8080/")
            self.assertIn("Connection refused", seen["error"])
            self.assertIn("error", self.ask("outside", "http", f"http://{db.v4}:8080/"))
        finally:
            self.start_sidecar("db")

    def test_a_call_of_the_own_service_goes_through_the_own_sidecar_twice(self):
        seen = self.ask("api", "http", "http://10.96.0.10/")
        self.assertEqual((seen["status"], seen["name"]), (200, "api"))
        self.assertIn("sa/api", seen["caller"])
        line = self.ask("api", "tcp", "10.96.0.10", "5432", "to myself")
        self.assertEqual(line.get("answer"), "heard to myself\n", line)

    def test_localhost_and_the_own_address_are_left_alone(self):
        for address in ("127.0.0.1", "[::1]", self.machines["api"].v4):
            seen = self.ask("api", "http", f"http://{address}:{capture_peer.HTTP}/")
            self.assertEqual((seen["status"], seen["caller"]), (200, ""))

    def test_the_capture_ports_themselves_refuse(self):
        before = self.metric("web", "glia_listener_misdirected_total")
        for port in ("15001", "15006"):
            self.assertIn("error", self.ask("web", "http", f"http://127.0.0.1:{port}/"))
        self.assertIn("error", self.ask("outside", "http",
                                        f"http://{self.machines['web'].v4}:15006/"))
        self.assertEqual(self.metric("web", "glia_listener_misdirected_total"), before + 3)

    def test_capture_works_says_the_check_beside_the_sidecar(self):
        self.machines["web"](harness.GLIA, "capture", "check", "--exclude-outbound-ports", "9999")


class UnderAControlPlane(harness.Scene):
    """What captured workloads are sent, as glia-proxy and a real Envoy read it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        network = meshes.free_network()
        cls.workloads = [cls.workload(name, f"{network}.{i}") for i, name in enumerate(
            ("glia", "envoy", "strict"), 1)]
        cls.workloads[2]["spec"]["capture"] |= {"inbound": "Strict", "outbound": "RegistryOnly"}
        headless = service("peers", "None", app="strict")
        file = meshes.MeshFile(cls.directory, [
            meshes.mesh(), *cls.workloads, service("glia", "10.96.0.10"), headless,
            meshes.policy("some", "strict", "glia")])
        cls.control = cls.enterClassContext(meshes.ControlPlane(cls.directory, file))

    @classmethod
    def workload(cls, name, address):
        return {"apiVersion": "glia.dev/v1", "kind": "Workload",
                "metadata": {"name": name, "labels": {"app": name}},
                "spec": {"address": address, "appAddress": f"{address}0",
                         "admin": {"port": meshes.ADMIN_PORT},
                         "outbound": {"port": harness.free_port()},
                         "ports": [{"name": "http", "port": 80}, {"name": "grpc", "port": 81},
                                   {"name": "tcp", "port": 5432, "protocol": "TCP"}],
                         "capture": {"inbound": "Permissive", "families": "IPv4",
                                     "inboundPort": harness.free_port()}}}

    def accepts(self, name, start):
        spec = next(one for one in self.workloads if one["metadata"]["name"] == name)["spec"]
        self.enterContext(start(spec["address"]))
        harness.eventually(lambda: meshes.settled(self.control.status(), name),
                           f"{name} accepts all that it is sent")
        self.assertTrue(harness.can_connect(spec["outbound"]["port"]))
        self.assertTrue(harness.can_connect(spec["capture"]["inboundPort"]))

    def test_glia_proxy_accepts_them(self):
        for name in ("glia", "strict"):
            self.accepts(name, lambda address, name=name: meshes.Sidecar(
                self.directory, self.control, name, address))

    def test_a_real_envoy_accepts_them(self):
        self.accepts("envoy", lambda address: meshes.BootstrapSidecar(
            self.directory, self.control, "envoy", address, harness.envoy()))


class Wire:
    """Reads along on the bridge."""

    def __init__(self, scene):
        self.scene = scene
        self.file = scene.directory / f"wire-{scene.id()}"

    def __enter__(self):
        self.program = harness.Program(
            f"wire-{self.scene.id()}",
            ["ip", "netns", "exec", self.scene.switch.name, sys.executable, PEER, "sniff", self.file],
            self.scene.directory)
        harness.eventually(lambda: self.program.check_alive() or "listening" in self.program.text(),
                           "the wire is listened to")
        return self

    def __exit__(self, *_):
        self.program.__exit__()

    def is_encrypted(self, *secrets):
        frames = self.file.read_bytes()
        self.scene.assertIn(b"\x17\x03\x03", frames, "no TLS was seen, so nothing is proven")
        for secret in secrets:
            self.scene.assertNotIn(secret, frames)


if __name__ == "__main__":
    unittest.main()
