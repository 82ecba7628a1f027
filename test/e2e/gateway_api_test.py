"""The conformance tests of the Gateway API for meshes, by their names: each applies its routes to one
running mesh and looks at what a client meets, once with glia-proxy and once with a real Envoy at the
client's side. Written after the descriptions of sigs.k8s.io/gateway-api/conformance/tests/mesh.

Two differences: clients do not send to the addresses of Services, which nothing captures here, but to
their own sidecar, as to an HTTP proxy; and what they call by the address of a workload is behind a
headless Service.
"""

import contextlib
import json
import unittest
import urllib.parse

from harness import WITHIN_S, Answer, Scene, envoy, eventually, fetch, tally
from meshes import (ADMIN_PORT, OUTBOUND_PORT, PORT, BootstrapSidecar, ControlPlane, MeshFile,
                    Sidecar, free_network, mesh)
from origins import HttpOrigin

GROUP = "gateway.networking.k8s.io/v1"
MESH, CONSUMER = "gateway-conformance-mesh", "gateway-conformance-mesh-consumer"
GRPC_PORT = 7070
METHOD = "/gateway_api_conformance.echo_basic.grpcecho.GrpcEcho/Echo"


def workload(ns, name, address, http_port, grpc_port):
    return {"apiVersion": "glia.dev/v1", "kind": "Workload",
            "metadata": {"name": name, "namespace": ns,
                         "labels": {"app": "echo", "version": name[-2:]}},
            "spec": {"address": address, "outbound": {"port": OUTBOUND_PORT},
                     "admin": {"port": ADMIN_PORT}, "ports": [
                         {"name": "http", "port": PORT, "appPort": http_port},
                         {"name": "grpc", "port": GRPC_PORT, "protocol": "GRPC",
                          "appPort": grpc_port}]}}


def service(name, selector, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": MESH},
            "spec": {"selector": selector, "ports": [
                {"name": "http", "port": 80, "targetPort": "http", "appProtocol": "http"},
                {"name": "http-alt", "port": 8080, "targetPort": "http", "appProtocol": "http"},
                {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc",
                 "appProtocol": "kubernetes.io/h2c"}], **spec}}


def route(name, *rules, service="echo", port=80, kind="HTTPRoute", ns=MESH):
    parent = {"group": "", "kind": "Service", "name": service, "namespace": MESH}
    return {"apiVersion": GROUP, "kind": kind, "metadata": {"name": name, "namespace": ns},
            "spec": {"parentRefs": [{**parent, **({"port": port} if port else {})}],
                     "rules": list(rules)}}


def prefix(path, **more):
    return {"path": {"type": "PathPrefix", "value": path}, **more}


def rule(*matches, to=None, port=8080, filters=(), **more):
    built = dict(more)
    if matches:
        built["matches"] = list(matches)
    if filters:
        built["filters"] = list(filters)
    if to:
        built["backendRefs"] = [{"name": to, "port": port}]
    return built


def redirect(**what):
    return {"type": "RequestRedirect", "requestRedirect": what}


def request_headers(**what):
    return {"type": "RequestHeaderModifier", "requestHeaderModifier": what}


def response_header(value):
    return {"type": "ResponseHeaderModifier", "responseHeaderModifier": {
        "set": [{"name": "X-Header-Set", "value": value}]}}


def named(**values):
    return [{"name": name.replace("_", "-"), "value": value} for name, value in values.items()]


class GrpcEcho(contextlib.AbstractContextManager):
    """A grpcio server whose answer is JSON of who it is and with which metadata it was asked."""

    def __init__(self, name):
        import grpc
        from concurrent import futures

        def tell(_, context):
            metadata = {}
            for key, value in context.invocation_metadata():
                metadata[key] = f"{metadata[key]},{value}" if key in metadata else value
            return json.dumps({"origin": name, "headers": {
                key: value for key, value in metadata.items() if isinstance(value, str)}}).encode()
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=4),
                                   options=[("grpc.so_reuseport", 0)])
        handlers = {METHOD.rpartition("/")[2]: grpc.unary_unary_rpc_method_handler(tell)}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(METHOD.split("/")[1], handlers),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def __exit__(self, *_):
        self._server.stop(grace=0).wait(WITHIN_S)


