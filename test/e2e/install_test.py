"""`glia install` and deploy/: manifests that parse, say the same names as each other, as glia-control's flags
and as what `glia inject` writes into pods; and a control plane that has its authority from files."""

import base64
import pathlib
import re
import shutil
import tempfile
import unittest

import yaml

import harness
import meshes
from harness import ROOT, run

DEPLOY = ROOT / "deploy"
VERSION = re.search(r'kGliaVersion = "([^"]+)"', (ROOT / "proxy/base/version.h").read_text())[1]
CLUSTER_WIDE = ("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition")
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app"},
       "spec": {"containers": [{"name": "app", "image": "app"}]}}


def documents_of(text):
    """Without those that are comments only."""
    return [one for one in yaml.safe_load_all(text) if one]


def by_kind(documents, kind):
    return [one for one in documents if one["kind"] == kind]


def flags_of(command):
    return dict(word.partition("=")[::2] for word in command if word.startswith("--"))


class Install(harness.Scene):
    def install(self, *flags, ca="ca"):
        ran = run(harness.GLIA, "install", "--ca-dir", self.directory / ca, *flags)
        return documents_of(ran.stdout)

    def one(self, documents, kind):
        found = by_kind(documents, kind)
        self.assertEqual(len(found), 1, kind)
        return found[0]

    def test_all_that_is_needed_is_there_in_an_order_that_works(self):
        documents = self.install()
        kinds = [one["kind"] for one in documents]
        for kind in ("Namespace", "ServiceAccount", "Secret", "Service", "Deployment", "NetworkPolicy",
                     "PodDisruptionBudget", "MutatingWebhookConfiguration", "Mesh"):
            self.assertEqual(kinds.count(kind), 1, kind)
        self.assertEqual(kinds[0], "Namespace")
        for earlier, later in (("ServiceAccount", "Deployment"), ("Secret", "Deployment"),
                               ("Deployment", "MutatingWebhookConfiguration")):
            self.assertLess(kinds.index(earlier), kinds.index(later))
        for one in documents:
            self.assertTrue(one["apiVersion"] and one["metadata"]["name"])

    def test_names_and_ports_agree(self):
        documents = self.install()
        deployment, service = self.one(documents, "Deployment"), self.one(documents, "Service")
        pod = deployment["spec"]["template"]
        container = pod["spec"]["containers"][0]
        flags = flags_of(container["command"])
        labels = pod["metadata"]["labels"]
        for selector in (deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"],
                         self.one(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
                         self.one(documents, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]):
            self.assertEqual(selector.items() - labels.items(), set())
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        self.assertEqual(ports, {"sidecars": int(flags["--listen"].rpartition(":")[2]),
                                 "webhook": int(flags["--inject-listen"].rpartition(":")[2])})
        published = {port["port"]: port["targetPort"] for port in service["spec"]["ports"]}
        name = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
        self.assertEqual(flags["--inject-service"], name)
        host, _, port = flags["--advertise"].rpartition(":")
        self.assertEqual((host, published[int(port)]), (name, "sidecars"))
        for hook in self.one(documents, "MutatingWebhookConfiguration")["webhooks"]:
            asked = hook["clientConfig"]["service"]
            self.assertEqual(f"{asked['name']}.{asked['namespace']}.svc", name)
            self.assertEqual(published[asked["port"]], "webhook")
            self.assertEqual(hook["failurePolicy"], "Fail")
            never = [e["values"] for e in hook["namespaceSelector"]["matchExpressions"]
                     if e["operator"] == "NotIn"][0]
            self.assertIn(service["metadata"]["namespace"], never)
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        self.assertEqual(mounts["ca"], flags["--ca-dir"])
        self.assertTrue(flags["--state-dir"].startswith(mounts["state"] + "/"))
        self.assertEqual(volumes["ca"]["secret"]["secretName"],
                         self.one(documents, "Secret")["metadata"]["name"])
        for account in by_kind(documents, "ServiceAccount"):
            self.assertEqual((pod["spec"]["serviceAccountName"], deployment["metadata"]["namespace"]),
                             (account["metadata"]["name"], account["metadata"]["namespace"]))
        for binding in by_kind(documents, "ClusterRoleBinding") + by_kind(documents, "RoleBinding"):
            self.assertIn((pod["spec"]["serviceAccountName"], service["metadata"]["namespace"]),
                          [(subject["name"], subject.get("namespace")) for subject in binding["subjects"]])

    def test_every_flag_is_one_that_glia_control_has(self):
        known = set(re.findall(r"--[a-z-]+", run(harness.GLIA_CONTROL, "--help").stdout))
        command = self.one(self.install(), "Deployment")["spec"]["template"]["spec"]["containers"][0][
            "command"]
        self.assertEqual(command[0], "glia-control")
        self.assertEqual(sorted(set(flags_of(command)) - known), [])

    def test_nothing_runs_with_rights_that_it_does_not_need(self):
        pod = self.one(self.install(), "Deployment")["spec"]["template"]["spec"]
        context = pod["containers"][0]["securityContext"]
        self.assertTrue(pod["securityContext"]["runAsNonRoot"])
        self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertEqual((context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"],
                          context["capabilities"]), (False, True, {"drop": ["ALL"]}))

    def test_what_is_injected_finds_the_control_plane(self):
        service = self.one(self.install(), "Service")
        pod = yaml.safe_load(run(harness.GLIA, "inject", "-f", "-", input=yaml.safe_dump(POD)).stdout)
        proxy = next(one for one in pod["spec"]["initContainers"] if one["name"] == "glia-proxy")
        control = proxy["command"][proxy["command"].index("--control") + 1]
        name = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
        self.assertIn(control, {f"{name}:{port['port']}" for port in service["spec"]["ports"]})
        image = self.one(self.install(), "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"]
        self.assertEqual((proxy["image"], image), (f"glia:{VERSION}",) * 2)
        token = next(volume for volume in pod["spec"]["volumes"] if volume["name"] == "glia-token")
        source = token["projected"]["sources"][0]["serviceAccountToken"]
        mount = next(m for m in proxy["volumeMounts"] if m["name"] == "glia-token")["mountPath"]
        self.assertEqual(proxy["command"][proxy["command"].index("--token-file") + 1],
                         f"{mount}/{source['path']}")
        self.assertEqual(source["audience"], "glia")

    def test_options_are_taken_everywhere(self):
        documents = self.install("--namespace", "mesh-a", "--image", "registry.example/glia:7",
                                 "--mesh-name", "first",
                                 "--replicas", "1")
        text = yaml.safe_dump_all(one for one in documents if one["kind"] != "CustomResourceDefinition")
        self.assertNotIn("glia-system", text)
        self.assertNotIn(f"glia:{VERSION}", text)
        self.assertEqual({one["metadata"].get("namespace", "mesh-a") for one in documents
                          if one["kind"] not in CLUSTER_WIDE}, {"mesh-a"})
        deployment = self.one(documents, "Deployment")
        self.assertEqual(deployment["spec"]["replicas"], 1)
        command = deployment["spec"]["template"]["spec"]["containers"][0]["command"]
        self.assertIn("--inject-image=registry.example/glia:7", command)
        self.assertIn("--advertise=glia-control.mesh-a.svc:15012", command)
        self.assertEqual(self.one(documents, "Mesh")["metadata"]["name"], "first")
        # One that must stay would keep its node from being drained.
        self.assertNotIn("minAvailable", self.one(documents, "PodDisruptionBudget")["spec"])

    def test_what_was_put_in_is_not_replaced_again(self):
        for namespace, mesh in (("mesh", "prod"), ("prod", "glia-system")):
            with self.subTest(namespace=namespace, mesh=mesh):
                documents = self.install("--namespace", namespace, "--mesh-name", mesh)
                self.assertEqual(self.one(documents, "Namespace")["metadata"]["name"], namespace)
                self.assertEqual(self.one(documents, "Mesh")["metadata"]["name"], mesh)

    def test_wrong_options_are_refused_with_a_sentence(self):
        for flags, said in ((("--namespace", "No Such"), "--namespace No Such: not a name"),
                            (("--image", "a b"), "--image a b: not the name of an image"),
                            (("--trust-domain", "a/b"), "--trust-domain a/b: not a SPIFFE")):
            ran = run(harness.GLIA, "install", "--ca-dir", self.directory / "no", *flags, status=1)
            self.assertIn(said, ran.stderr)
            self.assertEqual(ran.stdout, "")

    def test_a_second_time_is_the_same_and_another_trust_domain_is_refused(self):
        self.assertEqual(self.install(), self.install())
        ran = run(harness.GLIA, "install", "--ca-dir", self.directory / "ca", "--trust-domain", "other.mesh",
                  status=1)
        self.assertIn("holds the authority of trust domain mesh.local", ran.stderr)

    def test_the_secret_is_what_glia_control_takes_and_the_webhook_trusts(self):
        documents = self.install("--trust-domain", meshes.TRUST_DOMAIN, ca="e2e-ca")
        data = self.one(documents, "Secret")["data"]
        mounted = self.directory / "mounted"
        mounted.mkdir()
        for name, value in data.items():
            (mounted / name).write_bytes(base64.b64decode(value))
        bundles = {hook["clientConfig"]["caBundle"] for hook in self.one(
            documents, "MutatingWebhookConfiguration")["webhooks"]}
        self.assertEqual(bundles, {data["ca.pem"]})
        address = f"{meshes.free_network()}.1"
        file = meshes.MeshFile(self.directory, [meshes.mesh(), meshes.workload("pod", address)])
        state = self.directory / "replica" / "control"
        with harness.Program("control", [
                harness.GLIA_CONTROL, "--mesh", file.path, "--state-dir", state, "--ca-dir", mounted,
                "--listen", "127.0.0.1:0"], self.directory) as control:
            harness.eventually(lambda: control.check_alive() or "serving" in control.text(), "it serves")
            token = run(harness.GLIA, "token", "pod", "--state-dir", state.parent).stdout
        bundle = yaml.safe_load(token)["trustBundle"]
        self.assertEqual(bundle.strip(), base64.b64decode(data["ca.pem"]).decode().strip())


class Kustomize(unittest.TestCase):
    def test_the_base_has_every_manifest_that_is_there(self):
        listed = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())["resources"]
        self.assertEqual(set(listed) | {"kustomization.yaml"}, {path.name for path in DEPLOY.glob("*.yaml")})

    def test_kubectl_makes_of_it_what_install_prints(self):
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            self.skipTest("kubectl is not on this machine")
        made = documents_of(run(kubectl, "kustomize", DEPLOY).stdout)
        with tempfile.TemporaryDirectory() as scratch:
            printed = documents_of(run(
                harness.GLIA, "install", "--ca-dir", pathlib.Path(scratch, "ca")).stdout)
        for hook in (hook for one in by_kind(printed, "MutatingWebhookConfiguration")
                     for hook in one["webhooks"]):
            del hook["clientConfig"]["caBundle"]

        def key(one):
            return one["kind"], one["metadata"]["name"]
        self.assertEqual({key(one): one for one in made},
                         {key(one): one for one in printed if one["kind"] != "Secret"})


