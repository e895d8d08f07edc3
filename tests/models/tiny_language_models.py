"""Tiny causal language models of several families, with random weights and a byte-level vocabulary learnt from a few lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

LINES = [
    "Question: What is the name of the red cat? Type: Entity",
    "Question: How many people are in the city of Berlin? Type: Number",
    "Question: Who was the first woman on the mat? Type: Person",
    "安全 不安全 安全的 不安全的 naïve café 😀",
] * 3
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}<answer>{% endif %}"
)


def save_model(folder: Path, family: str, *, positions: int = 512, seed: int = 0, template: str = "", **more: Any) -> Path:
    """Save a model of a family: gpt2, llama, qwen2, bloom, opt; mistral (a window of 8 tokens), dynamic (rotary), mamba."""
    import torch
    import transformers

    shape: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    shape |= {"vocab_size": 320, "max_position_embeddings": positions, "initializer_range": 0.3}
    shape |= {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    grouped = {"num_key_value_heads": 2}
    name, settings = {
        "gpt2": ("GPT2LMHeadModel", {}),
        "llama": ("LlamaForCausalLM", grouped),
        "qwen2": ("Qwen2ForCausalLM", grouped),
        "mistral": ("MistralForCausalLM", {**grouped, "sliding_window": 8}),
        "dynamic": ("LlamaForCausalLM", {"rope_scaling": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
        "bloom": ("BloomForCausalLM", {"n_layer": 2, "n_head": 4}),
        "opt": ("OPTForCausalLM", {"ffn_dim": 48, "word_embed_proj_dim": 32, "init_std": 0.3}),
        "mamba": ("MambaForCausalLM", {"state_size": 4}),
    }[family]
    model_class = getattr(transformers, name)
    torch.manual_seed(seed)
    model_class(model_class.config_class(**{**shape, **settings, **more})).save_pretrained(folder)
    save_tokenizer(folder, positions, template)
    return folder


def save_tokenizer(folder: Path, positions: int, template: str) -> None:
    """Byte-level pairs, as GPT-2 has them; "<|endoftext|>" is token 0."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    pairs = ByteLevelBPETokenizer()
    pairs.train_from_iterator(LINES, vocab_size=320, min_frequency=1, special_tokens=["<|endoftext|>"], show_progress=False)
    special = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=pairs._tokenizer, model_max_length=positions, **special)
    if template:
        fast.chat_template = template
    fast.save_pretrained(folder)


def reference_score(folder: Path, tokens: list[int], given: int) -> float:
    """Sum of log p of the tokens behind the given ones, by one full forward pass of the library."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        log_p = torch.log_softmax(model(torch.tensor([tokens])).logits[0].double(), dim=-1)
    return sum(float(log_p[place - 1, tokens[place]]) for place in range(given, len(tokens)))
