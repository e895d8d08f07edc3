"""Activations of units, averaged over views and batches, against loops over items and tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from assaymark.models.protocols import Layer
from assaymark.models.unit_activations import UnitAverages, unit_activations
from assaymark.stats.memorization.units import unit_state

MAP = Layer("conv", "convolution", 0, (3, 4, 4), rectified=False)
TOKENS = Layer("mlp", "mlp", 0, (5, 6), rectified=False)


def test_a_unit_is_a_channel_or_a_neuron() -> None:
    output = torch.randn(2, 3, 4, 4)
    found = unit_activations(output, MAP, rectify="relu")
    assert found[1, 2] == pytest.approx(float(output[1, 2].clamp_min(0).mean()))
    kept = unit_activations(output, MAP._replace(rectified=True), rectify="relu")
    assert kept[0, 0] == pytest.approx(float(output[0, 0].mean()))
    tokens = torch.randn(2, 5, 6)
    first = unit_activations(tokens, TOKENS._replace(class_token=True), rectify="abs", cls=True)
    assert torch.equal(first, tokens[:, 0].abs())


def test_tokens_behind_the_end_of_a_text_do_not_count() -> None:
    tokens = torch.rand(2, 5, 6) + 0.1
    tokens[0, 2:] = 0
    found = unit_activations(tokens, TOKENS, rectify="none", padded=True)
    assert torch.allclose(found[0], tokens[0, :2].mean(dim=0)) and torch.allclose(found[1], tokens[1].mean(dim=0))


def test_a_token_whose_units_are_all_negative_was_read_all_the_same() -> None:
    tokens = torch.zeros(1, 5, 6)
    tokens[0, 0], tokens[0, 1] = 2.0, -1.0
    assert unit_activations(tokens, TOKENS, rectify="relu", padded=True).tolist() == [[1.0] * 6]


def test_averages_over_unequal_views_in_batches_are_those_of_a_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    counts, keys = np.array([1, 3, 2, 4]), np.array([9, 4, 7, 1], np.int64)
    views = [torch.randn(count, 3, 4, 4, generator=rng) for count in counts]
    averages = UnitAverages([MAP], rectify="relu", top=2)
    for batch in ([0, 1], [2, 3]):
        rows = np.repeat(np.arange(len(batch)), counts[batch])
        averages.add("conv", torch.cat([views[item] for item in batch]), items=rows, count=len(batch))
        averages.close(keys[batch], views=counts[batch])
    mu = np.stack([view.clamp_min(0).mean(dim=(0, 2, 3)).double().numpy() for view in views])
    expected, found = unit_state(mu, keys, top=2), averages.states["conv"]
    assert found.top == pytest.approx(expected.top, rel=1e-6) and found.owner.tolist() == expected.owner.tolist()
    assert found.total == pytest.approx(expected.total, rel=1e-6) and found.points == 4
