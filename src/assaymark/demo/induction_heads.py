"""A transformer whose first two layers start near induction circuits, and how well a model copies what comes twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate

__all__ = ["HEAD", "induction_accuracy", "new_copying_network"]

HEAD = 64  # width of a head
_GAIN = 0.2  # of the heads that write what the words before were; a larger one drowns the words themselves
_PEAK = 6.0  # length of the biases that turn a head to a word before
Ints = npt.NDArray[np.int64]


def new_copying_network(tokenizer: Any, *, layers: int, width: int, context: int, seed: int) -> Any:
    """A GPT-NeoX with weights drawn at random, apart from the heads that copying starts from; see `train_copying_lm`."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    end = tokenizer.eos_token_id
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD,
        max_position_embeddings=context,
        # Slow rotations tell far positions from farther ones; what is needed is the word before, and the last few.
        rope_parameters={"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.25},
        use_parallel_residual=False,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPTNeoXForCausalLM(config)
        with torch.no_grad():
            _seed_induction(model)
    return model


def _seed_induction(model: Any) -> None:
    """Start the first two layers near induction circuits.

    Head h of the first layer looks h + 1 words back and writes what is there into a subspace of its own; head h of the second
    compares the word h back with the words h + 1 back, and copies the word there. Their votes add up.
    """
    import torch

    first, second = (layer.attention for layer in model.base_model.layers[:2])
    width, turn = model.config.hidden_size, model.base_model.rotary_emb.inv_freq
    rotated = 2 * len(turn)
    # Unrelated subspaces: of the present word, of the word before it, of the one before that ...
    back = torch.linalg.qr(torch.randn(width, width))[0].split(HEAD)
    look, match = (part.query_key_value.weight.view(-1, 3, HEAD, width) for part in (first, second))
    bias = first.query_key_value.bias.view(-1, 3, HEAD)
    for head in range(width // HEAD - 1):
        # A query turned back by some positions agrees best with the key that many positions before it, whatever the words.
        angle = (head + 1) * turn
        bias[head, 0, :rotated] = _PEAK * torch.cat([angle.cos(), -angle.sin()])
        bias[head, 1, : len(turn)] = _PEAK
        columns = slice(head * HEAD, (head + 1) * HEAD)
        look[head, :2] *= 0.1
        look[head, 2], first.dense.weight[:, columns] = back[0], _GAIN * back[head + 1].T
        match[head, 0], match[head, 1], match[head, 2] = back[head], back[head + 1], back[0]
        match[head, :2, :rotated] *= 0.1
        second.dense.weight[:, columns] = back[0].T


def induction_accuracy(model: Any, segments: Ints, *, rng: np.random.Generator) -> Estimate:
    """Share of tokens that a model foresees when a random segment comes a second time, with an interval over segments.

    Parameters
    ----------
    model : causal language model of transformers
    segments : array, shape (n, 2 m)
        Each the same m tokens twice (`assaymark.demo.copying_documents.repeated_segments`). Its first token cannot be foreseen
        the second time; the m - 1 others count.
    """
    import torch

    from assaymark.stats.resampling import bootstrap_ratio

    half = segments.shape[1] // 2
    with torch.inference_mode():
        likeliest = model(input_ids=torch.from_numpy(segments), use_cache=False).logits[:, half:-1].argmax(dim=-1).numpy()
    right = (likeliest == segments[:, half + 1 :]).sum(axis=1).astype(np.float64)
    return bootstrap_ratio(right, np.full(len(segments), half - 1.0), rng=rng)
