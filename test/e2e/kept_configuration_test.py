"""A sidecar that is started while the control plane is away begins with what an earlier run has kept on
disk: mutual TLS included, within a second, and says so. A file that is not its own, or not whole, is
refused with the reason. When the control plane comes back, what changed meanwhile is followed, and one
that has forgotten everything takes nothing away. With GLIA_LONG (./dev test --long) the mesh of the
measurement has 1,000 Services, else 200.
"""

import json
import os
import pathlib
import tempfile
import time
import unittest

import harness
from harness import Scene, eventually
from meshes import (ADMIN_PORT, BootstrapSidecar, ControlPlane, KeepingSidecar, MeshFile, ask, free_network,
                    is_ready, mesh, metric, policy, service, spiffe, workload)
from origins import HttpOrigin

SERVICES = 1000 if os.environ.get("GLIA_LONG") else 200
FILE = KeepingSidecar.KEPT


class Kept(Scene):
    def setUp(self):
        # One for each test: what is kept must be its own.
        self.directory = pathlib.Path(tempfile.mkdtemp(dir=self.directory))
        network = free_network()
        names = ("web", "app", "new")
        self.at = {name: f"{network}.{host}" for host, name in enumerate(names, 1)}
        self.origins = {name: self.enterContext(HttpOrigin(name)) for name in ("app", "new")}
        self.file = MeshFile(self.directory, self.objects())
        self.running = {"control": ControlPlane(self.directory, self.file)}
        self.addCleanup(lambda: [one.__exit__() for one in self.running.values()])
        self.port = self.running["control"].port
        self.joins = {name: self.running["control"].join_file(name) for name in names}
        for name in ("web", "app"):
            self.start(name).ready()

    def objects(self, *more):
        # The policy is there to show that peers are known by their certificates.
        return [mesh(), workload("web", self.at["web"]),
                workload("app", self.at["app"], self.origins["app"].port),
                workload("new", self.at["new"], self.origins["new"].port),
                service("app"), policy("app", "app", spiffe("web")), *more]

    def start(self, name):
        self.running[name] = KeepingSidecar(self.directory, name, self.joins[name], self.at[name])
        return self.running[name]

    def kill(self, *names):
        for name in names:
            self.running[name].__exit__()

    def start_control(self):
        self.running["control"] = ControlPlane(self.directory, self.file, self.port)

    def everything_is_kept(self):
        self.assertEqual(ask(self.at["web"], "app").status, 200)
        self.running["web"].kept("outbound:80:app.default")
        self.running["app"].kept("inbound")

    def origin_of(self, name):
        return harness.fetch(ADMIN_PORT, "/server_info", host=self.at[name]).json.get("config_origin", "")

    def test_a_restart_without_control_plane_serves_and_follows_what_has_changed_once_it_is_back(self):
        self.everything_is_kept()
        self.assertEqual(self.running["web"].file.stat().st_mode & 0o777, 0o600)
        self.assertNotIn(b"PRIVATE KEY", self.running["web"].file.read_bytes())
        self.assertEqual(self.origin_of("web"), "")
        self.kill("control", "web", "app")
        for name in ("web", "app"):
            self.start(name).ready()
        answer = ask(self.at["web"], "app")
        self.assertEqual((answer.status, answer.headers["x-origin"]), (200, "app"))
        for name in ("web", "app"):
            self.assertIn("the control plane has not confirmed it yet", self.origin_of(name))
            self.assertEqual(metric(self.at[name], "glia_configuration_unconfirmed"), 1)
        ready = harness.fetch(ADMIN_PORT, "/ready", host=self.at["web"]).text
        self.assertTrue(ready.startswith("LIVE\nthe configuration is that in "), ready)
        dump = harness.fetch(ADMIN_PORT, "/config_dump", host=self.at["web"]).json
        self.assertIn(FILE, dump["glia"]["origin"])
        # Meanwhile: a Service more, and the old one moved.
        self.file.save([*self.objects(), service("more", app="new")])
        self.start("new")  # It has never been told anything, so it waits.
        self.start_control()
        self.running["new"].ready(60)
        eventually(lambda: ask(self.at["web"], "more").headers.get("x-origin") == "new",
                   "the change is followed", within_s=60)
        self.assertEqual(self.origin_of("web"), "")
        self.assertEqual(metric(self.at["web"], "glia_configuration_unconfirmed"), 0)
        # What vanishes while nobody listens is removed, and what vanished is kept no more.
        self.running["web"].kept("outbound:80:more.default")
        self.kill("control", "web")
        self.start("web").ready()
        self.assertEqual(ask(self.at["web"], "more").status, 200)
        self.file.save(self.objects())
        self.start_control()
        eventually(lambda: ask(self.at["web"], "more").status == 404, "it is gone", within_s=60)
        self.assertEqual(ask(self.at["web"], "app").status, 200)
        eventually(lambda: b"more.default" not in self.running["web"].file.read_bytes(),
                   "it is forgotten on disk", within_s=60)

    def test_a_file_that_is_damaged_or_anothers_is_refused_with_the_reason(self):
        self.everything_is_kept()
        self.kill("control", "web")
        file = self.running["web"].file
        whole = file.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        for content, why in (
                (bytes(flipped), "it is damaged (its checksum is another one), so nothing of it is used"),
                (whole[:len(whole) // 2], "it is damaged (it ends after "),
                (b"", "it is no configuration that glia-proxy has kept"),
                (whole.replace(b"configuration 1\n", b"configuration 2\n", 1), "it has the format 2"),
                (self.running["app"].file.read_bytes(),
                 f"it belongs to default/app {spiffe('app')} and this is default/web {spiffe('web')}")):
            with self.subTest(why=why):
                file.write_bytes(content)
                said = self.running["web"].text().count("begins without a kept configuration")
                self.start("web")
                eventually(lambda: self.running["web"].text().count(
                    "begins without a kept configuration") > said, "it says so")
                self.assertIn(f"{FILE}: {why}", self.running["web"].text())
                ready = harness.fetch(ADMIN_PORT, "/ready", host=self.at["web"])
                self.assertEqual(ready.status, 503, ready.text)
                self.kill("web")
        self.start("web")
        self.start_control()
        self.running["web"].ready(60)
        self.assertEqual(ask(self.at["web"], "app").status, 200)
        self.running["web"].kept("outbound:80:app.default")

    def test_a_control_plane_that_has_forgotten_everything_takes_nothing_away(self):
        self.everything_is_kept()
        self.kill("control", "web")
        empty = self.directory / "empty"
        empty.mkdir()
        nothing = MeshFile(empty, [mesh()])
        self.running["control"] = ControlPlane(empty, nothing, self.port)  # Another authority, too.
        ended = "the call to the control plane ended"
        before = self.running["web"].text().count(ended)
        self.start("web").ready()
        eventually(lambda: self.running["web"].text().count(ended) > before, "it has asked")
        self.assertEqual(ask(self.at["web"], "app").status, 200)
        self.assertIn("has not confirmed it yet", self.origin_of("web"))
        self.kill("control")
        # The old authority, but no object.
        full = self.file.path.read_text()
        self.file.save([mesh()])
        self.start_control()
        eventually(lambda: "not in the mesh" in self.running["web"].text(), "it is told", within_s=90)
        self.assertEqual(ask(self.at["web"], "app").status, 200)
        self.file.save(full)
        eventually(lambda: self.origin_of("web") == "", "it is known again", within_s=90)
        self.assertEqual(ask(self.at["web"], "app").status, 200)

    def test_a_disk_that_takes_nothing_costs_no_request(self):
        self.everything_is_kept()
        web = self.running["web"]
        self.kill("web")
        (web.state / f"{FILE}.glia-new").unlink(missing_ok=True)
        (web.state / f"{FILE}.glia-new" / "in-the-way").mkdir(parents=True)
        self.start("web").ready()
        self.file.save(self.objects(service("more", app="app")))
        eventually(lambda: ask(self.at["web"], "more").status == 200, "the change is followed")
        eventually(lambda: metric(self.at["web"], "glia_kept_configuration_failures_total"),
                   "the failure is counted", within_s=30)
        self.assertIn("the configuration is not kept on disk", web.text())
        self.assertEqual(ask(self.at["web"], "app").status, 200)


class Bootstraps(Scene):
    """The same for a bootstrap of Envoy's, which is told where by a flag."""

    def test_a_bootstrap_keeps_what_came_by_ads(self):
        network = free_network()
        at = {name: f"{network}.{host}" for host, name in enumerate(("web", "app"), 1)}
        with HttpOrigin("app") as origin:
            file = MeshFile(self.directory, [
                mesh(), workload("web", at["web"]), workload("app", at["app"], origin.port), service("app")])
            control = self.enterContext(ControlPlane(self.directory, file))
            app = KeepingSidecar(self.directory, "app", control.join_file("app"), at["app"])
            self.enterContext(app)
            app.ready()
            for api in ("GRPC", "DELTA_GRPC"):
                with self.subTest(api=api):
                    self.restarted(control, at["web"], api)

    def restarted(self, control, address, api):
        state = self.directory / f"state-{api}"
        with BootstrapSidecar(self.directory, control, "web", address, harness.GLIA_PROXY, api):
            self.assertEqual(ask(address, "app").status, 200)
        command = [harness.GLIA_PROXY, "-c", self.directory / "bootstrap-web.yaml", "--concurrency", "1",
                   "--state-dir", state]
        with harness.Program(f"keeping-{api}", command, self.directory):
            eventually(lambda: (state / FILE).exists() and
                       b"outbound:80:app" in (state / FILE).read_bytes(), "it is kept")
        # The control plane is still there, but the sidecar is sent elsewhere.
        text = (self.directory / "bootstrap-web.yaml").read_text()
        port = f'"port_value": {control.port}'
        self.assertEqual(text.count(port), 1)
        away = self.directory / "away.yaml"
        away.write_text(text.replace(port, '"port_value": 1'))
        command[2] = away
        with harness.Program(f"away-{api}", command, self.directory) as second:
            eventually(lambda: second.check_alive() or is_ready(address), "it is ready")
            self.assertEqual(ask(address, "app").status, 200)
            info = harness.fetch(ADMIN_PORT, "/server_info", host=address).json
            self.assertIn("the control plane has not confirmed it yet", info["config_origin"])

    def test_without_ads_there_is_nothing_to_keep(self):
        program = harness.Program("static", [
            harness.GLIA_PROXY, "--config-yaml", json.dumps({"node": {"id": "n"}}),
            "--state-dir", self.directory / "state"], self.directory)
        self.assertEqual(program.ended(), 1)
        self.assertIn("so there is nothing to keep there; leave it out", program.text())


@unittest.skipIf(harness.SANITIZED, "speed is not theirs")
class Speed(Scene):
    def test_a_large_mesh_is_served_at_once(self):
        network = free_network()
        web, app = f"{network}.1", f"{network}.2"
        with HttpOrigin("app") as origin:
            file = MeshFile(self.directory, [
                mesh(), workload("web", web), workload("app", app, origin.port),
                *(service(f"app-{number}", app="app") for number in range(SERVICES))])
            with ControlPlane(self.directory, file) as control:
                joins = {name: control.join_file(name) for name in ("web", "app")}
                self.enterContext(KeepingSidecar(self.directory, "app", joins["app"], app)).ready()
                with KeepingSidecar(self.directory, "web", joins["web"], web) as first:
                    first.ready().kept(f"outbound:80:app-{SERVICES - 1}.default")
                    fresh = first.memory()
            times = []
            for _ in range(3):  # Of which one may meet a machine that is busy.
                began = time.monotonic()
                with KeepingSidecar(self.directory, "web", joins["web"], web) as second:
                    second.ready()
                    times.append(time.monotonic() - began)
                    self.assertEqual(ask(web, f"app-{SERVICES - 1}").status, 200)
                    resident = second.memory()
            ready = min(times)
            print(f"{SERVICES} services: file {second.file.stat().st_size / 1e3:.0f} kB, ready after "
                  f"{1e3 * ready:.0f} ms, resident {resident / 1e6:.1f} MB "
                  f"(from the control plane {fresh / 1e6:.1f} MB)")
            self.assertLess(ready, 1 if SERVICES <= 200 else 3)


if __name__ == "__main__":
    unittest.main()