class Image(harness.Scene):
    """The root that closure.sh makes, with the programs of this tree in the place of installed ones."""

    @unittest.skipIf(harness.SANITIZED, "its leak check wants /proc, which an empty root does not have")
    def test_it_runs_alone(self):
        script = (DEPLOY / "closure.sh").read_text()
        for name, path in {"glia": harness.GLIA, "glia-proxy": harness.GLIA_PROXY,
                           "glia-control": harness.GLIA_CONTROL,
                           "glia-translate": harness.BIN / "control_plane/standalone/glia-translate"}.items():
            self.assertIn(f"/usr/bin/{name}", script)
            script = re.sub(rf"/usr/bin/{name}(?![\w-])", str(path), script)
        script = script.replace("/usr/sbin/nft", harness.peer("nft"))
        script = script.replace("cp -r /usr/share/doc/glia", "true")
        root = self.directory / "image"
        run("sh", "-c", script, "closure", root)
        for words in ((harness.GLIA, "version"), (harness.GLIA_PROXY, "--version"),
                      (harness.GLIA_CONTROL, "--version"), (harness.peer("nft"), "--version"),
                      (harness.GLIA, "capture", "print")):
            run("chroot", "--userspec=1337:1337", root, *words)
        names = {path.name for path in root.rglob("*") if path.is_file()}
        self.assertEqual(names & {"sh", "bash", "dash", "busybox", "dpkg", "apt-get"}, set())
        self.assertEqual((root / "etc/passwd").read_text().count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
