"""`openclip:ARCHITECTURE/TAG` - dual encoders of the open_clip library."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from assaymark.errors import MissingExtra, ModelError, UnknownName
from assaymark.models.checkpoint import prepare_environment
from assaymark.models.image_pixels import Normalisation, limit_aspect
from assaymark.models.image_recording import RecordsImageLayers
from assaymark.models.spec import ModelSpec
from assaymark.models.text_recording import GivenTexts, RecordsTextLayers
from assaymark.models.timm_encoder import without_normalisation
from assaymark.models.torch_adapter import clean_text, load_part, torch_device

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["OpenClipEncoder"]

VERSION = 1
Array = npt.NDArray[np.float32]


class _Parts(NamedTuple):
    model: Any
    preprocess: Any
    tokenizer: Any
    device: str


class _UnknownModel(UnknownName, ModelError):
    pass


class OpenClipEncoder(RecordsImageLayers, RecordsTextLayers):
    """Unit-norm embeddings by an open_clip architecture with published weights.

    Capabilities embeds-images, embeds-texts, records-activations (the image tower) and records-text-activations.

    Only tags of open_clip's own list are taken, no files: their weights are fetched by the library and read with
    restricted unpickling at most. The fingerprint is architecture and tag, which name the weights.
    """

    def __init__(self, spec: ModelSpec, loading: Loading) -> None:
        spec.check_options(())
        open_clip = _library(spec)
        self.spec, self._parsed, self._loading = spec.text, spec, loading
        self._architecture, _, self._tag = spec.target.partition("/")
        _check_listed(spec, open_clip, self._architecture, self._tag)
        self.notes: tuple[str, ...] = ()
        self.dimension = int(open_clip.get_model_config(self._architecture)["embed_dim"])
        identity = repr(("openclip", VERSION, self._architecture, self._tag))
        self.fingerprint = blake2b(identity.encode(), digest_size=16).hexdigest()
        self._parts: _Parts | None = None
        self._logit_scale: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_parts": None}

    @property
    def logit_scale(self) -> float:
        """exp of the trained temperature; loads the weights when first asked."""
        if self._logit_scale is None:
            self._logit_scale = float(self._loaded().model.logit_scale.detach().exp())
        return self._logit_scale

    def embed_images(self, images: Sequence[Image]) -> Array:
        import torch

        parts = self._loaded()
        blocks = [np.empty((0, self.dimension), dtype=np.float32)]
        for start in range(0, len(images), self._loading.batch_size):
            pictures = [image.convert("RGB") for image in images[start : start + self._loading.batch_size]]
            pixels = torch.stack([parts.preprocess(picture) for picture in pictures]).to(parts.device)
            with torch.inference_mode():
                blocks.append(parts.model.encode_image(pixels, normalize=True).float().cpu().numpy())
        return np.concatenate(blocks)

    def embed_texts(self, texts: Sequence[str]) -> Array:
        import torch

        parts = self._loaded()
        blocks = [np.empty((0, self.dimension), dtype=np.float32)]
        for start in range(0, len(texts), self._loading.batch_size):
            tokens = parts.tokenizer([clean_text(text) for text in texts[start : start + self._loading.batch_size]])
            with torch.inference_mode():
                blocks.append(parts.model.encode_text(tokens.to(parts.device), normalize=True).float().cpu().numpy())
        return np.concatenate(blocks)

    def raw_pixels(self, images: Sequence[Image]) -> Any:
        """Float32 tensor on the CPU, shape (n, 3, height, width), in [0, 1]."""
        import torch

        raw = without_normalisation(self._loaded().preprocess, self.spec).preprocess
        return torch.stack([raw(limit_aspect(image).convert("RGB")) for image in images])

    def _recorded_module(self) -> Any:
        return self._loaded().model.visual

    def _normalising(self) -> Normalisation:
        return without_normalisation(self._loaded().preprocess, self.spec).normalisation

    def _given_texts(self, texts: Sequence[str]) -> GivenTexts:
        from assaymark.models.image_features import EncodedTexts

        parts = self._loaded()
        tokens = parts.tokenizer([clean_text(text) for text in texts])
        padding = parts.tokenizer([""])[0, -1]  # what stands behind the end of any text
        behind = (tokens == padding).flip(1).cumprod(1).flip(1).bool()  # (n, tokens), the run of padding at the end
        return GivenTexts(EncodedTexts(parts.model), {"tokens": tokens.to(parts.device)}, ~behind.to(parts.device))

    def _sketch(self) -> tuple[Any, Any]:
        import torch

        visual = self._outline().visual
        size = visual.image_size
        height, width = (size, size) if isinstance(size, int) else size
        return visual, torch.empty(2, 3, int(height), int(width))

    def _text_sketch(self) -> tuple[Any, Any]:
        import torch

        from assaymark.models.image_features import EncodedTexts

        model = self._outline()
        return EncodedTexts(model), {"tokens": torch.zeros(2, int(model.context_length), dtype=torch.long)}

    def _outline(self) -> Any:
        """The architecture without weights, on the meta device."""
        open_clip = _library(self._parsed)
        silenced = logging.root.manager.disable
        logging.disable(logging.WARNING)  # that there are no weights is meant
        try:
            return open_clip.create_model(self._architecture, device="meta", force_quick_gelu=self._quick_gelu(open_clip))
        finally:
            logging.disable(silenced)

    def _quick_gelu(self, open_clip: Any) -> bool:
        """Weights trained with QuickGELU would else only draw a warning and embed wrongly (ViT-B-32/openai)."""
        return bool(open_clip.get_pretrained_cfg(self._architecture, self._tag).get("quick_gelu", False))

    def _loaded(self) -> _Parts:
        if self._parts is None:
            open_clip = _library(self._parsed)
            device = torch_device(self._loading.device)
            model, _, preprocess = load_part(
                self.spec,
                "weights",
                lambda: open_clip.create_model_and_transforms(
                    self._architecture,
                    pretrained=self._tag,
                    device=device,
                    precision="fp32",
                    load_weights_only=True,
                    force_quick_gelu=self._quick_gelu(open_clip),
                ),
            )
            self._parts = _Parts(model.eval(), preprocess, open_clip.get_tokenizer(self._architecture), device)
        return self._parts


def _library(spec: ModelSpec) -> Any:
    prepare_environment()
    try:
        import open_clip  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise MissingExtra("openclip", f"model {spec.text}") from error
    return open_clip


def _check_listed(spec: ModelSpec, open_clip: Any, architecture: str, tag: str) -> None:
    if architecture not in open_clip.list_models():
        raise _UnknownModel("open_clip architecture", architecture, open_clip.list_models(), mend=f"(model {spec.text})")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags:
        raise _UnknownModel(f"open_clip weights of {architecture}", tag, tags, mend=f"(model {spec.text})")
