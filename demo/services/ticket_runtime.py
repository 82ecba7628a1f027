"""MLServer runtime of the ticket classifier: sentence vectors in, labels and probabilities out.

The response's parameters repeat two request headers, so that who asks can see what arrived here:
`caller` the one in which the sidecar names the workload that called (x-forwarded-client-cert),
`split` the one that the mesh's route sets (x-split).
"""

import numpy
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError, MLServerError
from mlserver.types import InferenceRequest, InferenceResponse, Parameters

import classifiers
import minilm


class TicketRuntime(MLModel):
    async def load(self) -> bool:
        sentences, labels = classifiers.labelled_sentences("train.tsv")
        self._classifier = classifiers.VERSIONS[self.version](minilm.MiniLM().embed(sentences), labels)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        vectors = NumpyCodec.decode_input(payload.inputs[0]).astype(numpy.float32)
        if vectors.ndim != 2 or vectors.shape[1] != minilm.WIDTH:
            raise InferenceError(f"the input embedding has the shape {list(vectors.shape)}, "
                                 f"expected [n, {minilm.WIDTH}]")
        try:
            probabilities = self._classifier.probabilities(vectors)
        except MemoryError as error:
            raise MLServerError(str(error), status_code=500) from error
        headers = payload.parameters.headers
        labels = [classifiers.LABELS[index] for index in probabilities.argmax(1)]
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            parameters=Parameters(caller=headers.get("x-forwarded-client-cert", ""),
                                  split=headers.get("x-split", "")),
            outputs=[StringCodec.encode_output("label", labels),
                     NumpyCodec.encode_output("probability", probabilities.max(1))])
