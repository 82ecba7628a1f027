"""What each proxy that is compared is told: the same work, in its own words.

Listeners are the unit. Every proxy can be given any list of them, as far as it can do the work at all.
Upstream is clear text: HTTP/1.1 behind the HTTP/1.1 listeners, HTTP/2 behind the others (nginx: always
HTTP/1.1). All are given the same HTTP/2 windows. Envoy and glia-proxy run the same file.
"""

import collections

STREAM_WINDOW = 1024 * 1024  # bytes; fleet and origin use the same (errand.h)
CONNECTION_WINDOW = 4 * STREAM_WINDOW
MOST_CONNECTIONS = 12_000  # above the 10,000 idle ones

# codec: http1, http2 or tcp. transport: clear, tls (the proxy shows a certificate) or mutual (the
# client must as well). chain: the sidecar's filters and an access log.
Listener = collections.namedtuple("Listener", "codec transport chain")
LISTENERS = {
    "http1-clear": Listener("http1", "clear", False),
    "http2-clear": Listener("http2", "clear", False),
    "http1-tls": Listener("http1", "tls", False),
    "http2-tls": Listener("http2", "tls", False),
    "http1-mutual": Listener("http1", "mutual", False),
    "http2-mutual": Listener("http2", "mutual", False),
    "http1-sidecar": Listener("http1", "mutual", True),
    "http2-sidecar": Listener("http2", "mutual", True),
    "tcp": Listener("tcp", "clear", False),
}


def alpn(listener):
    return "h2" if listener.codec == "http2" else "http/1.1"


# --- Envoy and glia-proxy -----------------------------------------------------------------------

WINDOWS = (f"{{initial_stream_window_size: {STREAM_WINDOW}, "
           f"initial_connection_window_size: {CONNECTION_WINDOW}}}")

ENVOY_HTTP = """\
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          codec_type: {codec}
          http2_protocol_options: {windows}
          route_config:
            name: {name}
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: {cluster}, timeout: 0s}}
{chain_options}          http_filters:
{chain_filters}          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
"""
ENVOY_CHAIN_OPTIONS = """\
          forward_client_cert_details: SANITIZE_SET
          set_current_client_cert_details: {{uri: true}}
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {work}/access.log
              log_format:
                json_format:
                  start_time: "%START_TIME%"
                  method: "%REQ(:METHOD)%"
                  path: "%REQ(:PATH)%"
                  protocol: "%PROTOCOL%"
                  response_code: "%RESPONSE_CODE%"
                  response_flags: "%RESPONSE_FLAGS%"
                  bytes_received: "%BYTES_RECEIVED%"
                  bytes_sent: "%BYTES_SENT%"
                  duration: "%DURATION%"
                  request_id: "%REQ(X-REQUEST-ID)%"
                  authority: "%REQ(:AUTHORITY)%"
                  upstream_host: "%UPSTREAM_HOST%"
                  downstream_peer: "%DOWNSTREAM_PEER_URI_SAN%"
"""
ENVOY_CHAIN_FILTERS = """\
          - name: envoy.filters.http.rbac
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                action: ALLOW
                policies:
                  somebody-else-may-ask:
                    permissions: [{header: {name: ":method", string_match: {exact: DELETE}}}]
                    principals: [{authenticated: {principal_name: {exact: "spiffe://bench.example/admin"}}}]
                  client-may-ask:
                    permissions:
                    - and_rules:
                        rules:
                        - header: {name: ":method", string_match: {exact: GET}}
                        - url_path: {path: {prefix: /answer/}}
                    principals: [{authenticated: {principal_name: {exact: "spiffe://bench.example/client"}}}]
"""
ENVOY_TCP = """\
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: {name}
          cluster: {cluster}
"""
ENVOY_LISTENER = """
  - name: {name}
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
{filter}"""
ENVOY_TLS = """\
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: {require}
          common_tls_context:
            alpn_protocols: [{alpn}]
            tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}
            tls_certificates:
            - certificate_chain: {{filename: "{work}/certificate.pem"}}
              private_key: {{filename: "{work}/key.pem"}}
"""
ENVOY_PEER = """\
            validation_context: {{trusted_ca: {{filename: "{work}/ca.pem"}}}}
"""
ENVOY_CLUSTER = """
  - name: {name}
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: {host}, port_value: {port}}}}}}}
"""
ENVOY_HTTP2 = f"""\
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {WINDOWS}}}
"""


def envoy_listener(name, port, work):
    listener = LISTENERS[name]
    if listener.codec == "tcp":
        inner = ENVOY_TCP.format(name=name, cluster="origin-http1")
    else:
        inner = ENVOY_HTTP.format(
            name=name, codec=listener.codec.upper(), cluster=f"origin-{listener.codec}",
            windows=WINDOWS,
            chain_options=ENVOY_CHAIN_OPTIONS.format(work=work) if listener.chain else "",
            chain_filters=ENVOY_CHAIN_FILTERS if listener.chain else "")
    text = ENVOY_LISTENER.format(name=name, port=port, filter=inner)
    if listener.transport != "clear":
        mutual = listener.transport == "mutual"
        text += ENVOY_TLS.format(alpn=alpn(listener), work=work, require=str(mutual).lower())
        text += ENVOY_PEER.format(work=work) if mutual else ""
    return text


