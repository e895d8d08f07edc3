"""Captions of images by models in the transformers layout: BLIP, GIT and encoder-decoder pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from assaymark.models.checkpoint import Checkpoint
from assaymark.models.content import image_keys
from assaymark.models.image_pixels import load_image_processor, pixel_tensor
from assaymark.models.torch_adapter import (
    TorchAdapter,
    clean_text,
    import_transformers,
    load_tokenizer,
    load_weights,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from assaymark.models.opening import Loading

__all__ = ["Captioner", "GumbelNoise"]

VERSION = 1  # part of the fingerprint: grows when the same checkpoint would answer differently
_LONGEST = 30  # tokens after the prompt; published captions have 10 to 20


class _Parts(NamedTuple):
    tokenizer: Any
    image_processor: Any
    model: Any


class Captioner(TorchAdapter):
    """What a captioning model says after a prompt (capability captions-images).

    Option `longest` is the number of tokens after which a caption is cut (default 30).

    Notes
    -----
    Sampling draws from softmax(logits / temperature) by adding Gumbel noise to logits / temperature and taking the largest,
    which is the same distribution. The noise of a caption comes from a generator of its own, seeded by the seed, the content
    of the image and the number of the sample: captions depend neither on order nor batch, and the global generator of torch
    is not touched.
    """

    def __init__(self, checkpoint: Checkpoint, loading: Loading) -> None:
        super().__init__(checkpoint, loading)
        checkpoint.spec.check_options(("longest",))
        import_transformers("vision", f"captioner {self.spec}")
        self._kind = str(checkpoint.config.get("model_type"))
        self._longest = max(1, checkpoint.spec.integer("longest", _LONGEST))
        self.fingerprint = checkpoint.fingerprint(f"captioner {VERSION} longest={self._longest}")

    def caption_images(
        self,
        images: Sequence[Image],
        *,
        prompt: str = "A picture of",
        temperature: float = 0.4,
        samples: int = 5,
        seed: int = 0,
    ) -> list[list[str]]:
        """`samples` captions an image, without the prompt; see `assaymark.models.protocols.CaptionsImages`."""
        if temperature < 0 or samples < 1:
            raise ValueError(f"temperature must be at least 0 and samples at least 1, not {temperature} and {samples}")
        distinct = samples if temperature > 0 else 1
        size = max(1, self._loading.batch_size // distinct)
        captions: list[list[str]] = []
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            said = self._say(batch, clean_text(prompt), temperature, distinct, seed)
            captions += [said[row : row + distinct] * (samples // distinct) for row in range(0, len(said), distinct)]
        return captions

    def _say(self, images: Sequence[Image], prompt: str, temperature: float, samples: int, seed: int) -> list[str]:
        """`samples` captions of the first image, then of the second, ..."""
        import torch

        tokenizer, image_processor, model = self._loaded()
        pixels = pixel_tensor(image_processor, images).repeat_interleave(samples, dim=0).to(model.device)
        start, end = _frame(self._kind, model)
        words = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        given = torch.tensor([[start, *words, *end]] * len(pixels), device=model.device)
        name = "decoder_input_ids" if self._kind == "vision-encoder-decoder" else "input_ids"
        settings: dict[str, Any] = {"max_new_tokens": self._longest, "do_sample": False, "num_beams": 1}
        if temperature > 0:
            settings["logits_processor"] = [GumbelNoise.of(images, temperature, samples, seed)]
        with torch.inference_mode():
            tokens = model.generate(pixel_values=pixels, **{name: given}, **settings)
        after = tokens[:, 1 + len(words) :].tolist()
        return [" ".join(text.split()) for text in tokenizer.batch_decode(after, skip_special_tokens=True)]

    def _load(self, folder: Path, device: str) -> _Parts:
        transformers = import_transformers("vision", f"captioner {self.spec}")
        image_processor = load_image_processor(transformers, self.spec, folder)
        tokenizer = load_tokenizer(transformers, self._checkpoint, folder)
        pair = self._kind == "vision-encoder-decoder"
        auto_class = transformers.VisionEncoderDecoderModel if pair else transformers.AutoModelForImageTextToText
        model = load_weights(auto_class, self._checkpoint, folder, device)
        for part in (model, getattr(model, "text_decoder", model)):
            part.generation_config.max_length = None  # else it is weighed against max_new_tokens, with a warning a batch
        return _Parts(tokenizer, image_processor, model)


class GumbelNoise:
    """Logits / temperature plus Gumbel noise: the largest is a draw from softmax(logits / temperature).

    Parameters
    ----------
    generators : sequence of numpy Generators
        One a row of the batch; each step draws one number a word from each.
    """

    def __init__(self, generators: Sequence[np.random.Generator], temperature: float) -> None:
        self._generators, self._temperature = generators, temperature

    @classmethod
    def of(cls, images: Sequence[Image], temperature: float, samples: int, seed: int) -> GumbelNoise:
        """Generators for `samples` captions of each image, seeded by what the image shows."""
        keys = [int.from_bytes(key, "big") for key in image_keys(images)]
        return cls([np.random.default_rng([seed, key, sample]) for key in keys for sample in range(samples)], temperature)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        noise = np.stack([generator.gumbel(size=scores.shape[-1]) for generator in self._generators])
        return scores.float() / self._temperature + torch.tensor(noise, dtype=torch.float32, device=scores.device)


def _frame(kind: str, model: Any) -> tuple[int, list[int]]:
    """The token before the prompt, and those behind it that `generate` takes off again (BLIP drops the last)."""
    config = model.config
    if kind == "blip":
        return int(config.text_config.bos_token_id), [int(config.text_config.sep_token_id)]
    if kind == "git":
        return int(config.bos_token_id), []
    places = (model.generation_config, config, config.decoder)
    stated = [getattr(place, name, None) for name in ("decoder_start_token_id", "bos_token_id") for place in places]
    return int(next(token for token in stated if token is not None)), []
