"""A load generator that is not ours, guidellm, through glia-proxy at simulated model servers. It brings its
prompts, and counts tokens with a tokenizer that is made here: nothing is fetched when it runs.

guidellm is in third_party/python/requirements-load.in, which ./dev test --long installs.
"""

import importlib.util
import json
import os
import subprocess
import sys
import unittest

from bootstrap import bootstrap, cluster, listener, to
from harness import Proxy, Scene, peer
from pool_servers import PoolServers

GLIA = "type.googleapis.com/glia.v1"
LASTS_S = 180  # It takes many seconds to begin.
REQUESTS, AT_ONCE, OUTPUT_TOKENS = 40, 4, 8


def make_tokenizer(directory):
    """One token a word, for transformers to load from a directory."""
    from tokenizers import Tokenizer, models, pre_tokenizers, decoders
    words = {"[UNK]": 0, **{f"w{number}": number for number in range(1, 2000)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.Fuse()
    directory.mkdir()
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]",
         "model_max_length": 100000}))
    (directory / "config.json").write_text(json.dumps({"model_type": "gpt2"}))


@unittest.skipUnless(os.environ.get("GLIA_LONG"), "takes a minute; ./dev test --long")
@unittest.skipUnless(importlib.util.find_spec("guidellm"),
                     "guidellm is not in the Python environment; ./dev test --long installs it")
class LoadGenerator(Scene):
    def test_guidellm_measures_what_the_proxy_counts(self):
        servers = self.enterContext(PoolServers(2))
        reads = {"name": "glia.model_requests", "typed_config": {
            "@type": f"{GLIA}.ModelRequests", "always": True, "prefix_hashes": True}}
        chosen = cluster("pool", *servers.ports)
        chosen["load_balancing_policy"] = {"policies": [{"typed_extension_config": {
            "name": "glia.model", "typed_config": {"@type": f"{GLIA}.ModelBalancing"}}}]}
        proxy = self.enterContext(Proxy(self.directory, bootstrap(
            [listener("in", [to("pool")], filters=[reads])], [chosen])))
        make_tokenizer(self.directory / "tokenizer")
        report = self.directory / "report.json"
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
                       "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(self.directory / "hub"),
                       "GUIDELLM__PREFERRED_ROUTE": "chat_completions",
                       "GUIDELLM__MAX_WORKER_PROCESSES": "1", "HOME": str(self.directory)}
        ran = subprocess.run(
            [peer("setpriv"), "--pdeathsig", "KILL", "--", sys.executable, "-m", "guidellm",
             "benchmark", "--target", proxy.url(""), "--model", "m",
             "--processor", str(self.directory / "tokenizer"),
             "--data", f"prompt_tokens=64,output_tokens={OUTPUT_TOKENS}",
             # Of a whole number it asks what only Python 3.12 has.
             "--rate-type", "concurrent", "--rate", f"{AT_ONCE}.0",
             "--max-requests", str(REQUESTS), "--output-path", str(report),
             "--disable-progress", "--disable-console-outputs"],
            env=environment, cwd=self.directory, capture_output=True, text=True, timeout=LASTS_S)
        self.assertEqual(ran.returncode, 0, ran.stdout[-3000:] + ran.stderr[-3000:])
        benchmark = json.loads(report.read_text())["benchmarks"][0]
        total = benchmark["request_totals"]
        self.assertEqual((total["successful"], total["errored"]), (REQUESTS, 0), total)
        figures = benchmark["metrics"]
        self.assertEqual(figures["output_token_count"]["successful"]["mean"], OUTPUT_TOKENS)
        self.assertGreater(figures["time_to_first_token_ms"]["successful"]["mean"], 0)
        # One more, with which it looks whether anybody is there.
        counted = proxy.metric("gen_ai_server_request_duration_seconds_count",
                               gen_ai_request_model="m")
        self.assertGreaterEqual(counted, REQUESTS + 1)
        tokens = proxy.metric("gen_ai_client_token_usage_sum", gen_ai_token_type="output",
                              gen_ai_operation_name="chat")
        self.assertGreaterEqual(tokens, REQUESTS * OUTPUT_TOKENS)


if __name__ == "__main__":
    unittest.main()
