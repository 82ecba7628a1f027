"""glia-proxy from its start to its end: checking a file, admin pages, logs, drain and exit."""

import http.client
import re
import subprocess
import threading
import time
import unittest

import yaml

from bootstrap import bootstrap, cluster, listener, says, socket_address, to
from certificates import Authority
from harness import (GLIA_PROXY, ROOT, WITHIN_S, Proxy, Scene, access_log_lines, can_connect,
                     eventually, peer)
from origins import HttpOrigin

MISTAKES = """\
node: {id: mistaken}
static_resources:
  listeners:
  - name: in
    adress: {socket_address: {address: 127.0.0.1, port_value: 0}}
    address: {socket_address: {address: 127.0.0.1, port_value: 70000}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {safe_regex: {regex: "/(unclosed"}}
                route: {cluster: there}
          http_filters:
          - name: envoy.filters.http.lua
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              surprise: true
  clusters:
  - name: there
    type: STATIC
    connect_timeout: soon
"""
MISTAKEN_LINES = {5, 6, 18, 24, 28}


class Validate(Scene):
    def validate(self, text, *flags):
        file = self.directory / "bootstrap.yaml"
        file.write_text(text)
        return subprocess.run([GLIA_PROXY, "-c", file, *flags], capture_output=True, text=True,
                              timeout=WITHIN_S)

    def test_prints_every_mistake_with_file_and_line(self):
        ran = self.validate(MISTAKES, "--mode", "validate")
        self.assertNotEqual(ran.returncode, 0)
        lines = {int(line) for line in
                 re.findall(r"bootstrap\.yaml:(\d+)\b", ran.stdout + ran.stderr)}
        self.assertLessEqual(MISTAKEN_LINES, lines, ran.stdout + ran.stderr)
        self.assertIn("address", ran.stdout + ran.stderr)  # What was meant by "adress".

    def test_does_not_serve_a_mistaken_file(self):
        ran = self.validate(MISTAKES)
        self.assertNotEqual(ran.returncode, 0)
        self.assertIn("bootstrap.yaml:5", ran.stdout + ran.stderr)

    def test_a_good_file_is_said_to_be_good(self):
        text = yaml.safe_dump(bootstrap([listener("in", [says(200, "ok")])], []))
        ran = self.validate(text, "--mode", "validate")
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    def test_every_example_gets_ready(self):
        authority = Authority(self.directory)
        identity = authority.issue("gateway")
        (self.directory / "certs").mkdir()
        for file in (identity.certificate, identity.key):
            file.rename(self.directory / "certs" / file.name)
        examples = sorted((ROOT / "configs").glob("*.yaml"))
        self.assertTrue(examples)
        for example in examples:
            with self.subTest(example.name):
                config = runnable(yaml.safe_load(example.read_text()), authority)
                with Proxy(self.directory, config, name=example.stem, cwd=self.directory) as proxy:
                    self.assertEqual(set(proxy.ports), {
                        one["name"] for one in config["static_resources"]["listeners"]})


def runnable(config, authority):
    """The example with ports that the system chooses, and with the secrets that it asks for."""
    config.setdefault("admin", {})["address"] = socket_address(0)
    for one in config["static_resources"]["listeners"]:
        one["address"]["socket_address"]["port_value"] = 0
    if "sds_secret_config" in str(config):
        config["static_resources"]["secrets"] = [
            {"name": "default", "tls_certificate": {
                "certificate_chain": {"filename": "certs/gateway.pem"},
                "private_key": {"filename": "certs/gateway.key"}}},
            {"name": "ROOTCA", "validation_context": {
                "trusted_ca": {"filename": str(authority.certificate)}}}]
    return config