def envoy(ports, origin, work):
    listeners = "".join(envoy_listener(name, port, work) for name, port in ports.items())
    clusters = ""
    for codec in ("http1", "http2"):
        host, port = origin[codec].rsplit(":", 1)
        clusters += ENVOY_CLUSTER.format(name=f"origin-{codec}", host=host, port=port)
        clusters += ENVOY_HTTP2 if codec == "http2" else ""
    return ("node: {id: bench, cluster: bench}\n"
            f"static_resources:\n  listeners:{listeners}  clusters:{clusters}")


# --- HAProxy ------------------------------------------------------------------------------------

HAPROXY = f"""
global
  nbthread 1
  maxconn {MOST_CONNECTIONS}
  no strict-limits
  ssl-default-bind-options ssl-min-ver TLSv1.3
  tune.h2.initial-window-size {STREAM_WINDOW}
defaults
  mode http
  timeout client 1h
  timeout server 1h
  timeout connect 5s
  http-reuse always
backend origin-http1
  server origin {{http1}}
backend origin-http2
  server origin {{http2}} proto h2
backend origin-tcp
  mode tcp
  server origin {{http1}}
"""
HAPROXY_FRONTEND = """
frontend {name}
  mode {mode}
  bind 127.0.0.1:{port} {how}
  default_backend origin-{codec}
"""


def haproxy(ports, origin, work):
    config = HAPROXY.format(**origin)
    for name, port in ports.items():
        listener = LISTENERS[name]
        how = "proto h2" if name == "http2-clear" else ""
        if listener.transport != "clear":
            how = f"ssl crt {work}/both.pem alpn {alpn(listener)}"
        if listener.transport == "mutual":
            how += f" ca-file {work}/ca.pem verify required"
        mode = "tcp" if listener.codec == "tcp" else "http"
        config += HAPROXY_FRONTEND.format(name=name, port=port, how=how, mode=mode,
                                          codec=listener.codec)
    return config


# --- nginx --------------------------------------------------------------------------------------

NGINX = f"""
worker_processes 1;
worker_rlimit_nofile {2 * MOST_CONNECTIONS};
daemon off;
pid {{work}}/nginx.pid;
error_log stderr error;
events {{{{ worker_connections {MOST_CONNECTIONS}; }}}}
http {{{{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_max_body_size 0;
  client_body_temp_path {{work}}/nginx;
  proxy_temp_path {{work}}/nginx;
  fastcgi_temp_path {{work}}/nginx;
  uwsgi_temp_path {{work}}/nginx;
  scgi_temp_path {{work}}/nginx;
  ssl_certificate {{work}}/certificate.pem;
  ssl_certificate_key {{work}}/key.pem;
  ssl_protocols TLSv1.3;
  upstream origin {{{{
    server {{http1}};
    keepalive 512;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}}}
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_request_buffering off;
  proxy_max_temp_file_size 0;
{{servers}}
}}}}
"""


def nginx(ports, origin, work):
    servers = ""
    for name, port in ports.items():
        listener = LISTENERS[name]
        how = " ssl" if listener.transport != "clear" else ""
        how += " http2" if listener.codec == "http2" else ""
        peer = ""
        if listener.transport == "mutual":
            peer = f"ssl_client_certificate {work}/ca.pem; ssl_verify_client on; "
        servers += (f"  server {{ listen 127.0.0.1:{port}{how}; {peer}"
                    "location / { proxy_pass http://origin; } }\n")
    return NGINX.format(work=work, servers=servers, **origin)


# --- nghttpx ------------------------------------------------------------------------------------

def nghttpx(ports, origin, work):
    """Its arguments."""
    host, port = origin["http2"].rsplit(":", 1)
    words = ["--workers=1", "--single-process", "--log-level=ERROR", "--errorlog-file=/dev/stderr",
             f"--backend={host},{port};;proto=h2", "--no-ocsp", "--no-via",
             "--tls-min-proto-version=TLSv1.3", "--tls-max-proto-version=TLSv1.3"]
    for side in ("frontend", "backend"):
        words.append(f"--{side}-http2-window-size={STREAM_WINDOW}")
        words.append(f"--{side}-http2-connection-window-size={CONNECTION_WINDOW}")
    for name, port in ports.items():
        clear = ";no-tls" if LISTENERS[name].transport == "clear" else ""
        words.append(f"--frontend=127.0.0.1,{port}{clear}")
    return [*words, f"{work}/key.pem", f"{work}/certificate.pem"]
