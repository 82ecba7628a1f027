"""The versions of the ticket classifier: training and prediction over sentence vectors.

v1 and v2 are good. v3, v4 and v5 each have a mistake as new versions have them. All are trained when
their server starts, from data/train.tsv, in a fraction of a second.
"""

import itertools
import pathlib
import time

import numpy

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
LABELS = ("account", "billing", "shipping", "technical")


def labelled_sentences(name):
    """Two lists of one length: sentences and the index of the label of each."""
    sentences, labels = [], []
    for line in (DATA / name).read_text().splitlines():
        label, sentence = line.split("\t")
        sentences.append(sentence)
        labels.append(LABELS.index(label))
    return sentences, labels


def softmax(scores):
    powers = numpy.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


class NearestCentroid:
    """v1: a class is the mean of its sentences; the nearest mean wins."""

    SHARPNESS = 12.0  # Only how sure it sounds: cosines are close together.

    def __init__(self, vectors, labels):
        means = numpy.stack([vectors[numpy.equal(labels, label)].mean(0)
                             for label in range(len(LABELS))])
        self._centroids = means / numpy.linalg.norm(means, axis=1, keepdims=True)

    def probabilities(self, vectors):
        return softmax(self.SHARPNESS * vectors @ self._centroids.T)


class LogisticRegression:
    """v2: multinomial logistic regression, by gradient descent from zero (so: always the same)."""

    STEPS = 400
    RATE = 4.0
    DECAY = 1e-3

    def __init__(self, vectors, labels):
        wanted = numpy.eye(len(LABELS), dtype=numpy.float32)[labels]
        self._weights = numpy.zeros((vectors.shape[1], len(LABELS)), numpy.float32)
        self._bias = numpy.zeros(len(LABELS), numpy.float32)
        for _ in range(self.STEPS):
            error = (self.probabilities(vectors) - wanted) / len(labels)
            self._weights -= self.RATE * (vectors.T @ error + self.DECAY * self._weights)
            self._bias -= self.RATE * error.sum(0)

    def probabilities(self, vectors):
        return softmax(vectors @ self._weights + self._bias)


class MixedUp(NearestCentroid):
    """v3: as fast and as sure as v1, but its labels are in another order."""

    def probabilities(self, vectors):
        return super().probabilities(vectors)[:, ::-1]


class Slow(NearestCentroid):
    """v4: right, but each answer takes long."""

    EACH_S = 0.25

    def probabilities(self, vectors):
        time.sleep(self.EACH_S)
        return super().probabilities(vectors)


class Failing(NearestCentroid):
    """v5: right, but every other request fails."""

    def __init__(self, vectors, labels):
        super().__init__(vectors, labels)
        self._numbers = itertools.count()

    def probabilities(self, vectors):
        if next(self._numbers) % 2 == 0:
            raise MemoryError("no memory is left for this batch")
        return super().probabilities(vectors)


VERSIONS = {"v1": NearestCentroid, "v2": LogisticRegression, "v3": MixedUp, "v4": Slow,
            "v5": Failing}
