from __future__ import annotations

import numpy as np
import pytest

from assaymark.errors import ModelError
from assaymark.models.layer_patterns import block_outputs, matching_layers, same_architecture
from assaymark.models.layers import Layer

CNN = (
    Layer("prep.conv", "convolution", None, (4, 8, 8), True),
    Layer("pool", "pooling", None, (4, 4, 4), True),
    Layer("layer1.conv", "convolution", 0, (8, 4, 4), False),
    Layer("layer1", "residual", 0, (8, 4, 4), True),
    Layer("representation", "representation", None, (8,), True),
)
VIT = tuple(
    Layer(f"blocks.{block}.{name}", kind, block, (5, width), False, True)
    for block in range(2)
    for name, kind, width in (("attention", "attention", 6), ("mlp.hidden", "mlp", 24), ("mlp", "mlp", 6))
)


@pytest.mark.parametrize(
    ("layers", "patterns", "rows"),
    [
        (CNN, ["all"], [0, 1, 2, 3, 4]),
        (CNN, ["convolution"], [0, 2]),
        (CNN, ["representation", "convolution", "prep*"], [0, 2, 4]),  # in the order of the network, each once
        (CNN, ["layer1"], [3]),
        (CNN, ["layer1*"], [2, 3]),
        (CNN, ["block"], [3]),
        (VIT, ["attention"], [0, 3]),
        (VIT, ["mlp"], [2, 5]),
        (VIT, ["hidden"], [1, 4]),
        (VIT, ["block"], [2, 5]),
        (VIT, ["blocks.1.*"], [3, 4, 5]),
        (VIT, ["blocks.[0].mlp"], [2]),
        (CNN, [], []),
    ],
)
def test_patterns(layers: tuple[Layer, ...], patterns: list[str], rows: list[int]) -> None:
    assert matching_layers(layers, patterns) == tuple(layers[row] for row in rows)


@pytest.mark.parametrize(
    ("pattern", "nearest"),
    [("convolutions", "'convolution'"), ("layr1.conv", "'layer1.conv'"), ("pools", "'pool'"), ("xyz", "known: all, block, ")],
)
def test_a_pattern_that_fits_nothing_names_the_nearest(pattern: str, nearest: str) -> None:
    with pytest.raises(ModelError, match=f"unknown layer '{pattern}'.*{nearest}"):
        matching_layers(CNN, ["all", pattern])


def test_blocks_hand_on_their_last_layer() -> None:
    assert block_outputs(VIT) == (VIT[2], VIT[5])
    assert block_outputs(CNN) == (CNN[3],)


def test_the_first_difference_of_two_architectures_is_named() -> None:
    same_architecture(CNN, CNN)
    wider = (*CNN[:2], CNN[2]._replace(shape=(16, 4, 4)), *CNN[3:])
    with pytest.raises(
        ModelError, match=r"shape of layer layer1\.conv is \(8, 4, 4\) in the first and \(16, 4, 4\) in the second"
    ):
        same_architecture(CNN, wider)
    with pytest.raises(ModelError, match=r"layer 1 is prep\.conv in the first and blocks\.0\.attention in the second"):
        same_architecture(CNN, VIT)
    with pytest.raises(ModelError, match="the first has 5 layers and the second 4"):
        same_architecture(CNN, CNN[:4])
    with pytest.raises(ModelError, match="rectified of layer pool is True in the first and False"):
        same_architecture(CNN, (CNN[0], CNN[1]._replace(rectified=False)))


def test_reductions_equal_numpy() -> None:
    torch = pytest.importorskip("torch")
    from assaymark.models.layer_reductions import mean_over_places, read_tokens, reduced_output

    rng = np.random.default_rng(0)
    maps, tokens, vectors = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 4, 5, 6), (3, 7, 4), (3, 4)))
    texts = tokens.copy()
    for row, length in enumerate((7, 2, 0)):
        texts[row, length:] = 0
    read = read_tokens(torch.from_numpy(texts))
    assert read.tolist() == [[7], [2], [0]]
    cases = [
        (reduced_output(torch.from_numpy(maps), CNN[0]), maps.mean((2, 3))),
        (reduced_output(torch.from_numpy(maps), CNN[0], cls=True), maps.mean((2, 3))),
        (reduced_output(torch.from_numpy(tokens), VIT[0]), tokens.mean(1)),
        (reduced_output(torch.from_numpy(tokens), VIT[0], cls=True), tokens[:, 0]),
        (mean_over_places(torch.from_numpy(texts), read=read), np.stack([texts[0].mean(0), texts[1, :2].mean(0), np.zeros(4)])),
        (mean_over_places(torch.from_numpy(vectors)), vectors),
    ]
    for found, expected in cases:
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert [layer.units for layer in (CNN[0], VIT[1], CNN[4])] == [4, 24, 8]
