"""The cure: silence the units that remember most, or tune the layers that do; memory and accuracy before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from assaymark.audit import AuditInfo, Context, Mitigation
from assaymark.audits.encoder_memorization.config import MemorizingPartsConfig
from assaymark.audits.encoder_memorization.data import CURE_INPUTS, CURE_ROLES
from assaymark.audits.encoder_memorization.measures.changed import ChangedEncoder
from assaymark.audits.encoder_memorization.measures.variants import LabelledPictures, Workshop
from assaymark.audits.encoder_memorization.reading import Points, blocks, flow_of, read_points, sets_of_split
from assaymark.audits.encoder_memorization.report.variants import variant_section
from assaymark.errors import InputError
from assaymark.models.layer_patterns import same_architecture
from assaymark.result import Result
from assaymark.section import assemble

__all__ = ["MemorizingParts"]


class MemorizingParts(Mitigation):
    """Pruning by UnitMem and fine-tuning by LayerMem, beside the same done elsewhere (2409.19069, section 6)."""

    info = AuditInfo(
        id="encoder-memorization",
        title="What an encoder remembers, pruned or tuned",
        question="What does silencing the units that remember most, or tuning such layers, change in memory and accuracy?",
        paper="Wang et al. 2024, NeurIPS, arXiv 2409.19069",
        inputs=CURE_INPUTS,
        models=CURE_ROLES,
        needs=("vision",),
        cost="one pass of the audit and one linear head for each of 7 encoders; a fine-tuning each with method=finetune",
        limits="memory that is not measured may stay; pruned units are silenced, not smaller; one draw stands for random",
    )
    Config = MemorizingPartsConfig

    def run(self, inputs: Mapping[str, Any], context: Context) -> Result:
        config: MemorizingPartsConfig = self.config
        images, split = inputs["images"], inputs.get("split")
        images.require("image", "label")
        source, reference = context.require("encoder"), context.model("reference")
        points = read_points(
            images, None if split is None else sets_of_split(split), config, context,
            candidates=config.unit_points, others=config.unit_points, scored=reference is not None,
        )  # fmt: skip
        own = _labelled(images, points, source, config, context, name="images")
        labelled = {"own": own.pictures} | _second(inputs.get("other"), source, config, context)
        encoder = ChangedEncoder(source, own.examples)
        if reference is not None:
            same_architecture(encoder.layers, reference.layers)
        workshop = Workshop(encoder, reference, images=images, points=points, labelled=labelled, config=config, context=context)
        with context.progress.task("changing the encoder", total=workshop.steps(), unit="encoders") as task:
            found = []
            for variant in workshop.variants():
                found.append(variant)
                task.advance()
        return assemble(
            [variant_section(found, config, context)],
            audit=self.info.id,
            title=f"{self.info.title}: {images.source}",
            flows=(flow_of(points, own.unread),),
            notes=dict.fromkeys((*points.notes, *source.notes)),
        )


class _Read:
    """Labelled pictures of one input, a few of them as pictures, and what could not be read."""

    def __init__(self, pictures: LabelledPictures, examples: list[Any], unread: dict[int, str]) -> None:
        self.pictures, self.examples, self.unread = pictures, examples, unread


def _labelled(
    dataset: Any, points: Points, source: Any, config: MemorizingPartsConfig, context: Context, *, name: str
) -> _Read:
    import torch

    parts, read = [], []
    examples: list[Any] = []
    unread: dict[int, str] = {}
    for block in blocks(dataset, points, size=context.batch_size):
        unread |= block.unread
        if not block.pictures:
            continue
        parts.append(source.raw_pixels(block.pictures))
        read.append(block.positions)
        examples += block.pictures[: max(0, 8 - len(examples))]
    positions = np.concatenate(read) if read else np.zeros(0, np.int64)
    order = np.argsort(points.key[positions])
    order = order[points.label[positions[order]] >= 0]
    if len(order) < 8:
        raise InputError(f"input {name!r}: {len(order)} labelled pictures are too few for a linear head")
    pixels = torch.cat(parts)[torch.from_numpy(order)]
    labels = points.label[positions[order]]
    pictures = LabelledPictures.of(pixels, labels, share=config.train_share, rng=context.rng(f"head {name}"))
    return _Read(pictures, examples, unread)


def _second(dataset: Any, source: Any, config: MemorizingPartsConfig, context: Context) -> dict[str, LabelledPictures]:
    """A second set of labelled pictures, whatever its classes."""
    if dataset is None:
        return {}
    dataset.require("image", "label")
    plain = config.model_copy(update={"set_column": ""})
    points = read_points(dataset, None, plain, context, candidates=0, others=0, scored=False, step="other")
    return {"other": _labelled(dataset, points, source, config, context, name="other").pictures}