class Mesh:
    """The workloads of the conformance tests, each with its sidecar."""

    NAMES = ((MESH, "echo-v1"), (MESH, "echo-v2"), (CONSUMER, "echo-v1"))

    def __init__(self, scene):
        network = free_network()
        self.at = {key: f"{network}.{host}" for host, key in enumerate(self.NAMES, 1)}
        self.origins = {key: scene.enterClassContext(HttpOrigin("/".join(key)))
                        for key in self.NAMES}
        self.grpc_origins = {key: scene.enterClassContext(GrpcEcho("/".join(key)))
                             for key in self.NAMES}
        self.file = MeshFile(scene.directory, self.objects())
        self.control = scene.enterClassContext(ControlPlane(scene.directory, self.file))

    def objects(self, *more):
        return [mesh(), *(workload(*key, self.at[key], self.origins[key].port,
                                   self.grpc_origins[key].port) for key in self.NAMES),
                service("echo", {"app": "echo"}),
                service("echo-v1", {"app": "echo", "version": "v1"}),
                service("echo-v2", {"app": "echo", "version": "v2"}),
                service("echo-workloads", {"app": "echo"}, clusterIP="None"), *more]

    def apply(self, *more):
        """Returns when every sidecar has accepted what the new objects make."""
        before, text = self.control.status()["configVersion"], self.file.text()
        self.file.save(self.objects(*more))
        if self.file.text() == text:
            return

        def in_force():
            status = self.control.status()
            return status and status["configVersion"] != before and all(
                kind["sentVersion"] == kind["ackedVersion"] and not kind.get("nackError")
                for proxy in status["proxies"] for kind in proxy["types"])
        try:
            eventually(in_force, "every sidecar accepts the new objects")
        except AssertionError:
            print(json.dumps(self.control.status(), indent=1))
            raise


