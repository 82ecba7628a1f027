"""The same bootstrap file run by a real Envoy and by glia-proxy, and the same requests sent to both.

What differs is listed here, each with its reason; everything else must be equal.
"""

import re
import socket
import unittest

from bootstrap import (ANYTHING, TYPES, bootstrap, caller, cluster, downstream_tls, listener, rbac, says,
                       to, upstream_tls)
from certificates import Authority, client_context, server_context
from harness import WITHIN_S, Proxy, Scene, curl, envoy, free_port
from origins import HttpOrigin

# Fields of requests, as an origin sees them, that are not compared.
REQUEST_FIELDS = {
    "x-request-id": "a new one for each request",
    "x-envoy-expected-rq-timeout-ms": "Envoy tells its timeout to other Envoys",
    "x-envoy-internal": "Envoy's guess by address; Glia's callers are known by certificate",
    "x-envoy-external-address": "the same",
    "x-envoy-decorator-operation": "of Envoy's tracing",
    "connection": "hop by hop; Glia names te in it, as RFC 9110 section 10.1.4 asks",
}
# Fields of responses that are not compared.
RESPONSE_FIELDS = {
    "date": "the time; the origin's own is kept by both",
    "server": "each its own name",
    "x-envoy-upstream-service-time": "Glia has it in the access log",
    "connection": "hop by hop; only Envoy obeys the never standardised proxy-connection",
}
# Answers that the proxies make themselves: only Glia says why.
OWN_FIELDS = {"content-length", "content-type"}

CHANGES = {
    "request_headers_to_add": [
        {"header": {"key": "x-a", "value": "route"}},
        {"header": {"key": "x-set", "value": "new"},
         "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"},
        {"header": {"key": "x-there", "value": "changed"}, "append_action": "OVERWRITE_IF_EXISTS"},
        {"header": {"key": "x-absent", "value": "added"}, "append_action": "ADD_IF_ABSENT"}],
    "request_headers_to_remove": ["x-gone"],
    "response_headers_to_add": [{"header": {"key": "x-b", "value": "route"}}],
    "response_headers_to_remove": ["x-origin"],
}


def routes():
    def match(path=None, **more):
        return {"prefix": path or "/match", **more}
    headers = [
        match("/h1", headers=[{"name": "x-n", "string_match": {"exact": "1"}}]),
        match("/h2", headers=[{"name": "x-n", "string_match": {"prefix": "ab"}}]),
        match("/h3", headers=[{"name": "x-n", "string_match": {"suffix": "yz"}}]),
        match("/h4", headers=[{"name": "x-n", "string_match": {"contains": "mid"}}]),
        match("/h5", headers=[{"name": "x-n", "string_match": {"safe_regex": {"regex": "a+b"}}}]),
        match("/h6", headers=[{"name": "x-n", "present_match": True}]),
        match("/h7", headers=[{"name": "x-n", "present_match": True, "invert_match": True}]),
        match("/h8", headers=[{"name": "x-n", "string_match": {"exact": "1"},
                               "invert_match": True}]),
        match("/h9", headers=[{"name": "x-n", "range_match": {"start": -5, "end": 10}}]),
        match("/ha", headers=[{"name": "x-n", "string_match": {"exact": "UP", "ignore_case": True}}]),
        match("/q1", query_parameters=[{"name": "a", "string_match": {"exact": "1"}}]),
        match("/q2", query_parameters=[{"name": "a", "present_match": True}]),
        match("/CASE", case_sensitive=False),
        match("/grpc", grpc={}),
        {"path_separated_prefix": "/sep"}, {"path": "/exact"},
        {"path": "/IExact", "case_sensitive": False},
        {"safe_regex": {"regex": "/re/[0-9]+"}},
    ]
    return [
        *[to("b", one) for one in headers],
        to("b", "/rewritten/", prefix_rewrite="/"), to("b", "/host", host_rewrite_literal="h.example"),
        {**to("b", "/changed"), **CHANGES},
        {"match": {"prefix": "/weighted"}, "route": {"weighted_clusters": {"clusters": [
            {"name": "a", "weight": 0}, {"name": "b", "weight": 100}]}}},
        to("b", "/hang/late", timeout="0.2s"),
        to("b", "/hang/idle", timeout="0s", idle_timeout="0.2s"), to("nobody", "/nobody"), to("hollow", "/hollow"),
        to("tls", "/tls"), to("misnamed", "/misnamed"),
        says(200, "said", "/said"), says(503, "gone", "/gone"),
        {"match": {"prefix": "/to-https"}, "redirect": {"https_redirect": True}},
        {"match": {"prefix": "/to-path"}, "redirect": {"path_redirect": "/p",
                                                      "response_code": "SEE_OTHER"}},
        {"match": {"prefix": "/to-query"}, "redirect": {"path_redirect": "/p?own=1"}},
        {"match": {"prefix": "/to-prefix/"}, "redirect": {"prefix_rewrite": "/q/",
                                                         "response_code": "PERMANENT_REDIRECT"}},
        {"match": {"prefix": "/to-port"}, "redirect": {"port_redirect": 8443, "strip_query": True}},
        to("a"),
    ]


