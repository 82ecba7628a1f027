"""The demonstration: a mesh around real model servers, and proof of what it does. ./dev demo

Runs `glia run` on a mesh.yaml of this machine's free addresses, asks the model services questions
through their sidecars, edits the file while they answer, and tries to get in where one must not.
Exits with 0 only if all of it was seen. What it wrote stays in .glia/demo to be looked at.
"""

import fcntl
import os
import shutil
import signal
import sys
import time

import canaries
import mesh as mesh_module
import place
import refusals
import traffic as traffic_module
from mesh import DemoError

sys.path.insert(0, str(place.DEMO / "services"))
import classifiers  # noqa: E402  (from services/)

LIMIT_S = float(os.environ.get("GLIA_DEMO_LIMIT_S", 180))  # for all of it
READY_WITHIN_S = LIMIT_S  # Model servers import and train: slow where the machine is busy.
SEEN_WITHIN_S = 20
TRUST = "spiffe://demo.mesh/ns/default/sa/"
SAMPLE = 300  # answers by which a split is measured
TOLERANCE = 4.5  # standard deviations: a right split fails one run in 100,000
RIGHT_AT_LEAST = 0.9  # of held-out sentences
HOPS = {"front": "visitor", "embed": "front", "classify": "front"}  # callee -> caller


class Ledger:
    """What was checked, with figures; printed as it happens and again as a table."""

    def __init__(self):
        self._rows = []

    def heading(self, text):
        print(f"\n{text}", flush=True)

    def say(self, text):
        print(f"    {text}", flush=True)

    def check(self, what, figure, seen):
        self._rows.append((what, figure, seen))
        print(f"  {'ok  ' if seen else 'FAIL'}  {what}: {figure}", flush=True)

    def table(self):
        width = max(len(what) for what, _, _ in self._rows)
        room = max(30, shutil.get_terminal_size().columns - width - len("  FAIL    "))
        for what, figure, seen in self._rows:
            shown = figure.replace(TRUST, "")
            shown = shown if len(shown) <= room else shown[:room - 3] + "..."
            print(f"  {'ok  ' if seen else 'FAIL'}  {what:<{width}}  {shown}")
        return all(seen for _, _, seen in self._rows)


