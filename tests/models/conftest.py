"""Tiny real models with random weights, saved the way published ones are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

WORDS = [
    *("the", "a", "red", "green", "blue", "cat", "dog", "sat", "on", "mat", "photo", "of", "square"),
    *("people", "are", "good", "bad", "very", "not", "and", "is", "it"),
]


@pytest.fixture(scope="session")
def torch() -> Any:
    library = pytest.importorskip("torch")
    library.set_num_threads(1)
    return library


def save_tokenizer(folder: Path, *, longest: int) -> Any:
    """A word-level tokenizer; ids: 0 pad, 1 unknown, 2 start, 3 end."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    vocabulary = {word: index for index, word in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[CLS]",
        eos_token="[SEP]",
        model_max_length=longest,
    )
    fast.save_pretrained(folder)
    return fast


@pytest.fixture
def classifier(tmp_path: Path, torch: Any) -> Callable[..., Path]:
    """Save a tiny BERT (or, with `family`, RoBERTa, Longformer or GPT-2) classifier; further settings go to its config."""

    def save(name: str = "classifier", *, family: str = "bert", longest: int = 16, seed: int = 0, **settings: Any) -> Path:
        import transformers

        shape = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        config_class, model_class = {
            "bert": (transformers.BertConfig, transformers.BertForSequenceClassification),
            "gpt2": (transformers.GPT2Config, transformers.GPT2ForSequenceClassification),
            "longformer": (transformers.LongformerConfig, transformers.LongformerForSequenceClassification),
            "roberta": (transformers.RobertaConfig, transformers.RobertaForSequenceClassification),
        }[family]
        config = config_class(
            **{**shape, "max_position_embeddings": 16, "pad_token_id": 0, "initializer_range": 0.5, **settings}
        )
        torch.manual_seed(seed)
        folder = tmp_path / name
        model_class(config).save_pretrained(folder)
        save_tokenizer(folder, longest=longest)
        return folder

    return save


@pytest.fixture
def dual_encoder(tmp_path: Path, torch: Any) -> Callable[..., Path]:
    """Save a tiny CLIP or SigLIP with its image processor."""

    def save(family: str = "clip", *, logit_scale: float = 2.5, seed: int = 0) -> Path:
        import transformers

        size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        text = {
            **size,
            "vocab_size": 40,
            "max_position_embeddings": 12,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": 3,
        }
        vision = {**size, "image_size": 16, "patch_size": 8}
        if family == "clip":
            config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
            model_class, square = transformers.CLIPModel, {"height": 16, "width": 16}
            picture = transformers.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=square)
        else:
            config = transformers.SiglipConfig(text_config=text, vision_config=vision)
            model_class = transformers.SiglipModel
            picture = transformers.SiglipImageProcessorPil(size={"height": 16, "width": 16})
        torch.manual_seed(seed)
        model = model_class(config)
        with torch.no_grad():
            model.logit_scale.fill_(logit_scale)
        folder = tmp_path / family
        model.save_pretrained(folder)
        picture.save_pretrained(folder)
        save_tokenizer(folder, longest=12)
        return folder

    return save


@pytest.fixture
def sentence_encoder(tmp_path: Path, torch: Any) -> Callable[..., Path]:
    """Save a tiny text encoder of a family, without a head; further settings go to its config."""

    def save(family: str = "bert", name: str = "encoder", *, longest: int = 16, seed: int = 0, **settings: Any) -> Path:
        import transformers

        wide = {"vocab_size": 40, "pad_token_id": 0, "initializer_range": 0.5}
        size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        model_class, shape = {
            "bert": (transformers.BertModel, {**size, "max_position_embeddings": 16}),
            "distilbert": (
                transformers.DistilBertModel,
                {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 16},
            ),
            "mpnet": (transformers.MPNetModel, {**size, "max_position_embeddings": 18}),
            "xlm-roberta": (transformers.XLMRobertaModel, {**size, "max_position_embeddings": 17}),
            "t5": (transformers.T5EncoderModel, {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}),
        }[family]
        torch.manual_seed(seed)
        folder = tmp_path / name
        model_class(model_class.config_class(**{**wide, **shape, **settings})).save_pretrained(folder)
        save_tokenizer(folder, longest=longest)
        return folder

    return save


@pytest.fixture
def vision_model(tmp_path: Path, torch: Any) -> Callable[..., Path]:
    """Save a tiny vision model by the name of its class, with its image processor; further settings go to its config."""

    def save(class_name: str, name: str = "vision", *, seed: int = 0, **settings: Any) -> Path:
        import transformers

        sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        if class_name.startswith("ResNet"):
            sizes = {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "basic"}
        elif class_name.startswith("CLIP"):
            sizes = {"vision_config": {**sizes, "image_size": 16, "patch_size": 8}}
        else:
            sizes |= {"image_size": 16, "patch_size": 8}
        torch.manual_seed(seed)
        model_class = getattr(transformers, class_name)
        model = model_class(model_class.config_class(**sizes, **settings))
        with torch.no_grad():  # published statistics of batches are not 0 and 1 either
            for part in model.modules():
                if isinstance(part, torch.nn.BatchNorm2d):
                    part.running_mean.normal_(0, 0.1)
        folder = tmp_path / name
        model.save_pretrained(folder)
        square = {"height": 16, "width": 16}
        transformers.ViTImageProcessorPil(size=square).save_pretrained(folder)
        return folder

    return save


@pytest.fixture
def captioner(tmp_path: Path, torch: Any) -> Callable[..., Path]:
    """Save a tiny captioner of a family, its weights large enough that pictures matter."""

    def save(family: str, *, seed: int = 0) -> Path:
        import transformers

        size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        vision = {**size, "image_size": 16, "patch_size": 8}
        words = {**size, "vocab_size": 26, "max_position_embeddings": 40, "initializer_range": 1.0}
        special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
        torch.manual_seed(seed)
        if family == "blip":
            text = {**words, **special, "sep_token_id": 3, "encoder_hidden_size": 16}
            model = transformers.BlipForConditionalGeneration(
                transformers.BlipConfig(text_config=text, vision_config={**vision, "initializer_range": 1.0}, projection_dim=16)
            )
        elif family == "git":
            config = transformers.GitConfig(vision_config=vision, num_image_with_embedding=None, **words, **special)
            model = transformers.GitForCausalLM(config)
        else:
            decoder = transformers.BertConfig(**words, **special, is_decoder=True, add_cross_attention=True)
            pair = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
                transformers.ViTConfig(**vision, initializer_range=1.0), decoder
            )
            pair.decoder_start_token_id, pair.pad_token_id, pair.eos_token_id = 2, 0, 3
            model = transformers.VisionEncoderDecoderModel(config=pair)
        folder = tmp_path / f"{family}{seed}"
        model.save_pretrained(folder)
        transformers.ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
        save_tokenizer(folder, longest=40)
        return folder

    return save


@pytest.fixture(scope="session")
def texts() -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, size=rng.integers(1, 12))) for _ in range(23)]


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(1)
    shapes = [(20, 16), (16, 40), (33, 17), (16, 16), (50, 50)]
    return [Image.fromarray(rng.integers(0, 255, (*shape, 3), dtype=np.uint8)) for shape in shapes]