PATHS = """
/ /exact /exact/ /exact?q /Exact /iexact /sep /sep/x /separate /re/12 /re/12?q /re/x /re/12/ /case/x
/rewritten/x?y=z /rewritten /host /weighted /hang/late /hang/idle /nobody /hollow /tls /misnamed /said /gone
/to-https/x?y /to-path/x?y /to-prefix/x?y /to-port/x?y /to-query/x?y //double/x
/q1?a=1 /q1?a=2 /q1?b=1&a=1 /q2?a /q2?ab=1 /h6 /h7 /h8 /h9 /changed
""".split()
WITH_HEADERS = [
    ("/h1", {"x-n": "1"}), ("/h1", {"x-n": "11"}), ("/h2", {"x-n": "abc"}), ("/h3", {"x-n": "xyz"}),
    ("/h4", {"x-n": "amidst"}), ("/h5", {"x-n": "aab"}), ("/h5", {"x-n": "aabc"}),
    ("/h6", {"x-n": ""}), ("/h7", {"x-n": "1"}), ("/h8", {"x-n": "1"}), ("/h8", {"x-n": "2"}),
    ("/h9", {"x-n": "-5"}), ("/h9", {"x-n": "10"}), ("/h9", {"x-n": "x"}), ("/ha", {"x-n": "up"}),
    ("/changed", {"x-a": "own", "x-set": "old", "x-there": "1", "x-absent": "no", "x-gone": "1"}),
    ("/", {"host": "one.example"}), ("/only", {"host": "one.example"}),
    ("/only", {"host": "one.example:8080"}), ("/only", {"host": "ONE.EXAMPLE"}),
    ("/", {"host": "a.under.example"}), ("/", {"host": "b.a.under.example"}),
    ("/", {"host": "front.anything"}), ("/", {"x-forwarded-for": "192.0.2.1"}),
    ("/", {"x-request-id": "mine"}), ("/", {"te": "trailers"}), ("/", {"connection": "x-hop", "x-hop": "1"}),
    ("/", {"x-envoy-original-path": "/spoofed"}), ("/", {"keep-alive": "1", "proxy-connection": "close"}),
    ("/", {"x-forwarded-proto": "https"}),
]
# Raw requests: what a hostile or broken caller sends. Only the status is compared.
RAW = {
    "http/1.0": "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
    "no host": "GET / HTTP/1.1\r\n\r\n",
    "two hosts": "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    "absolute target": "GET http://one.example/only HTTP/1.1\r\nhost: other\r\n\r\n",
    "bad version": "GET / HTTP/3.7\r\nhost: a\r\n\r\n",
    "not http": "\x16\x03\x01 nonsense\r\n\r\n",
    "bad name": "GET / HTTP/1.1\r\nhost: a\r\nx y: 1\r\n\r\n",
    "space before colon": "GET / HTTP/1.1\r\nhost: a\r\nx-a : 1\r\n\r\n",
    "folded": "GET / HTTP/1.1\r\nhost: a\r\nx-a: 1\r\n 2\r\n\r\n",
    "nul in value": "GET / HTTP/1.1\r\nhost: a\r\nx-a: 1\0\r\n\r\n",
    "length and chunked": "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n"
                          "transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
    "negative length": "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
    "unknown coding": "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
    "bad chunk": "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
    "long head": "GET / HTTP/1.1\r\nhost: a\r\nx-a: " + "a" * 70_000 + "\r\n\r\n",
    "connect": "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n",
    "options *": "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    "unknown method": "BREW / HTTP/1.1\r\nhost: a\r\n\r\n",
    "dot segments": "GET //double/../x HTTP/1.1\r\nhost: a\r\n\r\n",
    "escaped dot segments": "GET /%2e%2e/exact HTTP/1.1\r\nhost: a\r\n\r\n",
    "empty value": "GET / HTTP/1.1\r\nhost: a\r\nx-a:\r\n\r\n",
    "trailers": "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
                "x-t: 1\r\n\r\n",
}
# Raw requests that the two answer differently: (Envoy, Glia), and why Glia does so.
RAW_DIFFERENCES = {
    "http/1.0": ((426, 505), "the status that is named for it"),
    "bad version": ((426, 505), "the same"),
    "two hosts": ((200, 400), "RFC 9112 section 3.2: a server must answer 400"),
    "folded": ((200, 400), "obsolete, and read differently by different servers"),
    "dot segments": ((200, 400), "no policy could know what the origin will read"),
    "escaped dot segments": ((200, 400), "the same"),
    "connect": ((404, 405), "a sidecar is no tunnel, whatever the routes say"),
    "unknown method": ((400, 200), "methods can be added; the origin and the policies decide"),
}
# An Upgrade that is not configured: Envoy refuses the request, Glia goes on without it, as RFC 9110
# section 7.8 lets it. Of a caller by loopback, x-forwarded-for gets another address of this machine
# from Envoy.