class Clients:
    """One mesh and its clients, which have glia-proxy or Envoy as their sidecars: both are sent the same
    resources."""

    ENVOY = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls.ENVOY:
            envoy()  # Skips where there is none.
        cls.mesh = Mesh(cls)
        for ns, name in Mesh.NAMES:
            cls.enterClassContext(cls.sidecar(ns, name, cls.mesh.at[ns, name]))

    @classmethod
    def sidecar(cls, ns, name, address):
        if cls.ENVOY:
            return BootstrapSidecar(cls.directory, cls.mesh.control, f"{ns}/{name}", address, envoy())
        return Sidecar(cls.directory, cls.mesh.control, f"{ns}/{name}", address)

    def ask(self, path, host, headers, client):
        """As an application does that has its sidecar as HTTP proxy."""
        return fetch(OUTBOUND_PORT, f"http://{host}{path}", host=self.mesh.at[client],
                     headers={"Host": host, **headers})

    def ask_grpc(self, _, host, headers, client):
        import grpc
        options = [("grpc.default_authority", host)]
        with grpc.insecure_channel(f"{self.mesh.at[client]}:{OUTBOUND_PORT}",
                                   options=options) as channel:
            try:
                told = channel.unary_unary(METHOD)(b"", metadata=list(headers.items()),
                                                   timeout=WITHIN_S)
            except grpc.RpcError as error:
                return Answer(503, [], error.details().encode())
            return Answer(200, [], told)

    def expect(self, path="/", host="echo", headers=None, status=200, backend=None, seen=None,
               unseen=(), answer=None, unanswered=(), location=None, seen_path=None,
               client=(MESH, "echo-v1"), ask=None):
        """That this is so some time after the objects were applied, and then three times again."""
        def differences():
            got = (ask or self.ask)(path, host, headers or {}, client)
            wrong = []
            if got.status != status:
                return [f"status {got.status}, not {status}: {got}"]
            if status == 200:
                told = got.json
                if backend and told["origin"] != backend:
                    wrong.append(f"from {told['origin']}, not {backend}")
                wrong += [f"{name} is {told['headers'].get(name)}, not {value}"
                          for name, value in (seen or {}).items()
                          if told["headers"].get(name.lower()) != value]
                wrong += [f"{name} was seen" for name in unseen if name.lower() in told["headers"]]
                if seen_path and told["path"] != seen_path:
                    wrong.append(f"path {told['path']}, not {seen_path}")
            wrong += [f"answered without {name}: {value}" for name, value in (answer or {}).items()
                      if got.headers.get(name.lower()) != value]
            wrong += [f"answered with {name}" for name in unanswered if name.lower() in got.headers]
            if location is not None:
                parts = urllib.parse.urlsplit(got.headers.get("location", ""))
                found = {"scheme": parts.scheme, "host": parts.hostname, "port": parts.port,
                         "path": parts.path}
                wanted = {"scheme": "http", "host": host, "port": None, "path": path, **location}
                if found != wanted:
                    wrong.append(f"location {found}, not {wanted}")
            return wrong
        with self.subTest(path=path, host=host, headers=headers):
            last = []
            def settled():
                last[:] = differences()
                return not last
            try:
                eventually(settled, f"{path} at {host} with {headers}")
            except AssertionError:
                raise AssertionError(f"{path} at {host} with {headers}: {last}") from None
            for _ in range(3):
                self.assertEqual(differences(), [])

    def expect_shares(self, ask=None, **options):
        self.expect(ask=ask, **options)
        host, client = options.get("host", "echo"), (MESH, "echo-v1")
        counts = tally((ask or self.ask)("/", host, {}, client).json["origin"] for _ in range(500))
        self.assertEqual(set(counts), {f"{MESH}/echo-v1", f"{MESH}/echo-v2"})
        self.assert_share(counts, f"{MESH}/echo-v1", 0.7)


