"""Mutual TLS on both sides of glia-proxy, what it tells the origin about the caller, and who may."""

import ssl
import unittest
from http.client import RemoteDisconnected

from bootstrap import (ANYTHING, bootstrap, caller, cluster, downstream_tls, listener, rbac, to,
                       upstream_tls)
from certificates import Authority, client_context, server_context
from harness import Proxy, Scene, curl, eventually
from origins import HttpOrigin

URI = {"set_current_client_cert_details": {"uri": True}}


def only(paths):
    return [{"url_path": {"path": {"prefix": paths}}}]


class Identity(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.directory)
        cls.stranger = Authority(cls.directory, "stranger", "stranger.mesh")
        cls.proxy_id, cls.origin_id, cls.front, cls.other = (
            cls.authority.issue(name) for name in ("proxy", "origin", "front", "other"))
        cls.foreign = cls.stranger.issue("foreign")
        cls.origin = cls.enterClassContext(HttpOrigin("origin"))
        cls.tls_origin = cls.enterClassContext(
            HttpOrigin("tls", server_context(cls.origin_id, cls.authority)))
        mutual = downstream_tls(cls.proxy_id, cls.authority)
        log = cls.directory / "access.log"

        def mutual_listener(name, mode, filters=(), **more):
            return listener(name, [to("tls", "/tls"), to("wrong", "/wrong"), to("plain")],
                            tls=mutual, filters=filters, log=log,
                            forward_client_cert_details=mode, **more)

        allow = {"front-may": (only("/"), caller(cls.front.spiffe_id)),
                 "others-read": ([{"and_rules": {"rules": [
                     {"header": {"name": ":method", "string_match": {"exact": "GET"}}},
                     *only("/public")]}}], ANYTHING)}
        deny = {"no-admin": (only("/admin"), [{"not_id": caller(cls.front.spiffe_id)[0]}])}
        cls.proxy = cls.enterClassContext(Proxy(cls.directory, bootstrap(
            [mutual_listener("set", "SANITIZE_SET", **URI),
             mutual_listener("append", "APPEND_FORWARD", **URI),
             mutual_listener("allow", "SANITIZE", [rbac("ALLOW", allow)]),
             mutual_listener("deny", "SANITIZE", [rbac("DENY", deny)]),
             mutual_listener("shadow", "SANITIZE", [rbac("ALLOW", None, ("ALLOW", allow))]),
             listener("san", [to("plain")], tls=downstream_tls(
                 cls.proxy_id, cls.authority, [cls.front.spiffe_id]))],
            [cluster("plain", cls.origin.port),
             cluster("tls", cls.tls_origin.port, tls=upstream_tls(
                 cls.proxy_id, cls.authority, [cls.origin_id.spiffe_id])),
             cluster("wrong", cls.tls_origin.port, tls=upstream_tls(
                 cls.proxy_id, cls.authority, [cls.other.spiffe_id]))])))

    def fetch(self, listener, path="/", identity=None, **options):
        return self.proxy.fetch(path, listener, **options,
                                tls=client_context(self.authority, identity or self.front))

    def logged(self, **fields):
        """The last line of the access log with these values."""
        def look():
            return [line for line in self.access_log(1)
                    if all(line.get(key) == value for key, value in fields.items())]
        return eventually(look, f"a line with {fields} in the access log")[-1]

    # Each side's certificate.

    def test_a_caller_without_a_certificate_of_the_mesh_is_not_let_in(self):
        for context in (client_context(self.authority), client_context(self.authority, self.foreign)):
            with self.assertRaises((ssl.SSLError, RemoteDisconnected, ConnectionError)):
                self.proxy.fetch("/", "set", tls=context)

    def test_a_caller_whose_name_does_not_match_is_not_let_in(self):
        self.assertEqual(self.fetch("san").status, 200)
        with self.assertRaises((ssl.SSLError, RemoteDisconnected, ConnectionError)):
            self.fetch("san", identity=self.other)

    def test_the_origin_sees_the_proxys_certificate(self):
        answer = self.fetch("set", "/tls")
        self.assertEqual((answer.status, answer.json["peer"]), (200, self.proxy_id.spiffe_id))
        line = self.logged(path="/tls", response_code=200)
        self.assertEqual(
            (line["downstream_identity"], line["downstream_local_identity"],
             line["upstream_identity"], line["upstream_cluster"], line["response_flags"],
             line["downstream_tls_version"]),
            (self.front.spiffe_id, self.proxy_id.spiffe_id, self.origin_id.spiffe_id, "tls", "-",
             "TLSv1.3"))
        self.assertTrue(line["upstream_host"].endswith(f":{self.tls_origin.port}"))

    def test_an_origin_with_another_name_gets_no_request(self):
        answer = self.fetch("set", "/wrong")
        self.assertEqual((answer.status, answer.headers["x-glia-reason"]), (503, "connect_failed"))
        self.assertIn(self.origin_id.spiffe_id, answer.text)
        self.assertEqual(self.logged(path="/wrong")["response_flags"], "UF")

    # x-forwarded-client-cert.

    def forwarded(self, listener, claimed):
        told = self.fetch(listener, headers={"x-forwarded-client-cert": claimed}).json
        return told["headers"].get("x-forwarded-client-cert")

    def element(self):
        return (f"By={self.proxy_id.spiffe_id};Hash=[0-9a-f]{{64}};"
                f"URI={self.front.spiffe_id}")

    def test_sanitize_set_replaces_what_the_caller_claims(self):
        self.assertRegex(self.forwarded("set", "By=x;URI=spiffe://e2e.mesh/ns/default/sa/root"),
                         f"^{self.element()}$")

    def test_append_forward_adds_to_what_the_caller_was_told(self):
        before = "By=spiffe://e2e.mesh/a;Hash=00;URI=spiffe://e2e.mesh/b"
        self.assertRegex(self.forwarded("append", before), f"^{before},{self.element()}$")

    def test_sanitize_takes_it_away(self):
        self.assertIsNone(self.forwarded("shadow", "By=x;URI=y"))

    def test_the_same_over_http2(self):
        answer = curl("--http2", "--cacert", self.authority.certificate, *self.front.curl(),
                      "-H", "x-forwarded-client-cert: URI=claimed", self.proxy.url("/", "set", "https"))
        self.assertEqual((answer.status, answer.protocol), (200, "2"))
        self.assertRegex(answer.json["headers"]["x-forwarded-client-cert"], f"^{self.element()}$")

    # Who may.

    def verdicts(self, listener):
        return {(name, method, path): self.fetch(listener, path, identity, method=method).status
                for name, identity in (("front", self.front), ("other", self.other))
                for method in ("GET", "POST") for path in ("/admin", "/public/x")}

    def test_allow_lets_only_those_in_whom_a_policy_names(self):
        before = self.proxy.metric("envoy_http_rbac_denied", envoy_http_conn_manager_prefix="allow")
        self.assertEqual(self.verdicts("allow"), {
            ("front", "GET", "/admin"): 200, ("front", "GET", "/public/x"): 200,
            ("front", "POST", "/admin"): 200, ("front", "POST", "/public/x"): 200,
            ("other", "GET", "/admin"): 403, ("other", "GET", "/public/x"): 200,
            ("other", "POST", "/admin"): 403, ("other", "POST", "/public/x"): 403})
        denied = self.proxy.metric("envoy_http_rbac_denied", envoy_http_conn_manager_prefix="allow")
        self.assertEqual(denied - before, 3)
        refused = self.fetch("allow", "/admin", self.other)
        self.assertEqual(refused.headers["x-glia-reason"], "denied")
        self.assertIn(self.other.spiffe_id, refused.text)
        self.assertIn("front-may", refused.text)

    def test_deny_refuses_and_names_the_policy(self):
        verdicts = self.verdicts("deny")
        self.assertEqual({key for key, status in verdicts.items() if status == 403},
                         {("other", "GET", "/admin"), ("other", "POST", "/admin")})
        refused = self.fetch("deny", "/admin", self.other)
        self.assertEqual(refused.headers["x-glia-policy"], "no-admin")
        self.assertEqual(self.logged(path="/admin", policy="no-admin")["response_code"], 403)

    def test_shadow_rules_let_all_in_and_tell_who_would_not_be(self):
        self.assertEqual(set(self.verdicts("shadow").values()), {200})
        prefix = {"envoy_http_conn_manager_prefix": "shadow"}
        self.assertEqual(self.proxy.metric("envoy_http_rbac_shadow_denied", **prefix), 3)
        self.assertEqual(self.proxy.metric("envoy_http_rbac_denied", **prefix), 0)
        lines = eventually(lambda: [line for line in self.access_log(1)
                                    if line.get("policy", "").startswith("shadow: ")],
                           "the access log names the shadow policy")
        self.assertEqual({line["downstream_identity"] for line in lines}, {self.other.spiffe_id})

    def test_the_admin_page_shows_the_certificates(self):
        found = self.proxy.admin("/certs").text
        self.assertIn(self.proxy_id.spiffe_id, found)
        self.assertIn(self.authority.spiffe_id, found)


if __name__ == "__main__":
    unittest.main()
