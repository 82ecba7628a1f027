"""Pieces of Envoy v3 bootstrap files, as the dictionaries that YAML makes of them."""

TYPES = "type.googleapis.com/envoy.extensions"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
MANAGER = f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"


def socket_address(address):
    """("127.0.0.1", 80), ("/path/of.sock", None) or a port of this machine, as Envoy writes it."""
    host, port = address if isinstance(address, tuple) else ("127.0.0.1", address)
    if host.startswith("/"):
        return {"pipe": {"path": host}}
    return {"socket_address": {"address": host, "port_value": port}}


def bootstrap(listeners, clusters, node="e2e-node", **more):
    return {"node": {"id": node, "cluster": "e2e"},
            "admin": {"address": socket_address(0)},
            "static_resources": {"listeners": listeners, "clusters": clusters}, **more}


def listener(name, routes, tls=None, filters=(), log=None, address=0, **manager):
    """One that lets HTTP in. `routes` is a list of routes, or virtual hosts."""
    hosts = routes if routes and "domains" in routes[0] else [
        {"name": "all", "domains": ["*"], "routes": routes}]
    config = {"@type": MANAGER, "stat_prefix": name,
              "route_config": {"name": f"{name}-routes", "virtual_hosts": hosts},
              "http_filters": [*filters, {"name": "envoy.filters.http.router", "typed_config": {
                  "@type": f"{TYPES}.filters.http.router.v3.Router"}}], **manager}
    if log:
        config["access_log"] = [{"name": "envoy.access_loggers.file", "typed_config": {
            "@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog", "path": str(log)}}]
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager",
                          "typed_config": config}]}
    if tls:
        chain["transport_socket"] = tls
    return {"name": name, "address": socket_address(address), "filter_chains": [chain]}


def to(cluster, match="/", name=None, **more):
    """A route to a cluster; `match` is a prefix or a whole match. `more` goes beside the cluster."""
    found = {"match": {"prefix": match} if isinstance(match, str) else match,
             "route": {"cluster": cluster, **more}}
    return {"name": name, **found} if name else found


def says(status, text, match="/"):
    """A route that the proxy answers itself."""
    return {"match": {"prefix": match} if isinstance(match, str) else match,
            "direct_response": {"status": status, "body": {"inline_string": text}}}


# A cluster may be given its HTTP/2 options as `http2`.
def cluster(name, *addresses, kind="STATIC", http2=False, tls=None, **more):
    found = {"name": name, "type": kind, "connect_timeout": "5s", "load_assignment": {
        "cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": socket_address(address)}} for address in addresses]}]}, **more}
    if kind == "STRICT_DNS":
        found["dns_lookup_family"] = "V4_ONLY"
    if http2:
        found["typed_extension_protocol_options"] = {HTTP_OPTIONS: {
            "@type": f"type.googleapis.com/{HTTP_OPTIONS}",
            "explicit_http_config": {
                "http2_protocol_options": http2 if isinstance(http2, dict) else {}}}}
    if tls:
        found["transport_socket"] = tls
    return found


def _common(identity, authority, sans, alpn):
    common = {"alpn_protocols": list(alpn)} if alpn else {}
    if identity:
        common["tls_certificates"] = [{"certificate_chain": {"filename": str(identity.certificate)},
                                       "private_key": {"filename": str(identity.key)}}]
    if authority:
        common["validation_context"] = {"trusted_ca": {"filename": str(authority.certificate)}}
        if sans:
            common["validation_context"]["match_typed_subject_alt_names"] = [
                {"san_type": "URI", "matcher": {"exact": san}} for san in sans]
    return common


def downstream_tls(identity, authority=None, sans=(), alpn=("h2", "http/1.1"), require=True):
    """TLS towards callers; with an authority their certificates are asked for."""
    config = {"@type": f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
              "common_tls_context": _common(identity, authority, sans, alpn)}
    if authority:
        config["require_client_certificate"] = require
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def upstream_tls(identity, authority, sans=(), alpn=(), sni=None):
    config = {"@type": f"{TYPES}.transport_sockets.tls.v3.UpstreamTlsContext",
              "common_tls_context": _common(identity, authority, sans, alpn)}
    if sni:
        config["sni"] = sni
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}


def rbac(action, policies, shadow=None):
    """The RBAC filter; policies: name -> (permissions, principals)."""
    def rules(action, policies):
        return {"action": action, "policies": {
            name: {"permissions": permissions, "principals": principals}
            for name, (permissions, principals) in policies.items()}}
    config = {"@type": f"{TYPES}.filters.http.rbac.v3.RBAC"}
    if policies is not None:
        config["rules"] = rules(action, policies)
    if shadow:
        config["shadow_rules"] = rules(*shadow)
    return {"name": "envoy.filters.http.rbac", "typed_config": config}


ANYTHING = [{"any": True}]


def caller(identity):
    return [{"authenticated": {"principal_name": {"exact": identity}}}]