class Conformance(Clients):
    # Mesh

    def test_MeshBasic(self):
        self.mesh.apply()
        self.expect()

    def test_MeshTrafficSplit(self):
        self.mesh.apply(route("mesh-split", *(
            rule({"path": {"type": "Exact", "value": f"/{version}"}}, to=f"echo-{version}", port=80)
            for version in ("v1", "v2")), port=None))
        self.expect("/v1", backend=f"{MESH}/echo-v1")
        self.expect("/v2", backend=f"{MESH}/echo-v2")
        self.expect("/v1/", status=404)

    def test_MeshPorts(self):
        self.mesh.apply(
            route("one-port", rule(to="echo-v1", port=80, filters=[response_header("v1")]),
                  service="echo-v1"),
            route("all-ports", rule(to="echo-v2", port=80, filters=[response_header("v2")]),
                  service="echo-v2", port=None))
        self.expect(host="echo-v1", answer={"X-Header-Set": "v1"}, backend=f"{MESH}/echo-v1")
        self.expect(host="echo-v1:8080", unanswered=["X-Header-Set"], backend=f"{MESH}/echo-v1")
        self.expect(host="echo-v2", answer={"X-Header-Set": "v2"}, backend=f"{MESH}/echo-v2")
        self.expect(host="echo-v2:8080", answer={"X-Header-Set": "v2"}, backend=f"{MESH}/echo-v2")

    FRONTEND = route("frontend", rule(to="echo-v2", port=80, filters=[response_header("set")]),
                     service="echo-v2", port=None)

    def test_MeshFrontend(self):
        self.mesh.apply(self.FRONTEND)
        self.expect(host="echo-v2", answer={"X-Header-Set": "set"}, backend=f"{MESH}/echo-v2")
        self.expect(host=f"{self.mesh.at[MESH, 'echo-v2']}:{PORT}", unanswered=["X-Header-Set"],
                    backend=f"{MESH}/echo-v2")

    def test_MeshFrontendHostname(self):
        """What is asked for decides, whatever the Host field says (RFC 9112 section 3.2.2)."""
        self.mesh.apply(self.FRONTEND)
        self.expect(host="echo-v2", headers={"Host": "echo-v1"}, answer={"X-Header-Set": "set"},
                    backend=f"{MESH}/echo-v2")
        self.expect(host="echo-v1", headers={"Host": "echo-v2"}, unanswered=["X-Header-Set"],
                    backend=f"{MESH}/echo-v1")

    def test_MeshConsumerRoute(self):
        consumer = route("add-header", {
            "filters": [response_header("set")],
            "backendRefs": [{"name": "echo-v1", "namespace": MESH, "port": 80}]},
            service="echo-v1", port=None, ns=CONSUMER)
        self.mesh.apply(consumer)
        host = f"echo-v1.{MESH}"
        self.expect(host=host, answer={"X-Header-Set": "set"}, backend=f"{MESH}/echo-v1",
                    client=(CONSUMER, "echo-v1"))
        self.expect(host=host, unanswered=["X-Header-Set"], backend=f"{MESH}/echo-v1")

    # HTTPRoute

    def test_MeshHTTPRouteSimpleSameNamespace(self):
        self.mesh.apply(route("simple", rule(to="echo-v1")))
        self.expect(backend=f"{MESH}/echo-v1")

    def test_MeshHTTPRouteMatching(self):
        self.mesh.apply(route("matching", *(
            rule(prefix(path), {"headers": named(version=word)}, to=backend)
            for path, word, backend in (("/", "one", "echo-v1"), ("/v2", "two", "echo-v2")))))
        for path, headers, version in (
                ("/", {}, "v1"), ("/example", {}, "v1"), ("/", {"Version": "one"}, "v1"),
                ("/v2", {}, "v2"), ("/v2/example", {}, "v2"), ("/", {"Version": "two"}, "v2"),
                ("/v2/", {}, "v2"), ("/v2example", {}, "v1"), ("/foo/v2/example", {}, "v1")):
            self.expect(path, headers=headers, backend=f"{MESH}/echo-{version}")

    def test_MeshHTTPRouteQueryParamMatching(self):
        def animal(name):
            return {"queryParams": named(animal=name)}
        self.mesh.apply(route(
            "query", rule(animal("whale"), to="echo-v1"), rule(animal("dolphin"), to="echo-v2"),
            rule(prefix("/path1", **animal("whale")), to="echo-v1"),
            rule({"headers": named(version="one"), **animal("whale")}, to="echo-v2"),
            rule(prefix("/path3", **animal("shark")),
                 prefix("/path4", headers=named(version="three"), **animal("kraken")),
                 to="echo-v1"),
            rule(prefix("/path5"), to="echo-v1"), rule(animal("hydra"), to="echo-v2")))
        for path, headers, version in (
                ("/?animal=whale", {}, "v1"), ("/?animal=dolphin", {}, "v2"),
                ("/?animal=whale&otherparam=irrelevant", {}, "v1"),
                ("/?animal=dolphin&color=yellow", {}, "v2"), ("/?color=blue", {}, None),
                ("/?animal=dog", {}, None), ("/?animal=whaledolphin", {}, None), ("/", {}, None),
                ("/path1?animal=whale", {}, "v1"), ("/?animal=whale", {"version": "one"}, "v2"),
                ("/path3?animal=shark", {}, "v1"),
                ("/path4?animal=kraken", {"version": "three"}, "v1"), ("/?animal=shark", {}, None),
                ("/path4?animal=kraken", {}, None), ("/path5?animal=hydra", {}, "v1")):
            self.expect(path, headers=headers, status=200 if version else 404,
                        backend=version and f"{MESH}/echo-{version}")

    def test_MeshHTTPRouteNamedRule(self):
        self.mesh.apply(route("named", rule(prefix("/named"), to="echo-v1", name="named-rule"),
                              rule(prefix("/unnamed"), to="echo-v2")))
        self.expect("/named", backend=f"{MESH}/echo-v1", seen_path="/named")
        self.expect("/unnamed", backend=f"{MESH}/echo-v2", seen_path="/unnamed")

    def test_MeshHTTPRouteWeight(self):
        self.mesh.apply(route("weight", {"backendRefs": [
            {"name": "echo-v1", "port": 8080, "weight": 70},
            {"name": "echo-v2", "port": 8080, "weight": 30}]}))
        self.expect_shares()

    def check_header_modifier(self, at_backend):
        def rule_with(path, **changes):
            built = rule(prefix(path), to="echo-v1")
            holder = built["backendRefs"][0] if at_backend else built
            holder["filters"] = [request_headers(**changes)]
            return built
        self.mesh.apply(route(
            "request-header-modifier",
            rule_with("/set", set=named(X_Header_Set="set-overwrites-values")),
            rule_with("/add", add=named(X_Header_Add="add-appends-values")),
            rule_with("/remove", remove=["X-Header-Remove"]),
            rule_with("/multiple", set=named(X_Header_Set_1="header-set-1",
                                             X_Header_Set_2="header-set-2"),
                      add=named(X_Header_Add_1="header-add-1", X_Header_Add_2="header-add-2",
                                X_Header_Add_3="header-add-3"),
                      remove=["X-Header-Remove-1", "X-Header-Remove-2"]),
            rule_with("/case-insensitivity", set=named(X_Header_Set="header-set"),
                      add=named(X_Header_Add="header-add"), remove=["X-Header-Remove"])))
        other, backend = {"some-other-header": "val"}, f"{MESH}/echo-v1"
        for sent in ({}, {"X-Header-Set": "some-other-value"}):
            self.expect("/set", headers={**other, **sent}, backend=backend,
                        seen={**other, "x-header-set": "set-overwrites-values"})
        self.expect("/add", headers=other, backend=backend,
                    seen={**other, "x-header-add": "add-appends-values"})
        self.expect("/add", headers={"X-Header-Add": "some-other-value"}, backend=backend,
                    seen={"x-header-add": "some-other-value,add-appends-values"})
        self.expect("/remove", headers={"X-Header-Remove": "val"}, backend=backend,
                    unseen=["x-header-remove"])
        self.expect("/multiple", backend=backend, headers={
            "X-Header-Set-2": "set-val-2", "X-Header-Add-2": "add-val-2",
            "X-Header-Remove-2": "remove-val-2", "Another-Header": "another-header-val"}, seen={
                "x-header-set-1": "header-set-1", "x-header-set-2": "header-set-2",
                "x-header-add-1": "header-add-1", "x-header-add-2": "add-val-2,header-add-2",
                "x-header-add-3": "header-add-3", "another-header": "another-header-val"},
            unseen=["x-header-remove-1", "x-header-remove-2"])
        self.expect("/case-insensitivity", backend=backend, headers={
            "x-header-set": "original-val-set", "x-header-add": "original-val-add",
            "x-header-remove": "original-val-remove"}, seen={
                "x-header-set": "header-set", "x-header-add": "original-val-add,header-add"},
            unseen=["x-header-remove"])

    def test_MeshHTTPRouteRequestHeaderModifier(self):
        self.check_header_modifier(at_backend=False)

    def test_MeshHTTPRouteBackendRequestHeaderModifier(self):
        self.check_header_modifier(at_backend=True)

    def test_MeshHTTPRouteRewritePath(self):
        def rewrite(how, to):
            member = how[0].lower() + how[1:]
            return {"type": "URLRewrite", "urlRewrite": {"path": {"type": how, member: to}}}
        headers = request_headers(set=named(X_Header_Set="set-overwrites-values"),
                                  add=named(X_Header_Add="header-val-1",
                                            X_Header_Add_Append="header-val-2"),
                                  remove=["X-Header-Remove"])
        part, full = "ReplacePrefixMatch", "ReplaceFullPath"
        self.mesh.apply(route("rewrite", *(
            rule(prefix(path), to="echo-v1", port=80, filters=filters) for path, filters in (
                ("/prefix/one", [rewrite(part, "/one")]), ("/strip-prefix", [rewrite(part, "/")]),
                ("/full/one", [rewrite(full, "/one")]),
                ("/full/rewrite-path-and-modify-headers", [rewrite(full, "/test"), headers]),
                ("/prefix/rewrite-path-and-modify-headers", [rewrite(part, "/prefix"), headers])))))
        for path, seen in (("/prefix/one/two", "/one/two"), ("/strip-prefix/three", "/three"),
                           ("/strip-prefix", "/"), ("/full/one/two", "/one"),
                           ("/full/one/two?a=/b", "/one?a=/b")):
            self.expect(path, seen_path=seen, backend=f"{MESH}/echo-v1")
        for path, seen in (("/full/rewrite-path-and-modify-headers/test", "/test"),
                           ("/prefix/rewrite-path-and-modify-headers/one", "/prefix/one")):
            self.expect(path, seen_path=seen, backend=f"{MESH}/echo-v1", headers={
                "X-Header-Remove": "remove-val", "X-Header-Add-Append": "append-val-1",
                "X-Header-Set": "set-val"}, seen={
                    "x-header-add": "header-val-1",
                    "x-header-add-append": "append-val-1,header-val-2",
                    "x-header-set": "set-overwrites-values"}, unseen=["x-header-remove"])

    # HTTPRoute: redirects

    def check_redirects(self, *cases):
        """(path of the rule and the request, requestRedirect, status, parts of the location)"""
        self.mesh.apply(route("redirect", *(rule(prefix(path), filters=[redirect(**what)])
                                            for path, what, _, _ in cases)))
        for path, _, status, location in cases:
            self.expect(path, status=status, location=location)

    def test_MeshHTTPRouteRedirectHostAndStatus(self):
        elsewhere = {"host": "example.org"}
        self.check_redirects(
            ("/hostname-redirect", {"hostname": "example.org"}, 302, elsewhere),
            ("/host-and-status", {"hostname": "example.org", "statusCode": 301}, 301, elsewhere))

    def test_MeshHTTPRoute303Redirect(self):
        self.check_redirects(("/redirect", {"statusCode": 303}, 303, {}))

    def test_MeshHTTPRoute307Redirect(self):
        self.check_redirects(("/temporary", {"statusCode": 307}, 307, {}))

    def test_MeshHTTPRoute308Redirect(self):
        self.check_redirects(("/permanent", {"statusCode": 308}, 308, {}))

    def test_MeshHTTPRouteRedirectPort(self):
        other = {"hostname": "example.org"}
        self.check_redirects(
            ("/port", {"port": 8083}, 302, {"port": 8083}),
            ("/port-and-host", {"port": 8083, **other}, 302, {"port": 8083, "host": "example.org"}),
            ("/port-and-status", {"port": 8083, "statusCode": 301}, 301, {"port": 8083}),
            ("/port-and-host-and-status", {"port": 8083, "statusCode": 302, **other}, 302,
             {"port": 8083, "host": "example.org"}))

    def test_MeshHTTPRouteSchemeRedirect(self):
        other = {"hostname": "example.org", "scheme": "https"}
        self.check_redirects(
            ("/scheme", {"scheme": "https"}, 302, {"scheme": "https"}),
            ("/scheme-and-host", other, 302, {"scheme": "https", "host": "example.org"}),
            ("/scheme-and-status", {"scheme": "https", "statusCode": 301}, 301,
             {"scheme": "https"}),
            ("/scheme-and-host-and-status", {**other, "statusCode": 302}, 302,
             {"scheme": "https", "host": "example.org"}))

    def test_MeshHTTPRouteRedirectPath(self):
        part = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/replacement-prefix"}
        full = {"type": "ReplaceFullPath", "replaceFullPath": "/replacement-full"}
        self.mesh.apply(route("redirect-path", *(
            rule(prefix(path), filters=[redirect(**what)]) for path, what in (
                ("/original-prefix", {"path": part}), ("/full", {"path": full}),
                ("/path-and-host", {"path": part, "hostname": "example.org"}),
                ("/path-and-status", {"path": part, "statusCode": 301}),
                ("/full-path-and-host", {"path": full, "hostname": "example.org"}),
                ("/full-path-and-status", {"path": full, "statusCode": 301}),
                ("/gone", {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}})))))
        for path, status, location in (
                ("/original-prefix/lemon", 302, {"path": "/replacement-prefix/lemon"}),
                ("/full/path/original", 302, {"path": "/replacement-full"}),
                ("/path-and-host", 302, {"host": "example.org", "path": "/replacement-prefix"}),
                ("/path-and-status", 301, {"path": "/replacement-prefix"}),
                ("/full-path-and-host", 302, {"host": "example.org", "path": "/replacement-full"}),
                ("/full-path-and-status", 301, {"path": "/replacement-full"}),
                ("/gone", 302, {"path": "/"}), ("/gone/lemon", 302, {"path": "/lemon"})):
            self.expect(path, status=status, location=location)

    # What the conformance tests have only for gateways, and TrafficPolicy

    def test_a_mirror_gets_copies_and_the_caller_does_not_notice(self):
        mirrored = self.mesh.origins[MESH, "echo-v2"].seen
        mirrored.clear()
        self.mesh.apply(route("mirror", rule(to="echo-v1", filters=[
            {"type": "RequestMirror", "requestMirror": {
                "backendRef": {"name": "echo-v2", "port": 8080}}}])))
        self.expect("/copied", backend=f"{MESH}/echo-v1")
        eventually(lambda: ("GET", "echo-shadow", "/copied") in mirrored, "the mirror got a copy")

    def test_a_rule_without_a_backend_answers_500(self):
        self.mesh.apply(route("nothing", {"matches": [prefix("/nothing")]},
                              {"matches": [prefix("/zero")], "backendRefs": [
                                  {"name": "echo-v1", "port": 8080, "weight": 0}]}))
        self.expect("/nothing", status=500)
        self.expect("/zero", status=500)

    def check_timeout(self, *objects):
        origin = self.mesh.origins[MESH, "echo-v1"]
        origin.let_go.clear()
        try:
            self.mesh.apply(*objects)
            self.expect("/quick", backend=f"{MESH}/echo-v1")
            self.expect("/hang", status=504)
        finally:
            origin.let_go.set()

    def test_a_request_timeout_answers_504(self):
        self.check_timeout(route("timeout", rule(to="echo-v1", timeouts={"request": "300ms"})))

    def test_a_backend_request_timeout_answers_504(self):
        self.check_timeout(route("timeout", rule(to="echo-v1",
                                                 timeouts={"backendRequest": "300ms"})))

    def test_a_traffic_policy_gives_a_timeout_and_is_taken_with_all_its_fields(self):
        self.check_timeout(route("all", rule(to="echo-v1")), {
            "apiVersion": "glia.dev/v1", "kind": "TrafficPolicy",
            "metadata": {"name": "echo", "namespace": MESH},
            "spec": {"targetRef": {"name": "echo"}, "balancing": "RoundRobin",
                     "timeouts": {"request": "300ms", "backendRequest": "200ms", "idle": "1m",
                                  "connect": "1s"},
                     "retry": {"on": ["ConnectFailure", "ResourceExhausted"], "codes": [429]},
                     "limits": {"connections": 10, "connectionsPerEndpoint": 10, "requests": 100,
                                "pendingRequests": 100, "requestsPerConnection": 50},
                     "minimumBodyRate": {"bytesPerSecond": 100, "window": "5s"}}})

    def test_endpoints_of_a_slice_are_called_in_clear_text(self):
        outside = self.mesh.origins[CONSUMER, "echo-v1"]
        self.mesh.apply(
            {"apiVersion": "v1", "kind": "Service",
             "metadata": {"name": "outside", "namespace": MESH}, "spec": {"ports": [{"port": 80}]}},
            {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
             "metadata": {"name": "outside-1", "namespace": MESH,
                          "labels": {"kubernetes.io/service-name": "outside"}},
             "ports": [{"port": outside.port}], "endpoints": [
                 {"addresses": ["127.0.0.1"]},
                 {"addresses": ["127.0.0.2"], "conditions": {"ready": False}},
                 {"addresses": ["127.0.0.3"], "conditions": {
                     "ready": False, "serving": True, "terminating": True}}]})
        self.expect(host="outside", backend=f"{CONSUMER}/echo-v1")

    # GRPCRoute

    def test_MeshGRPCRouteRequestHeaderModifier(self):
        def case(name, to, **changes):
            return rule({"headers": named(x_test_case=name)}, to=to, port=GRPC_PORT,
                        filters=[request_headers(**changes)])
        self.mesh.apply(route(
            "grpc-headers", case("set", "echo-v1", set=named(x_header_set="set-overwrites-values")),
            case("add", "echo-v1", add=named(x_header_add="add-appends-values")),
            case("remove", "echo-v1", remove=["x-header-remove"]),
            case("multi", "echo-v2",
                 set=named(x_header_set_1="header-set-1", x_header_set_2="header-set-2"),
                 add=named(x_header_add_1="header-add-1", x_header_add_2="header-add-2"),
                 remove=["x-header-remove-1", "x-header-remove-2"]),
            kind="GRPCRoute", port=GRPC_PORT))
        for name, version, sent, seen, unseen in (
                ("set", "v1", {"some-other-header": "kept", "x-header-set": "overwritten"},
                 {"some-other-header": "kept", "x-header-set": "set-overwrites-values"}, ()),
                ("add", "v1", {"x-header-add": "appended-to"},
                 {"x-header-add": "appended-to,add-appends-values"}, ()),
                ("remove", "v1", {"x-header-remove": "removed"}, {}, ("x-header-remove",)),
                ("multi", "v2", {"x-header-set-2": "set", "x-header-add-2": "add",
                                 "x-header-remove-2": "removed"},
                 {"x-header-set-1": "header-set-1", "x-header-set-2": "header-set-2",
                  "x-header-add-1": "header-add-1", "x-header-add-2": "add,header-add-2"},
                 ("x-header-remove-1", "x-header-remove-2"))):
            self.expect(host=f"echo:{GRPC_PORT}", headers={"x-test-case": name, **sent},
                        seen={"x-test-case": name, **seen}, unseen=unseen,
                        backend=f"{MESH}/echo-{version}", ask=self.ask_grpc,
                        client=(MESH, f"echo-{version}"))

    def test_MeshGRPCRouteWeight(self):
        self.mesh.apply(route("grpc-weight", {"backendRefs": [
            {"name": "echo-v1", "port": GRPC_PORT, "weight": 70},
            {"name": "echo-v2", "port": GRPC_PORT, "weight": 30},
            {"name": "echo-v3", "port": GRPC_PORT, "weight": 0}]},
            kind="GRPCRoute", port=GRPC_PORT))
        self.expect_shares(host=f"echo:{GRPC_PORT}", ask=self.ask_grpc)


class WithGlia(Conformance, Scene):
    pass


class WithEnvoy(Conformance, Scene):
    ENVOY = True


if __name__ == "__main__":
    unittest.main()
