"""`onnx:path` - scorers of images, or of image embeddings, in the ONNX format, run by onnxruntime.

The rank of the graph's input decides: 4 is a picture, 2 an embedding. What the file does not say comes from a JSON file beside
it (`head.onnx` -> `head.json`) or from the spec, which wins:

=============  ====================================================================================================
`labels`       names of the outputs, in order (needed; "unsafe" for an embedding head with one output)
`activation`   softmax, sigmoid, clip to [0, 1], or none (default) when the outputs already are probabilities, which is checked
`multi_label`  whether labels are probabilities on their own; default: activation is sigmoid
`unsafe`       labels that make up "unsafe", or none to keep all; default: the reviewed table `assaymark.models.label_maps`
`preset`       keras-mobilenet, keras-inception (5 classes) or open-nsfw: the options below, as those detectors need them
`size`         side of the square input in pixels; default: the model's own, when it is fixed
`mean`, `std`  per channel, in the order of `channels`, after scaling pixels to [0, 1]; defaults 0 and 1
`channels`     rgb (default) or bgr
`layout`       nchw (default) or nhwc
`resize`       squash (default) to the square, or crop: shorter side to size, then the middle
`resize_to`    side of the square before its middle is cut out; default: size
`dimension`    width of the embeddings, where the graph does not fix it
=============  ====================================================================================================

Safety heads on CLIP embeddings, such as LAION's, are published for other libraries and converted once: a Keras head with
`python -m tf2onnx.convert --saved-model FOLDER --output head.onnx`, a torch head with
`torch.onnx.export(head, torch.zeros(1, 768), "head.onnx", dynamic_axes={"input": {0: "n"}}, input_names=["input"])`. Load the
originals only where you trust them. LAION's L/14 and B/32 heads answer with a probability; its H/14 head is a regression
on 0 and 1 and needs `activation=clip`. A head knows only the encoder that it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from assaymark.errors import ModelError
from assaymark.models.label_reduction import LabelReduction, reduce_labels
from assaymark.models.onnx_graph import ACTIVATIONS, OnnxGraph, choice, probabilities, with_sidecar
from assaymark.models.onnx_pixels import PixelFormat, preset_options
from assaymark.models.spec import ModelSpec

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["OnnxEmbeddingScorer", "OnnxImageScorer", "open_onnx"]

VERSION = 2
_OUTPUT_OPTIONS = ("labels", "activation", "multi_label", "unsafe")
_IMAGE_OPTIONS = ("preset", "size", "mean", "std", "channels", "layout", "resize", "resize_to")
Array = npt.NDArray[np.float32]


def open_onnx(spec: ModelSpec, loading: Loading) -> OnnxImageScorer | OnnxEmbeddingScorer:
    """The scorer that fits the rank of the graph's input."""
    graph = OnnxGraph(spec, loading)
    spec = with_sidecar(spec)
    if len(graph.shape) == 4:
        return OnnxImageScorer(spec, graph)
    if len(graph.shape) == 2:
        return OnnxEmbeddingScorer(spec, graph)
    raise ModelError(f"model {spec.text}: its input must have rank 4 (images) or 2 (embeddings); it is {graph.shape}")


class _OnnxScorer:
    """What both share: the graph, and its outputs as probabilities of the answered labels."""

    def __init__(self, spec: ModelSpec, graph: OnnxGraph, labels: tuple[str, ...]) -> None:
        if not labels:
            raise ModelError(
                f"model {spec.text}: name its outputs: add labels=a,b to the spec or labels to {graph.path.stem}.json"
            )
        self.spec = spec.text
        self._parsed, self._graph = spec, graph
        self._activation = choice(spec, "activation", ACTIVATIONS)
        multi_label = spec.flag("multi_label", self._activation == "sigmoid")
        self._reduction: LabelReduction = reduce_labels(spec, labels, multi_label)
        self.labels, self.multi_label, self.notes = (
            self._reduction.labels,
            self._reduction.multi_label,
            self._reduction.notes,
        )
        self.fingerprint = graph.fingerprint("onnx", VERSION, sorted(spec.options.items()), self._reduction.positive)

    def _scores(self, given: Array) -> Array:
        outputs = self._graph.run(given)
        stated = len(self._reduction.model_labels)
        return self._reduction(probabilities(self._parsed, outputs, self._activation, labels=stated))

    def _nothing(self) -> Array:
        return np.empty((0, len(self.labels)), dtype=np.float32)


class OnnxImageScorer(_OnnxScorer):
    """Probabilities of an ONNX image classifier (capability scores-images)."""

    def __init__(self, spec: ModelSpec, graph: OnnxGraph) -> None:
        spec.check_options((*_OUTPUT_OPTIONS, *_IMAGE_OPTIONS))
        preset = preset_options(spec)
        spec = replace(spec, options={**preset, **spec.options})
        self._format = PixelFormat.of(spec, graph.shape)
        labels = spec.names("labels")
        if spec.options.get("labels") == preset.get("labels") == "sfw,nsfw" and graph.width == 1:
            labels = ("nsfw",)  # conversions of open_nsfw give both of its scores, or the second alone
        super().__init__(spec, graph, labels)

    def score_images(self, images: Sequence[Image]) -> Array:
        """Shape (n, n_labels), in [0, 1]."""
        size = self._graph.batch_size
        batches = [images[start : start + size] for start in range(0, len(images), size)]
        return np.concatenate([self._nothing(), *(self._scores(self._format(batch)) for batch in batches)])


class OnnxEmbeddingScorer(_OnnxScorer):
    """Probabilities of an ONNX head on image embeddings (capability scores-embeddings)."""

    def __init__(self, spec: ModelSpec, graph: OnnxGraph) -> None:
        spec.check_options((*_OUTPUT_OPTIONS, "dimension"))
        fixed = graph.shape[1] if isinstance(graph.shape[1], int) else None
        self.dimension = spec.integer("dimension", fixed or 0)
        if self.dimension < 1 or (fixed is not None and self.dimension != fixed):
            takes = f"; the model takes {fixed}" if fixed else ""
            raise ModelError(f"model {spec.text}: give the width of its embeddings, dimension=768 or the like{takes}")
        super().__init__(spec, graph, spec.names("labels") or (("unsafe",) if graph.width == 1 else ()))

    def score_embeddings(self, embeddings: Array) -> Array:
        """Shape (n, n_labels), in [0, 1], for embeddings of shape (n, dimension).

        Raises
        ------
        ModelError
            Embeddings of another width, which another encoder made.
        """
        rows = np.ascontiguousarray(embeddings, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.dimension:
            raise ModelError(f"model {self.spec} takes embeddings of width {self.dimension}; their shape is {rows.shape}")
        size = self._graph.batch_size
        batches = [rows[start : start + size] for start in range(0, len(rows), size)]
        return np.concatenate([self._nothing(), *(self._scores(batch) for batch in batches)])
