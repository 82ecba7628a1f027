"""A certificate authority for tests, made with the openssl program: SPIFFE ids, P-256."""

import pathlib
import ssl
import subprocess

import harness


class Identity:
    """A certificate and its key, as files."""

    def __init__(self, directory, name, spiffe_id):
        self.spiffe_id = spiffe_id
        self.certificate = pathlib.Path(directory, f"{name}.pem")
        self.key = pathlib.Path(directory, f"{name}.key")

    def curl(self):
        return ["--cert", self.certificate, "--key", self.key]


def make_request(directory, name):
    """A key and a signing request for any SPIFFE id. Returns their paths."""
    key, request = pathlib.Path(directory, f"{name}.key"), pathlib.Path(directory, f"{name}.csr")
    _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", f"/CN={name}", "-addext", "subjectAltName=URI:spiffe://any/any",
             "-keyout", key, "-out", request)
    return key, request


class Authority(Identity):
    def __init__(self, directory, name="authority", trust_domain="e2e.mesh"):
        super().__init__(directory, name, f"spiffe://{trust_domain}")
        self._directory = directory
        self._trust_domain = trust_domain
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-subj", f"/CN={name}", "-days", "2", "-keyout", self.key, "-out", self.certificate,
                 "-addext", f"subjectAltName=URI:{self.spiffe_id}",
                 "-addext", "basicConstraints=critical,CA:TRUE",
                 "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, name):
        """A certificate for spiffe://<trust domain>/ns/default/sa/<name>, also good for 127.0.0.1."""
        spiffe_id = f"spiffe://{self._trust_domain}/ns/default/sa/{name}"
        made = Identity(self._directory, name, spiffe_id)
        made.key, request = make_request(self._directory, name)
        extensions = pathlib.Path(self._directory, f"{name}.ext")
        extensions.write_text(
            f"subjectAltName=URI:{spiffe_id},DNS:{name}.e2e,IP:127.0.0.1\n"
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=serverAuth,clientAuth\n")
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key,
                 "-CAcreateserial", "-days", "1", "-extfile", extensions, "-out", made.certificate)
        return made


def server_context(identity, authority):
    """TLS for a Python server that wants a certificate of this authority from its callers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(authority, identity=None):
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if identity:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


def _openssl(*arguments):
    ran = subprocess.run([harness.peer("openssl"), *map(str, arguments)], capture_output=True,
                         text=True)
    if ran.returncode != 0:
        raise AssertionError(f"openssl {arguments[0]}: {ran.stderr}")