class Admin(Scene):
    def setUp(self):
        self.log = self.directory / f"{self.id().rpartition('.')[2]}.access"
        self.origin = self.enterContext(HttpOrigin())
        self.proxy = self.enterContext(Proxy(self.directory, bootstrap(
            [listener("in", [to("origin", timeout="0s")], log=self.log)],
            [cluster("origin", self.origin.port)])))

    def test_each_page_answers_and_shows_what_runs(self):
        self.proxy.fetch()
        for page in ("/", "/help", "/certs", "/clusters", "/clusters?format=json", "/config_dump",
                     "/exchanges", "/listeners", "/logging", "/ready", "/server_info", "/stats",
                     "/stats?format=json", "/stats/prometheus"):
            with self.subTest(page):
                answer = self.proxy.admin(page)
                self.assertEqual(answer.status, 200)
                if "json" in answer.headers["content-type"]:
                    self.assertTrue(answer.json)
        self.assertIn(f"origin::127.0.0.1:{self.origin.port}::rq_success::1",
                      self.proxy.admin("/clusters").text)
        dump = self.proxy.admin("/config_dump").text
        self.assertIn('"in-routes"', dump)
        self.assertIn("e2e-node", dump)
        info = self.proxy.admin("/server_info").json
        self.assertEqual(info["state"], "LIVE")
        self.assertEqual(self.proxy.metric("envoy_cluster_upstream_rq_total",
                                           envoy_cluster_name="origin"), 1)
        self.assertEqual(self.proxy.metric("envoy_server_live"), 1)

    def test_changes_need_a_post(self):
        for page in ("/drain_listeners", "/quitquitquit", "/reopen_logs"):
            self.assertEqual(self.proxy.admin(page).status, 405)
        self.proxy.admin("/logging?level=debug")
        self.assertEqual(self.proxy.admin("/logging").text, "level: info\n")
        self.assertEqual(self.proxy.admin("/logging?level=debug", "POST").status, 200)
        self.assertEqual(self.proxy.admin("/logging").text, "level: debug\n")
        self.assertEqual(self.proxy.fetch().status, 200)  # And all goes on.

    def test_a_page_of_the_web_cannot_reach_it(self):
        self.assertEqual(self.proxy.admin("/stats", headers={"Host": "evil.example"}).status, 403)
        self.assertEqual(self.proxy.admin("/quitquitquit", "POST",
                                          {"Origin": "http://evil.example"}).status, 403)

    def test_shows_requests_in_flight(self):
        waiting = threading.Thread(target=self.proxy.fetch, args=("/hang",))
        waiting.start()
        self.assertTrue(self.origin.hanging.acquire(timeout=WITHIN_S))
        self.assertIn("/hang", self.proxy.admin("/exchanges").text)
        self.origin.let_go.set()
        waiting.join()

    def test_draining_listeners_leaves_requests_in_progress(self):
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(self.proxy.fetch("/hang")))
        waiting.start()
        self.assertTrue(self.origin.hanging.acquire(timeout=WITHIN_S))
        self.assertEqual(self.proxy.admin("/drain_listeners", "POST").status, 200)
        eventually(lambda: not can_connect(self.proxy.ports["in"]), "no new connection is taken")
        self.origin.let_go.set()
        waiting.join()
        self.assertEqual(answers[0].status, 200)

    def test_quitquitquit_ends_it(self):
        self.assertEqual(self.proxy.admin("/quitquitquit", "POST").status, 200)
        self.assertEqual(self.proxy.ended(), 0)

    def test_the_access_log_follows_a_rotation(self):
        self.proxy.fetch("/before")
        self.access_log(1, self.log)
        old = self.log.rename(self.log.with_suffix(".old"))
        self.assertEqual(self.proxy.admin("/reopen_logs", "POST").status, 200)
        self.proxy.fetch("/after")
        line, = self.access_log(1, self.log)
        self.assertEqual(line["path"], "/after")
        self.assertEqual([line["path"] for line in access_log_lines(old)], ["/before"])

    def test_a_line_of_the_access_log_tells_the_request(self):
        self.proxy.fetch("/told?x=1", method="POST", body="12345",
                         headers={"user-agent": 'quote " and \t',
                                  "x-request-id": "given"})
        line, = self.access_log(1, self.log)
        wanted = {"method": "POST", "path": "/told?x=1", "protocol": "HTTP/1.1",
                  "authority": f"127.0.0.1:{self.proxy.ports['in']}", "response_code": 200,
                  "response_flags": "-", "response_code_details": "via_upstream",
                  "bytes_received": 5, "upstream_cluster": "origin", "node": "e2e-node",
                  "upstream_host": f"127.0.0.1:{self.origin.port}", "request_id": "given"}
        self.assertEqual({key: line.get(key) for key in wanted}, wanted)
        self.assertTrue(line["user_agent"].startswith('quote " and'))
        self.assertGreater(line["bytes_sent"], 0)
        self.assertGreaterEqual(line["duration"], 0)
        self.assertRegex(line["start_time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertTrue(line["config_version"])


class Drain(Scene):
    def start(self, *flags):
        self.origin = self.enterContext(HttpOrigin())
        return self.enterContext(Proxy(self.directory, bootstrap(
            [listener("in", [to("origin", timeout="0s")])],
            [cluster("origin", self.origin.port)]), *flags))

    def test_sigterm_lets_requests_finish_and_refuses_new_ones(self):
        proxy = self.start("--drain-time-s", "600", "--concurrency", "2")
        idle = http.client.HTTPConnection("127.0.0.1", proxy.ports["in"], timeout=WITHIN_S)
        idle.request("GET", "/")
        idle.getresponse().read()
        self.assertIsNotNone(idle.sock)  # Kept.
        answers = {}
        ways = {
            "HTTP/1.1": lambda: proxy.fetch("/hang1"),
            "HTTP/2": lambda: subprocess.run(
                [peer("nghttp"), "--verbose", proxy.url("/hang2")], capture_output=True, text=True),
        }
        threads = [threading.Thread(target=lambda way=way, go=go: answers.update({way: go()}))
                   for way, go in ways.items()]
        for thread in threads:
            thread.start()
        for _ in threads:
            self.assertTrue(self.origin.hanging.acquire(timeout=WITHIN_S))
        proxy.terminate()
        eventually(lambda: not can_connect(proxy.ports["in"]), "no new connection is taken")
        self.assertEqual(proxy.admin("/ready").status, 503)
        self.origin.let_go.set()
        for thread in threads:
            thread.join()
        self.assertEqual(answers["HTTP/1.1"].status, 200)
        self.assertEqual(answers["HTTP/1.1"].headers.get("connection"), "close")
        self.assertRegex(answers["HTTP/2"].stdout, r"recv GOAWAY frame")
        self.assertRegex(answers["HTTP/2"].stdout, r":status: 200")
        # Long before the drain time: when nothing is left, there is nothing to wait for. Not
        # even for the caller who keeps a connection and asks nothing.
        self.assertEqual(proxy.ended(), 0)
        idle.close()

    def test_what_does_not_finish_is_cut_at_the_drain_time(self):
        proxy = self.start("--drain-time-s", "1")
        outcome = []

        def ask():
            try:
                outcome.append(proxy.fetch("/hang").status)
            except (OSError, http.client.HTTPException):
                outcome.append("cut")
        thread = threading.Thread(target=ask)
        thread.start()
        self.assertTrue(self.origin.hanging.acquire(timeout=WITHIN_S))
        began = time.monotonic()
        proxy.terminate()
        self.assertEqual(proxy.ended(), 0)
        self.assertGreater(time.monotonic() - began, 0.9)
        thread.join()
        self.assertIn(outcome, (["cut"], [503]))


if __name__ == "__main__":
    unittest.main()