class Demo:
    def __init__(self, here, mesh, deadline, ledger):
        self.here, self.mesh, self.deadline, self.ledger = here, mesh, deadline, ledger
        sentences, labels = classifiers.labelled_sentences("held_out.tsv")
        questions = [(text, classifiers.LABELS[label]) for text, label in zip(sentences, labels)]
        self.questions = len(questions)
        self.visitor = traffic_module.Visitor(here.outbound("visitor"), questions)

    def wait(self, condition, what, within_s=SEEN_WITHIN_S):
        def look():
            self.mesh.check_alive()
            return condition()
        return self.deadline.wait(look, what, within_s)

    # --- the scenes ------------------------------------------------------------------------

    def becomes_ready(self):
        self.ledger.heading("Start: control plane, nine sidecars, seven model services")
        self.wait(self.mesh.all_proxies_ready, "every sidecar accepted its configuration "
                  f"(glia status --state-dir {self.mesh.state})", READY_WITHIN_S)
        self.wait(self.mesh.all_applications_ready, f"glia run says that all is ready "
                  f"({self.mesh.log})", READY_WITHIN_S)
        last = ["no answer yet"]

        def answers():
            seen = [self.visitor.ask(number) for number in (0, 1)]
            last[0] = "; ".join(answer.failure for answer in seen)
            return not any(answer.failure for answer in seen)

        try:
            self.wait(answers, "a first answer over REST and over gRPC", READY_WITHIN_S)
        except DemoError as error:
            raise DemoError(f"{error}; the last answer was: {last[0]}") from error
        self.ledger.check("ready", f"{self.deadline.elapsed():.1f} s after glia run", True)

    def answers_are_right(self):
        self.ledger.heading("A visitor sends held-out sentences to front, through its own sidecar")
        answers = [self.visitor.ask(number) for number in range(2 * self.questions)]
        for number in (0, 21, 42, 63):
            text = self.visitor.text(number)
            answer = answers[number]
            self.ledger.say(f'"{text}" -> {answer.label or answer.failure} '
                            f"(classify {answer.version}, {answer.transport})")
        for transport in traffic_module.TRANSPORTS:
            mine = [answer for answer in answers if answer.transport == transport]
            right = sum(answer.right for answer in mine)
            self.ledger.check(f"right answers, classify over {transport}",
                              f"{right} of {len(mine)}", right >= RIGHT_AT_LEAST * len(mine))
        return answers

    def hops_are_encrypted(self, answers):
        self.ledger.heading("Each hop is mutual TLS: what the applications were told by their sidecars")
        for callee, caller in HOPS.items():
            seen = {identities(answer.callers.get(callee, "")) for answer in answers}
            right = seen == {(TRUST + caller, TRUST + callee)}
            shown = " and ".join(f"{one or 'nobody'} -> {other or 'nobody'}"
                                 for one, other in sorted(seen))
            self.ledger.check(f"{caller} -> {callee}", shown, right)
        doors = [(name, (spec["address"], port["port"]))
                 for name, spec in self.here.workloads().items() for port in spec.get("ports", [])]
        for what, refuses in (("without encryption", refusals.refuses_clear_text),
                              ("with TLS, without a certificate", refusals.refuses_without_certificate)):
            open_doors = [name for name, address in doors if not refuses(address)]
            self.ledger.check(f"connections {what}",
                              f"let in by {', '.join(open_doors)}" if open_doors
                              else f"refused at {len(doors)} of {len(doors)} ports", not open_doors)

    def intruder_is_refused(self):
        self.ledger.heading("A member of the mesh that no policy lets in")
        outbound = self.here.outbound("intruder")
        for service, path in (("front", "/classify"), ("embed", "/v2/models/minilm/infer"),
                              ("classify", "/v2/models/tickets/infer")):
            status, body = refusals.call_rest(outbound, service, path)
            self.ledger.check(f"intruder -> {service}", f"{status} {body}".splitlines()[0],
                              status == 403 and f"{service}-callers" in body)
        status, message = refusals.call_grpc(outbound, "classify:8081")
        self.ledger.check("intruder -> classify over gRPC", f"{status} {message}".splitlines()[0],
                          status == "PERMISSION_DENIED" and "classify-callers" in message)

    def access_logs_tell(self, answers):
        """What on-call people read: each sidecar's line for each request, from both ends."""
        self.ledger.heading("The access logs of the sidecars")
        heard = self.wait(lambda: len(lines := [
            line for line in self.mesh.access_log("front")
            if line.get("downstream_identity") == TRUST + "visitor" and line["response_code"] == 200
        ]) >= len(answers) and lines, "a line for each answer")
        self.ledger.check("lines of front's sidecar that name visitor", f"{len(heard)}, each with 200",
                          len(heard) >= len(answers))
        said = self.wait(lambda: {line["request_id"] for line in heard} <= {
            line["request_id"] for line in self.mesh.access_log("visitor")},
            "the same requests in the log of the visitor's sidecar")
        self.ledger.check("the same requests in the log of visitor's sidecar", "all", said)
        refused = self.wait(lambda: [line for line in self.mesh.access_log("front")
                                     if line["response_code"] == 403], "a line for the refusal")
        self.ledger.check("the intruder at front", f"{refused[0]['response_code']} "
                          f"{refused[0].get('policy')}: {refused[0]['response_code_details']}",
                          refused[0].get("downstream_identity") == TRUST + "intruder"
                          and "front-callers" in refused[0]["response_code_details"])

    def traffic_is_shifted(self, traffic):
        self.ledger.heading("The split between two versions, edited while people ask")
        self.measure_split(traffic, "90/10")
        text = self.here.mesh.read_text()
        edited = (text.replace('value: "90/10"', 'value: "50/50"')
                  .replace("weight: 90}", "weight: 50}").replace("weight: 10}", "weight: 50}"))
        saved = self.mesh.save(edited)
        self.measure_split(traffic, "50/50")
        after = traffic.answers()
        changed = min(answer.ended for answer in after if answer.split == "50/50")
        old = [answer for answer in after if answer.split == "90/10"]
        self.ledger.check("save -> first answer by the new split",
                          f"{1000 * (changed - saved):.0f} ms", changed > saved)
        last_old = max(answer.started for answer in old)
        self.ledger.say("the last question that went by the old split was asked "
                        f"{1000 * max(0.0, last_old - saved):.0f} ms after the save")
        self.no_failures(traffic, "failed requests across the change")

    def measure_split(self, traffic, split):
        def enough():
            mine = [answer for answer in traffic.answers() if answer.split == split]
            return mine if len(mine) >= SAMPLE else None

        answers = self.wait(enough, f"{SAMPLE} answers by the split {split}", READY_WITHIN_S)
        share = int(split.split("/")[1]) / 100
        for transport in traffic_module.TRANSPORTS:
            mine = [answer for answer in answers if answer.transport == transport]
            second = sum(answer.version == "v2" for answer in mine)
            deviation = (len(mine) * share * (1 - share)) ** 0.5
            self.ledger.check(f"split {split} over {transport}",
                              f"v1 {len(mine) - second}, v2 {second} ({second / len(mine):.0%})",
                              abs(second - len(mine) * share) <= TOLERANCE * deviation)

    def broken_edit_is_refused(self, traffic):
        self.ledger.heading("An edit with a mistake in it")
        good = self.here.mesh.read_text()
        before = self.mesh.status()
        line = next(number for number, text in enumerate(good.splitlines(), 1) if "weight: 50" in text)
        saved = self.mesh.save(good.replace("weight: 50", "wieght: 50", 1))
        status = self.wait(self.reports_errors, "glia status reports the mistake")
        seconds = time.monotonic() - saved
        error = status["configErrors"][0]
        self.ledger.say(error)
        place_named = f"{self.here.mesh.name}:{line}:" in error
        self.ledger.check("a wrong key is refused with file and line",
                          f"{self.here.mesh.name}:{line} after {1000 * seconds:.0f} ms",
                          place_named and "wieght" in error)
        self.ledger.check("version in force while the file is broken", status["configVersion"],
                          status["configVersion"] == before["configVersion"])
        here_on = time.monotonic()
        self.wait(lambda: len(traffic.answers(here_on)) >= SAMPLE // 4, "traffic goes on")
        self.mesh.save(good)
        self.wait(lambda: not self.reports_errors(), "glia status is content after the repair")
        self.no_failures(traffic, "failed requests while the file was broken, and in all")

    def versions_prove_themselves(self):
        # People of their own: what fails here is not to be counted before.
        with traffic_module.Traffic(self.visitor) as traffic:
            canaries.Canaries(self.mesh, traffic, self.ledger, self.wait).play(
                self.here.mesh.read_text())

    def reports_errors(self):
        status = self.mesh.status()
        return status if status and status.get("configErrors") else None

    def no_failures(self, traffic, what):
        answers = traffic.answers()
        failures = [answer.failure for answer in answers if answer.failure]
        for failure in failures[:3]:
            self.ledger.say(failure)
        self.ledger.check(what, f"{len(failures)} of {len(answers)}", not failures)

    def play(self):
        self.becomes_ready()
        answers = self.answers_are_right()
        self.hops_are_encrypted(answers)
        self.intruder_is_refused()
        self.access_logs_tell(answers)
        with traffic_module.Traffic(self.visitor) as traffic:
            self.traffic_is_shifted(traffic)
            self.broken_edit_is_refused(traffic)
        self.versions_prove_themselves()
        seconds, left = self.mesh.stop()
        self.ledger.heading("Ctrl-C")
        self.ledger.check("everything stopped",
                          f"{seconds:.1f} s" + (f", but {left} processes still run" if left else ""),
                          not left)


def identities(client_certificate):
    """(URI, By) of an x-forwarded-client-cert header: who called, and as whom it was answered."""
    parts = dict(part.split("=", 1) for part in client_certificate.split(";") if "=" in part)
    return parts.get("URI", ""), parts.get("By", "")


def next_steps(here, mesh):
    host, port = here.outbound("visitor")
    glia, file, state = (shown(path) for path in (mesh.glia, here.mesh, mesh.state))
    print(f"""
Try next, in this directory ({place.ROOT}):
  {glia} run {file} --state-dir {state}
      the same mesh, until Ctrl-C; when it says that all is ready, in another terminal:
  curl -H 'Host: front' -d '{{"text": "Where is my parcel?"}}' http://{host}:{port}/classify
      a question through the visitor's sidecar
  {glia} status --state-dir {state}
      who is connected, with which configuration
  tail -f {state}/log/default.front.access.log
      who calls front, and how it goes
  edit {file} and save
      weights, policies and timeouts take effect at once""")


def shown(path):
    """As people type it from the clone's directory."""
    return path.relative_to(place.ROOT) if path.is_relative_to(place.ROOT) else path


def interrupt(*_):
    raise KeyboardInterrupt


def main():
    directory = place.ROOT / ".glia" / "demo"
    directory.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, interrupt)
    ledger = Ledger()
    with open(directory / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SystemExit(f"another ./dev demo runs in {directory}") from None
        here = place.Place(directory)
        deadline = mesh_module.Deadline(LIMIT_S)
        try:
            with mesh_module.Mesh(here) as mesh:
                Demo(here, mesh, deadline, ledger).play()
        except DemoError as error:
            ledger.check("the demonstration", str(error), False)
            show_log(directory / "glia-run.log")
            if deadline.is_over():
                print(f"\nThe {LIMIT_S:.0f} s of the demonstration were over. On a slow or busy machine "
                      "give it more: GLIA_DEMO_LIMIT_S=400 ./dev demo")
        except KeyboardInterrupt:
            print("\ninterrupted: everything was stopped")
            return 130
    print(f"\n{deadline.elapsed():.0f} s in all. What was seen:\n")
    if not ledger.table():
        print(f"\nNot all was seen. Logs are in {directory}")
        return 1
    next_steps(here, mesh)
    return 0


def show_log(path):
    if path.exists():
        print(f"\nThe end of {path}:")
        for line in path.read_text(errors="replace").splitlines()[-30:]:
            print(f"    {line}")


if __name__ == "__main__":
    sys.exit(main())
