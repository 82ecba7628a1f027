"""What HTTPRoutes can say beyond the conformance tests for meshes: repeated attempts, and CORS; in the
mesh of gateway_api_test.py, with glia-proxy and with a real Envoy at the client's side."""

import unittest

from gateway_api_test import MESH, Clients, prefix, response_header, route, rule
from harness import Scene, eventually, fetch
from meshes import OUTBOUND_PORT


class Extended(Clients):
    def test_a_retry_is_made_as_often_as_the_rule_says(self):
        origin = self.mesh.origins[MESH, "echo-v1"]

        def asked():
            """How often since the last time."""
            times = 0
            while origin.hanging.acquire(blocking=False):
                times += 1
            return times
        self.mesh.apply(route("retry", rule(
            to="echo-v1", filters=[response_header("retry")], timeouts={"backendRequest": "300ms"},
            retry={"codes": [503], "attempts": 2, "backoff": "1ms"})))
        self.expect("/quick", answer={"X-Header-Set": "retry"})
        asked()
        origin.let_go.clear()
        try:
            answer = self.ask("/hang", "echo", {}, (MESH, "echo-v1"))
        finally:
            origin.let_go.set()
        self.assertEqual(answer.status, 504, answer)
        times = []
        eventually(lambda: times.append(asked()) or sum(times) >= 3, "it was sent three times")
        self.assertEqual(sum(times), 3)

    def preflight(self, path, origin, method="GET", **headers):
        return fetch(OUTBOUND_PORT, f"http://echo{path}", "OPTIONS",
                     host=self.mesh.at[MESH, "echo-v1"],
                     headers={"Host": "echo", "Origin": origin,
                              "access-control-request-method": method, **headers})

    def expect_preflight(self, path, origin, fields, **options):
        """The fields access-control-* of the answer, without the spaces of lists."""
        def answered():
            answer = self.preflight(path, origin, **options)
            got = {name.removeprefix("access-control-"): value.replace(" ", "")
                   for name, value in answer.headers.items() if name.startswith("access-control-")}
            last[:] = [answer.status, got]
            return got == fields and answer.status in (200, 204, 403)
        last = []
        try:
            eventually(answered, f"{origin} is answered")
        except AssertionError:
            raise AssertionError(f"{origin} at {path}: {last}, not {fields}") from None

    def test_HTTPRouteCORS(self):
        """Not among the tests for meshes yet; after the one for gateways."""
        def cors(**what):
            return [{"type": "CORS", "cors": what}]
        self.mesh.apply(route(
            "cors",
            rule(prefix("/cors-1"), to="echo-v1", filters=cors(
                allowOrigins=["https://www.foo.com", "https://*.bar.com"],
                allowMethods=["GET", "OPTIONS"], allowHeaders=["x-header-1", "x-header-2"],
                exposeHeaders=["x-header-3"], allowCredentials=True, maxAge=3600)),
            rule(prefix("/cors-2"), to="echo-v1", filters=cors(
                allowOrigins=["*"], allowMethods=["PUT"]))))
        for origin in ("https://www.foo.com", "https://www.bar.com", "https://xpto.www.bar.com"):
            self.expect_preflight("/cors-1", origin, {
                "allow-origin": origin, "allow-methods": "GET,OPTIONS",
                "allow-headers": "x-header-1,x-header-2", "expose-headers": "x-header-3",
                "max-age": "3600", "allow-credentials": "true"})
            self.expect("/cors-1", headers={"Origin": origin}, backend=f"{MESH}/echo-v1",
                        answer={"access-control-allow-origin": origin})
        for origin in ("https://foobar.com", "http://www.foo.com", "https://www.foo.com:444",
                       "https://bar.com", "https://evil.com/.bar.com"):
            refused = self.preflight("/cors-1", origin)
            self.assertNotIn("access-control-allow-origin", refused.headers, origin)
            self.assertIn(refused.status, (200, 204, 403), origin)
            self.expect("/cors-1", headers={"Origin": origin}, backend=f"{MESH}/echo-v1",
                        unanswered=["access-control-allow-origin"])
        for origin in ("https://foobar.com", "https://foobar.com:12345"):
            self.expect_preflight("/cors-2", origin, {
                "allow-origin": origin, "allow-methods": "PUT", "max-age": "5"}, method="PUT")


class WithGlia(Extended, Scene):
    pass


class WithEnvoy(Extended, Scene):
    ENVOY = True


if __name__ == "__main__":
    unittest.main()
