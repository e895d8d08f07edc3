"""SSLMem, LayerMem, agreement of layers, owners, surgery: against naive references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats as scipy_stats
from torch import nn

from assaymark.audits.encoder_memorization.method.alignment import alignment_distances
from assaymark.audits.encoder_memorization.method.consistency import adjacent_agreement, layer_agreement
from assaymark.audits.encoder_memorization.method.layer_choice import select_layers, select_units
from assaymark.audits.encoder_memorization.method.layer_scores import layer_memorization
from assaymark.audits.encoder_memorization.method.owners import owner_tests, units_owned
from assaymark.audits.encoder_memorization.method.surgery import freeze_except, prune_units, replace_layers
from assaymark.stats.memorization.scores import ssl_memorization


def test_distances_of_nearly_equal_directions_keep_their_digits() -> None:
    a = torch.rand(5, 3, 8, 8) + 0.1
    b = a.clone()
    b[:, 0, 0, 0] += 1e-3
    wide = [(x / x.norm()).numpy() for x in a.double().flatten(1)], [(x / x.norm()).numpy() for x in b.double().flatten(1)]
    truth = [np.linalg.norm(x - y) for x, y in zip(*wide, strict=True)]
    found = alignment_distances(a, b).numpy()
    assert found == pytest.approx(truth, rel=2e-3) and found.max() < 3e-4
    assert alignment_distances(a, -a).numpy() == pytest.approx(2.0)
    assert alignment_distances(a, 7 * a).numpy() == pytest.approx(0.0, abs=1e-6)


def test_outputs_without_a_direction_are_undefined() -> None:
    a = torch.ones(3, 4)
    a[0] = 0
    a[1, 2] = torch.nan
    assert torch.isnan(alignment_distances(a, torch.ones(3, 4))).tolist() == [True, True, False]


def test_layers_of_equal_models_remember_nothing() -> None:
    align = np.random.default_rng(0).random((4, 30))
    found = layer_memorization(ssl_memorization(align, align))
    assert found.layermem.tolist() == [0.0] * 4 and np.isnan(found.delta[0]) and found.delta[1:].tolist() == [0.0] * 3


def test_layer_memorization_leaves_out_what_is_undefined() -> None:
    scores = np.array([[0.1, 0.3, np.nan], [0.2, 0.6, 0.1], [np.nan, np.nan, np.nan]])
    found = layer_memorization(scores)
    assert found.layermem[:2] == pytest.approx([0.2, 0.3]) and found.n.tolist() == [2, 3, 0]
    assert found.delta[1] == pytest.approx(0.1) and np.isnan(found.delta[2])
    assert found.error[1] == pytest.approx(scipy_stats.sem(scores[1]))


def test_agreement_of_layers_is_the_overlap_and_kendalls_tau() -> None:
    rng = np.random.default_rng(2)
    first = rng.random(60)
    scores = np.stack([first, first + 0.3 * rng.random(60), rng.random(60), np.ones(60)])
    found = adjacent_agreement(scores, top=20)
    assert [(item.first, item.second) for item in found] == [(0, 1), (1, 2), (2, 3), (0, 3)]
    shared = set(np.argsort(-scores[0])[:20]) & set(np.argsort(-scores[1])[:20])
    assert found[0].shared == len(shared)
    assert found[0].tau == pytest.approx(scipy_stats.kendalltau(scores[0], scores[1]).statistic)
    assert np.isnan(found[2].tau) and layer_agreement(scores, 0, 1, top=500).top == 30


def test_owners_are_counted_and_compared() -> None:
    keys = np.array([5, -3, 9, 2], np.int64)
    owners = np.array([9, 9, 5, 77, 9], np.int64)
    assert units_owned(owners, keys).tolist() == [1, 0, 3, 0]
    raw = np.array([0.5, 0.1, 0.9, 0.0])
    found = owner_tests(raw, keys, unitmem=np.array([0.9, 0.8, 0.4, 0.5, 0.7]), owners=owners, size=1)
    assert found.owning.tolist() == [0.5, 0.9] and found.others.tolist() == [0.1, 0.0]
    assert found.of_most.tolist() == [0.9, 0.8, 0.7] and found.of_least.tolist() == []
    expected = scipy_stats.ttest_ind([0.5, 0.9], [0.1, 0.0], equal_var=False, alternative="greater")
    assert found.scores.p_value == pytest.approx(expected.pvalue)


def test_layers_and_units_are_chosen_by_their_scores() -> None:
    names, scores = ["a", "b", "c", "d"], [np.nan, 0.3, 0.1, 0.2]
    assert select_layers(names, scores, count=2) == ("b", "d")
    assert select_layers(names, scores, count=1, choice="least") == ("c",)
    assert select_layers(names, scores, count=3, choice="last") == ("b", "c", "d")
    assert len(select_layers(names, scores, count=3, choice="random", rng=np.random.default_rng(0))) == 3
    unitmem = [0.1, np.nan, 0.9, 0.5, 0.3]
    assert select_units(unitmem, share=0.5, choice="highest").tolist() == [2, 3]
    assert select_units(unitmem, share=0.25, choice="lowest").tolist() == [0]
    assert 1 not in select_units(unitmem, share=1.0, choice="random")


def normed_network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5), nn.ReLU())
    for norm in (net[1], net[4]):
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
    return net.eval()


def test_a_pruned_unit_is_silent_although_its_norm_adds_a_bias() -> None:
    net, pixels = normed_network(0), torch.rand(2, 3, 9, 9)
    before = net(pixels)
    prune_units(net, "3", [1, 4])
    after = net(pixels)
    assert (after[:, [1, 4]] == 0).all() and before[:, [1, 4]].abs().max() > 0
    assert torch.equal(after[:, [0, 2, 3]], before[:, [0, 2, 3]])


def test_replaced_layers_bring_their_statistics() -> None:
    one, other = normed_network(0), normed_network(1)
    before = {key: value.clone() for key, value in one.state_dict().items()}
    replace_layers(one, other, ["3"])
    for key, value in one.state_dict().items():
        assert torch.equal(value, (other.state_dict() if key.startswith(("3.", "4.")) else before)[key]), key


def test_frozen_layers_do_not_learn_and_keep_their_statistics() -> None:
    net = normed_network(0)
    handles = freeze_except(net, ["3"])
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.train()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    net(torch.rand(4, 3, 9, 9)).square().mean().backward()
    optimiser.step()
    for handle in handles:
        handle.remove()
    changed = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
    assert {"3.weight", "4.weight", "4.running_mean", "4.running_var"} <= changed
    assert all(key.startswith(("3.", "4.")) for key in changed)
