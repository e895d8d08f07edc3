"""ClassMem against its definition, and one unit that is tuned on one point."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from assaymark.audits.encoder_memorization.method.class_units import class_memorization, class_memorization_of, class_state
from assaymark.audits.encoder_memorization.method.surgery import tune_unit
from assaymark.stats.memorization.units import unit_memorization


def test_classes_weigh_alike_or_by_size() -> None:
    by_class = class_memorization(np.array([[4.0], [1], [1]]), [0, 1, 2])
    assert by_class.classmem[0] == pytest.approx(0.6) and by_class.favourite[0] == 0
    mu, labels = np.array([[4.0], [1], [1], [1], [3]]), np.array([0, 1, 1, 1, 2])
    assert class_memorization(mu, labels).classmem[0] == pytest.approx((4 - 2) / (4 + 2))
    assert class_memorization(mu, labels, others="points").classmem[0] == pytest.approx((4 - 1.5) / (4 + 1.5))
    parts = [class_state(mu[rows], labels[rows], classes=3) for rows in (slice(0, 2), slice(2, 5))]
    assert class_memorization_of(parts).classmem == pytest.approx(class_memorization(mu, labels).classmem)
    assert np.isnan(class_memorization(mu[1:4], labels[1:4]).classmem[0])


def test_tuning_one_unit_on_one_point_raises_its_unitmem_alone() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, 6), nn.ReLU())
    nn.init.constant_(net[2].bias, 0.4)  # no unit that is silent for nearly all points
    pixels = torch.rand(80, 12)
    before = unit_memorization(net(pixels).detach().numpy())
    others = {name: value.clone() for name, value in net.state_dict().items()}
    alive = np.flatnonzero(np.isfinite(before.unitmem))
    highest, lowest = alive[np.nanargmax(before.unitmem[alive])], alive[np.nanargmin(before.unitmem[alive])]
    for unit in (int(highest), int(lowest)):
        own = int(before.owner[unit])

        def sharper(module: nn.Module, unit: int = unit, own: int = own) -> torch.Tensor:
            reactions = module(pixels)[:, unit]
            return reactions.mean() - reactions[own]

        tune_unit(net, "2", unit, sharper, steps=5, lr=0.02)
    after = unit_memorization(net(pixels).detach().numpy())
    tuned = [int(highest), int(lowest)]
    assert (after.unitmem[tuned] > before.unitmem[tuned]).all()
    kept = [unit for unit in range(6) if unit not in tuned]
    assert np.array_equal(after.unitmem[kept], before.unitmem[kept], equal_nan=True)
    assert torch.equal(net.state_dict()["0.weight"], others["0.weight"])
