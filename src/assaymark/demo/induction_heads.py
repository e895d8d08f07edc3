"""A transformer whose first two layers start near induction circuits, and how well a model copies what comes twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assaymark.result import Estimate

__all__ = ["HEAD", "induction_accuracy", "new_copying_network"]

HEAD = 64  # width of a head
_GAIN = 0.2  # of the heads that write what the words before were; a larger one drowns the words themselves
_PEAK = 6.0  # length of the biases that turn a head to one word before
_SHARP = 2.5  # factor on both sides of the comparison of means, which are shorter than words
_BROAD, _FAR, _SLOW = 3.0, 4, 0.6  # of heads that take a mean: length, words back, below which speed they rotate
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
    """Start the first two layers near induction circuits, and with room for it the next two near a search for equal texts.

    Head h of the first layer looks h + 1 words back and writes what is there into a subspace of its own; head h of the second
    compares the word h back with the words h + 1 back, and copies the word there. Their votes add up.

    A label follows the last words of its text at some distance. With four layers and four subspaces, a head of the third layer
    takes the mean of the words around the fifth back, another of those around the seventh back, into the last two subspaces. A
    head of the fourth compares the first mean, at the place of a label to come, with the second, at the places behind labels
    given, and copies the word before: the label that followed the same words.
    """
    import torch

    layers, width = [layer.attention for layer in model.base_model.layers], model.config.hidden_size
    # Unrelated subspaces: of the present word, of the word before it, of the one before that ...
    back = torch.linalg.qr(torch.randn(width, width))[0].split(HEAD)
    searches = len(layers) >= 4 and len(back) >= 4
    turn = model.base_model.rotary_emb.inv_freq
    for head in range(len(back) - 1 - searches):
        _look_back(layers[0], head, head + 1, turn, _PEAK)
        _read_and_write(layers[0], head, back[0], _GAIN * back[head + 1])
        _compare(layers[1], head, back[head], back[head + 1], rotated=2 * len(turn))
        _read_and_write(layers[1], head, back[0], back[0])
    if searches:
        # The words before are read: the present one is overlaid by now with what the second layer expects next.
        slow = torch.where(turn < _SLOW, turn, 0.0)
        for head, (words, target) in enumerate(((_FAR, back[-2]), (_FAR + 2, back[-1]))):
            _look_back(layers[2], head, words, slow, _BROAD)
            _read_and_write(layers[2], head, back[1], target)
        _compare(layers[3], 0, _SHARP * back[-2], _SHARP * back[-1], rotated=2 * len(turn))
        _read_and_write(layers[3], 0, back[1], back[0])


def _look_back(attention: Any, head: int, words: int, turn: Any, peak: float) -> None:
    """Biases that turn a head to the position some words back, whatever the words; rotations of speed 0 are left out."""
    import torch

    weight, bias = _of_head(attention, head)
    length, rotated = peak * (turn > 0), 2 * len(turn)
    # A query turned back by some positions agrees best with the key that many positions before it.
    bias[0, :rotated] = torch.cat([length * (words * turn).cos(), -length * (words * turn).sin()])
    bias[1, : len(turn)] = length
    weight[:2] *= 0.1


def _compare(attention: Any, head: int, query: Any, key: Any, *, rotated: int) -> None:
    weight, _ = _of_head(attention, head)
    weight[0], weight[1] = query, key
    weight[:2, :rotated] *= 0.1


def _read_and_write(attention: Any, head: int, source: Any, target: Any) -> None:
    weight, _ = _of_head(attention, head)
    weight[2] = source
    attention.dense.weight[:, head * HEAD : (head + 1) * HEAD] = target.T


def _of_head(attention: Any, head: int) -> tuple[Any, Any]:
    """Views of a head's weights and biases of query, key and value, shape (3, HEAD, width) and (3, HEAD)."""
    both = attention.query_key_value
    return both.weight.view(-1, 3, HEAD, both.in_features)[head], both.bias.view(-1, 3, HEAD)[head]


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