class Beside(Scene):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.directory)
        proxy_id, origin_id, cls.front, cls.other = (
            cls.authority.issue(name) for name in ("proxy", "origin", "front", "other"))
        a, b = (cls.enterClassContext(HttpOrigin(name)) for name in "ab")
        tls_origin = cls.enterClassContext(
            HttpOrigin("tls", server_context(origin_id, cls.authority)))
        hosts = [{"name": "all", "domains": ["*"], "routes": routes()},
                 {"name": "one", "domains": ["one.example"], "routes": [to("b", "/only")]},
                 {"name": "under", "domains": ["*.under.example"], "routes": [to("b")]},
                 {"name": "front", "domains": ["front.*"], "routes": [to("b")]}]
        details = {"set_current_client_cert_details": {
            "subject": True, "uri": True, "dns": True, "cert": True}}
        mutual = downstream_tls(proxy_id, cls.authority)
        listeners = [listener("in", hosts), listener("out", hosts, use_remote_address=True)]
        for mode in ("SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET",
                     "ALWAYS_FORWARD_ONLY"):
            listeners.append(listener(f"xfcc-{mode}", [to("a")], tls=mutual,
                                      forward_client_cert_details=mode, **details))
        listeners.append(cls.listener_by_name(downstream_tls(proxy_id)))
        cls.policies = cls.make_policies()
        for name, (action, policy) in cls.policies.items():
            listeners.append(listener(f"rbac-{name}", [to("a")], tls=mutual,
                                      filters=[rbac(action, {name: policy})]))
        config = bootstrap(listeners, [
            cluster("a", a.port), cluster("b", b.port), cluster("nobody", free_port()),
            cluster("hollow"),
            cluster("tls", tls_origin.port, tls=upstream_tls(proxy_id, cls.authority,
                                                             [origin_id.spiffe_id])),
            cluster("misnamed", tls_origin.port, tls=upstream_tls(proxy_id, cls.authority,
                                                                  [cls.other.spiffe_id]))])
        cls.glia = cls.enterClassContext(Proxy(cls.directory, config))
        cls.envoy = cls.enterClassContext(Proxy(cls.directory, config, name="envoy",
                                                program=envoy()))

    @classmethod
    def listener_by_name(cls, tls):
        """One port, and a filter chain for each name that TLS asks for."""
        matches = {"one": {"server_names": ["a.e2e"]}, "under": {"server_names": ["*.b.e2e"]},
                   "http/1.1": {"server_names": ["c.e2e"], "application_protocols": ["http/1.1"]},
                   "any": {"transport_protocol": "tls"}, "clear": {"transport_protocol": "raw_buffer"}}
        made = listener("by-name", [])
        made["filter_chains"] = []
        for name, match in matches.items():
            chain = listener("by-name", [says(200, name)],
                             tls=None if name == "clear" else tls)["filter_chains"][0]
            made["filter_chains"].append({**chain, "name": name, "filter_chain_match": match})
        made["listener_filters"] = [{"name": "envoy.filters.listener.tls_inspector", "typed_config": {
            "@type": f"{TYPES}.filters.listener.tls_inspector.v3.TlsInspector"}}]
        return made

    @classmethod
    def make_policies(cls):
        front, other = (caller(one.spiffe_id)[0] for one in (cls.front, cls.other))
        path = {"url_path": {"path": {"prefix": "/p"}}}
        get = {"header": {"name": ":method", "string_match": {"exact": "GET"}}}
        own = {"address_prefix": "127.0.0.0", "prefix_len": 8}
        elsewhere = {"address_prefix": "10.0.0.0", "prefix_len": 8}
        by_prefix = {"authenticated": {"principal_name": {"prefix": "spiffe://e2e.mesh/ns/default/"}}}
        return {
            "caller": ("ALLOW", (ANYTHING, [front])), "not-caller": ("DENY", (ANYTHING, [front])),
            "authenticated": ("ALLOW", (ANYTHING, [{"authenticated": {}}])),
            "by-prefix": ("ALLOW", (ANYTHING, [by_prefix])),
            "path": ("ALLOW", ([path], ANYTHING)), "method": ("DENY", ([get], ANYTHING)),
            "both": ("ALLOW", ([{"and_rules": {"rules": [path, get]}}], [front])),
            "either": ("ALLOW", ([{"or_rules": {"rules": [path, get]}}],
                                 [{"or_ids": {"ids": [front, other]}}])),
            "neither": ("ALLOW", ([{"not_rule": path}], [{"not_id": front}])),
            "header": ("ALLOW", (ANYTHING, [{"header": {"name": "x-key", "present_match": True}}])),
            "own-address": ("ALLOW", (ANYTHING, [{"direct_remote_ip": own}])),
            "elsewhere": ("ALLOW", (ANYTHING, [{"direct_remote_ip": elsewhere}])),
            "here": ("ALLOW", ([{"destination_ip": own}], ANYTHING)),
            "server-name": ("ALLOW", ([{"requested_server_name": {"exact": "mesh"}}], ANYTHING)),
            "port": ("DENY", ([{"destination_port": 9}], ANYTHING)),
        }

    def seen(self, proxy, answer):
        """What is compared of an answer."""
        fields = {name: value for name, value in answer.headers.items()
                  if name not in RESPONSE_FIELDS and not name.startswith("x-glia-")}
        if answer.headers.get("content-type") == "application/json":
            fields.pop("content-length")  # It tells which fields came, and those differ.
        if "location" in fields:
            fields["location"] = fields["location"].replace(str(proxy.ports["in"]), "PORT")
        if answer.body and answer.headers.get("content-type") == "application/json":
            told = answer.json
            told["headers"] = {
                name: re.sub(r":(%s)\b" % "|".join(map(str, proxy.ports.values())), ":PORT", value)
                for name, value in told["headers"].items() if name not in REQUEST_FIELDS}
            if "host" in told["headers"]:  # Ours is the same for all spellings of it.
                told["headers"]["host"] = told["headers"]["host"].lower()
            if told["headers"].get("content-length") == "0":
                told["headers"].pop("content-length")  # Envoy adds it where there is no body.
            return answer.status, fields, told
        if answer.status in (200, 418) or answer.text == "gone":
            return answer.status, fields, answer.text
        return answer.status, {name: value for name, value in fields.items()
                               if name not in OWN_FIELDS}, None

    def test_grpc_callers_reach_the_same_origin(self):
        # It does not speak gRPC: ours tells the caller so with a status of gRPC, Envoy passes it on.
        for kind in ("application/grpc", "application/grpc+x"):
            with self.subTest(kind):
                ours, its = (proxy.fetch("/grpc", headers={"content-type": kind})
                             for proxy in (self.glia, self.envoy))
                self.assertEqual((ours.status, ours.headers["x-origin"]),
                                 (its.status, its.headers["x-origin"]))
                self.assertEqual(ours.headers["grpc-status"], "2")

    def compare(self, ask, **what):
        with self.subTest(**what):
            found, wanted = (self.seen(proxy, ask(proxy)) for proxy in (self.glia, self.envoy))
            self.assertEqual(found, wanted)

    def test_an_escaped_letter_is_the_letter_with_us(self):
        """Envoy without normalize_path routes and forwards the escape."""
        found = self.seen(self.glia, self.glia.fetch("/ex%61ct"))
        self.assertEqual(found, self.seen(self.envoy, self.envoy.fetch("/exact")))

    def test_routes_and_changes_of_headers(self):
        for path in PATHS:
            self.compare(lambda proxy: proxy.fetch(path), path=path)
        for path, headers in WITH_HEADERS:
            self.compare(lambda proxy: proxy.fetch(path, headers=headers), path=path, **headers)
        for method in ("HEAD", "POST", "OPTIONS", "DELETE"):
            self.compare(lambda proxy: proxy.fetch("/exact", method=method), method=method)

    def test_what_is_told_about_the_way(self):
        told = [proxy.fetch("/", "out", headers={
            "x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https"}).json["headers"]
            for proxy in (self.glia, self.envoy)]
        self.assertEqual(*(headers["x-forwarded-proto"] for headers in told))
        self.assertEqual(told[0]["x-forwarded-for"], "192.0.2.1,127.0.0.1")
        self.assertTrue(told[1]["x-forwarded-for"].startswith("192.0.2.1,"))

    def test_an_upgrade_that_is_not_configured(self):
        asked = {"upgrade": "websocket", "connection": "upgrade"}
        answers = [proxy.fetch("/", headers=asked) for proxy in (self.envoy, self.glia)]
        self.assertEqual([answer.status for answer in answers], [403, 200])
        self.assertNotIn("upgrade", answers[1].json["headers"])

    def test_the_same_over_http2(self):
        for path in PATHS:
            self.compare(lambda proxy: curl("--http2-prior-knowledge", "--path-as-is",
                                            proxy.url(path)), path=path)

    def test_what_is_told_about_the_caller(self):
        claimed = {"x-forwarded-client-cert": 'By=spiffe://a;Hash=00;Subject="CN=\\"b\\""'}
        for name in self.glia.ports:
            if name.startswith("xfcc-"):
                for headers in ({}, claimed):
                    self.compare(lambda proxy: self.as_caller(proxy, name, self.front,
                                                              headers=headers),
                                 listener=name, **headers)

    def test_verdicts_of_rbac(self):
        for name in self.policies:
            for identity in (self.front, self.other):
                for method in ("GET", "POST"):
                    for path, headers in (("/p", {}), ("/q?/p", {"x-key": "1"})):
                        self.compare(
                            lambda proxy: self.as_caller(proxy, f"rbac-{name}", identity, path,
                                                         method=method, headers=headers),
                            policy=name, caller=identity.spiffe_id, method=method, path=path)

    def as_caller(self, proxy, listener, identity, path="/", **options):
        return proxy.fetch(path, listener, tls=client_context(self.authority, identity), **options)

    def test_the_filter_chain_is_chosen_by_name_and_protocol(self):
        def ask(proxy, name, protocol):
            port = proxy.ports["by-name"]
            return curl("--insecure", protocol, "--resolve", f"{name}:{port}:127.0.0.1",
                        f"https://{name}:{port}/")
        for name in ("a.e2e", "A.e2e", "x.b.e2e", "y.x.b.e2e", "b.e2e", "c.e2e", "other"):
            for protocol in ("--http1.1", "--http2"):
                self.compare(lambda proxy: ask(proxy, name, protocol), name=name, protocol=protocol)
        self.compare(lambda proxy: proxy.fetch("/", "by-name"), name="in clear text")

    def test_broken_requests(self):
        for what, text in RAW.items():
            with self.subTest(what):
                statuses = tuple(raw_status(proxy.ports["in"], text)
                                 for proxy in (self.envoy, self.glia))
                if what in RAW_DIFFERENCES:
                    self.assertEqual(statuses, RAW_DIFFERENCES[what][0])
                else:
                    self.assertEqual(statuses[0], statuses[1])


def raw_status(port, text):
    """The status of the answer to these bytes; None if the connection is closed without one."""
    with socket.create_connection(("127.0.0.1", port), WITHIN_S) as caller:
        caller.sendall(text.encode("latin-1"))
        seen = b""
        while b"\r\n" not in seen:
            try:
                piece = caller.recv(65536)
            except ConnectionError:
                break
            if not piece:
                break
            seen += piece
        match = re.match(rb"HTTP/1\.\d (\d+)", seen)
        return int(match[1]) if match else None


if __name__ == "__main__":
    unittest.main()
