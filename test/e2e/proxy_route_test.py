"""Where glia-proxy sends a request, what it changes in it, how long it waits, and what it says
when it answers itself."""

import threading
import unittest

from bootstrap import bootstrap, cluster, listener, says, to
from harness import Proxy, Scene, access_log_lines, curl, eventually, fetch, free_port, tally
from origins import HttpOrigin


def header(name, **value):
    return {"headers": [{"name": name, **value}], "prefix": "/by/"}


def addition(name, value, action="APPEND_IF_EXISTS_OR_ADD"):
    return {"header": {"key": name, "value": value}, "append_action": action}


def weighted(match, **weights):
    return {"match": {"prefix": match}, "route": {"weighted_clusters": {"clusters": [
        {"name": name, "weight": weight} for name, weight in weights.items()]}}}


CHANGES = {
    "request_headers_to_add": [
        addition("x-added", "appended"), addition("x-set", "new", "OVERWRITE_IF_EXISTS_OR_ADD"),
        addition("x-kept", "no", "ADD_IF_ABSENT")],
    "request_headers_to_remove": ["x-secret"],
    "response_headers_to_add": [addition("x-answered", "yes")],
    "response_headers_to_remove": ["x-origin"],
}


class Routes(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.a = cls.enterClassContext(HttpOrigin("a"))
        cls.b = cls.enterClassContext(HttpOrigin("b"))
        cls.nobody = free_port()
        routes = [
            to("b", {"path": "/exact"}),
            to("b", {"safe_regex": {"regex": r"/v\d+/models/[^/]+"}}),
            to("b", header("x-tier", string_match={"exact": "gold"})),
            to("b", header(":method", string_match={"exact": "DELETE"})),
            to("b", header("x-there", present_match=True)),
            to("b", "/prefix/"),
            to("b", "/old/", prefix_rewrite="/new/", host_rewrite_literal="new.example"),
            weighted("/split", a=75, b=25),
            {**to("a", "/changed"), **CHANGES},
            to("a", "/hang-late", timeout="0.3s", name="late"),
            to("a", "/hang-idle", timeout="0s", idle_timeout="0.3s", name="idle"),
            to("nobody", "/nobody"),
            to("hollow", "/hollow"),
            says(418, "short and stout", "/direct"),
            {"match": {"prefix": "/moved"}, "redirect": {"host_redirect": "there.example",
                                                        "response_code": "FOUND"}},
            to("a")]
        hosts = [{"name": "all", "domains": ["*"], "routes": routes},
                 {"name": "one", "domains": ["one.example"], "routes": [to("b", "/only")]},
                 {"name": "under", "domains": ["*.under.example"], "routes": [to("b")]}]
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [listener("in", hosts, log=cls.directory / "access.log")],
            [cluster("a", cls.a.port), cluster("b", cls.b.port), cluster("nobody", cls.nobody),
             cluster("hollow")])))

    def sent_to(self, path, method="GET", **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.proxy.fetch(path, method=method, headers=headers)
        return answer.json["origin"] if answer.status == 200 else answer.status

    def logged(self, path):
        """The line of the access log about the request with this path."""
        return eventually(lambda: [line for line in access_log_lines(self.directory / "access.log")
                                   if line["path"] == path], f"{path} in the access log")[0]

    def test_sends_each_request_where_its_route_says(self):
        self.assertEqual(self.sent_to("/exact"), "b")
        self.assertEqual(self.sent_to("/exact?query"), "b")
        self.assertEqual(self.sent_to("/exact/more"), "a")
        self.assertEqual(self.sent_to("/v12/models/m"), "b")
        self.assertEqual(self.sent_to("/v12/models/m/infer"), "a")  # The whole path must match.
        self.assertEqual(self.sent_to("/by/x", x_tier="gold"), "b")
        self.assertEqual(self.sent_to("/by/x", x_tier="golden"), "a")
        self.assertEqual(self.sent_to("/by/x", x_there=""), "b")
        self.assertEqual(self.sent_to("/by/x", method="DELETE"), "b")
        self.assertEqual(self.sent_to("/by/x"), "a")
        self.assertEqual(self.sent_to("/prefix/x"), "b")
        self.assertEqual(self.sent_to("/prefix"), "a")

    def test_chooses_the_virtual_host_by_name(self):
        self.assertEqual(self.sent_to("/only", Host="one.example"), "b")
        self.assertEqual(self.sent_to("/only", Host="ONE.example"), "b")
        self.assertEqual(self.sent_to("/", Host="one.example"), 404)
        self.assertEqual(self.sent_to("/", Host="any.under.example"), "b")
        self.assertEqual(self.sent_to("/", Host="under.example"), "a")

    def test_rewrites_answers_itself_and_redirects(self):
        told = self.proxy.fetch("/old/x?y=z").json
        self.assertEqual((told["path"], told["headers"]["host"]), ("/new/x?y=z", "new.example"))
        direct = self.proxy.fetch("/direct")
        self.assertEqual((direct.status, direct.text), (418, "short and stout"))
        moved = self.proxy.fetch("/moved/x?y", headers={"Host": "here.example"})
        self.assertEqual((moved.status, moved.headers["location"]),
                         (302, "http://there.example/moved/x?y"))

    def test_splits_by_weight(self):
        counts = tally(self.sent_to("/split") for _ in range(400))
        self.assertEqual(set(counts), {"a", "b"})
        self.assert_share(counts, "b", 0.25)

    def test_adds_and_removes_header_fields(self):
        answer = self.proxy.fetch("/changed", headers={"x-added": "own", "x-set": "old",
                                                       "x-kept": "kept", "x-secret": "s"})
        told = answer.json["headers"]
        self.assertEqual((told["x-set"], told["x-kept"]), ("new", "kept"))
        self.assertNotIn("x-secret", told)
        self.assertEqual(answer.headers["x-answered"], "yes")
        self.assertNotIn("x-origin", answer.headers)
        self.assertEqual(self.proxy.fetch("/changed").json["headers"]["x-added"], "appended")

    def test_a_late_answer_is_a_504_that_says_why(self):
        answer = self.proxy.fetch("/hang-late")
        self.assertEqual(answer.status, 504)
        self.assert_names(answer, reason="upstream_timeout", route="late", cluster="a")
        self.assertIn("300 ms", answer.text)
        self.assertEqual(self.logged("/hang-late")["response_flags"], "UT")

    def test_a_stream_where_nothing_moves_is_ended(self):
        answer = self.proxy.fetch("/hang-idle")
        self.assertEqual(answer.status, 504)  # The request was whole: it is not the caller's fault.
        self.assert_names(answer, route="idle", cluster="a")
        self.assertEqual(self.logged("/hang-idle")["response_flags"], "SI")

    def test_every_answer_of_its_own_names_reason_hop_and_configuration(self):
        nowhere = self.proxy.fetch("/x", headers={"Host": "one.example"})
        self.assertEqual(nowhere.status, 404)
        self.assert_names(nowhere, reason="no_route")
        refused = self.proxy.fetch("/nobody")
        self.assertEqual(refused.status, 503)
        self.assert_names(refused, reason="connect_failed", cluster="nobody")
        line = self.logged("/nobody")
        self.assertEqual(line["response_flags"], "UF")
        self.assertEqual(line["upstream_host"], f"127.0.0.1:{self.nobody}")
        hollow = self.proxy.fetch("/hollow")
        self.assertEqual(hollow.status, 503)
        self.assert_names(hollow, reason="no_endpoint", cluster="hollow")
        over_http2 = curl("--http2-prior-knowledge", self.proxy.url("/hollow"))
        self.assertEqual(over_http2.status, 503)
        self.assert_names(over_http2, reason="no_endpoint", cluster="hollow")

    def assert_names(self, answer, **named):
        for name, value in {"hop": "e2e-node", **named}.items():
            self.assertEqual(answer.headers.get(f"x-glia-{name}"), value, answer)
            self.assertIn(value if name != "reason" else "", answer.text)
        self.assertTrue(answer.headers["x-glia-config"])
        self.assertIn(answer.headers["x-glia-config"], answer.text)

    def test_what_an_origin_answers_carries_no_reason(self):
        self.assertFalse([name for name in self.proxy.fetch("/").headers if "glia" in name])


class Balancing(Scene):
    def test_round_robin_is_even_and_least_request_goes_round_who_is_busy(self):
        a, b = (self.enterContext(HttpOrigin(name)) for name in "ab")
        with Proxy(self.directory, bootstrap(
                [listener("in", [to("turns", "/turns"), to("least", timeout="0s")])],
                [cluster("turns", a.port, b.port, lb_policy="ROUND_ROBIN"),
                 cluster("least", a.port, b.port, lb_policy="LEAST_REQUEST")])) as proxy:
            counts = tally(proxy.fetch("/turns").json["origin"] for _ in range(40))
            self.assertEqual(counts, {"a": 20, "b": 20})
            # Whoever holds most of eight waiting requests is chosen less often.
            waiting = [threading.Thread(target=fetch, args=(proxy.ports["in"], "/hang"))
                       for _ in range(8)]
            for thread in waiting:
                thread.start()
            held = {origin: 0 for origin in (a, b)}

            def all_wait():
                for origin in held:
                    while origin.hanging.acquire(blocking=False):
                        held[origin] += 1
                return sum(held.values()) == 8
            eventually(all_wait, "eight requests wait at the origins")
            self.assertLessEqual(abs(held[a] - held[b]), 4)
            for origin in held:
                origin.let_go.set()
            for thread in waiting:
                thread.join()


if __name__ == "__main__":
    unittest.main()
