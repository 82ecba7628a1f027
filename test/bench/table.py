"""What run.py measured, as a table for people, and what of it is not as it must be."""

MOST_OF_ENVOY = 0.7     # CPU a request, on each row
MOST_RESIDENT_MB = 12   # idle
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"

TITLES = {
    "http1-clear": "HTTP/1.1 keep-alive, 64 connections",
    "http1-tls": "the same, TLS 1.3",
    "http2-clear": "HTTP/2, 8 connections x 32 streams",
    "http2-tls": "the same, TLS 1.3",
}


def triple(values, digits):
    """Median and range."""
    if values is None:
        return "-"
    median, least, most = values
    return f"**{median:.{digits}f}** ({least:.{digits}f}-{most:.{digits}f})"


def line(cells):
    return "| " + " | ".join(cells) + " |\n"


def render(result):
    names = list(result["versions"])
    others = [name for name in names if name != "glia-proxy"]
    text = costs(result, names)
    if "glia-proxy" in names and others:
        text += "\n" + ratios(result, others)
    text += "\n" + memory(result, names)
    return text + "\n" + circumstances(result)


def costs(result, names):
    text = line(["CPU time of the proxy a request, us"] + names)
    text += line(["---"] + ["---:"] * len(names))
    for row, values in result["summary"].items():
        text += line([TITLES[row]] + [triple(values["cpu_us"].get(name), 1) for name in names])
    return text


def ratios(result, others):
    text = line(["glia-proxy as a part of"] + others)
    text += line(["---"] + ["---:"] * len(others))
    for row, values in result["summary"].items():
        text += line([TITLES[row]] + [triple(values["ratio"].get(name), 2) for name in others])
    return text


def memory(result, names):
    text = line(["resident memory, MB"] + names) + line(["---"] + ["---:"] * len(names))
    text += line(["idle"] + [f"{result['idle_mb'][name]:.1f}" for name in names])
    text += line(["after all rounds"] + [f"{result['after_mb'][name]:.1f}" for name in names])
    return text


def circumstances(result):
    machine, blocks = result["machine"], result["blocks"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    errors = sum(block["errors"] for block in blocks)
    requests = sum(block["requests"] for block in blocks)
    others = sorted(block["others"] for block in blocks)
    before, after = result["load_average_before"][0], result["load_average_after"][0]
    return (
        f"{versions}. {machine['date']}, commit {machine['commit']}, {machine['cpus']} x "
        f"{machine['cpu']}, Linux {machine['kernel']}. Median (range) of "
        f"{result['arguments']['rounds']} rounds, answers of {result['arguments']['body']} bytes; "
        f"{requests:,} requests, {errors} errors. Load average {before:.1f} before and {after:.1f} "
        f"after; other processes took {others[len(others) // 2] * 100:.0f} % (at most "
        f"{others[-1] * 100:.0f} %) of the machine during a measurement.\n")


def trouble(result):
    """Sentences about errors and missed bars; none if all is well."""
    found = []
    for block in result["blocks"]:
        if block["errors"]:
            found.append(f"{block['proxy']} on {block['row']}: {block['errors']} requests failed: "
                         f"{block['first_error']}")
    for row, values in result["summary"].items():
        ratio = values["ratio"].get("envoy")
        if ratio and ratio[0] > MOST_OF_ENVOY:
            found.append(f"{row}: glia-proxy takes {ratio[0]:.2f} of Envoy's CPU time; the bar is "
                         f"{MOST_OF_ENVOY}")
    idle = result["idle_mb"].get("glia-proxy", 0)
    if idle > MOST_RESIDENT_MB:
        found.append(f"glia-proxy is resident with {idle:.1f} MB when idle; the bar is "
                     f"{MOST_RESIDENT_MB} MB")
    return found


def write(page, text):
    """Replaces what stands between the marks of the page."""
    old = page.read_text(encoding="utf-8")
    head, rest = old.split(BEGIN)
    tail = rest.split(END)[1]
    page.write_text(head + BEGIN + text + END + tail, encoding="utf-8")
