"""What goes into the audit and its cure: inputs and models. Inputs with a planted answer are made in `planting`."""

from __future__ import annotations

from assaymark.audit import InputSpec, ModelRole

__all__ = ["CURE_INPUTS", "CURE_ROLES", "INPUTS", "ROLES"]

RATINGS = "rated images: pictures or embeddings, with a column rating (high = good); optional raters, sd, group, population"

INPUTS = (
    InputSpec("images", "images", "pictures or stored embeddings; optional label (class), text (caption), id"),
    InputSpec("ratings", "images", RATINGS, required=False),
    InputSpec(
        "annotations",
        "table",
        "labels of the images, several an image: id, label; for word clouds of what is annotated on flagged images",
        required=False,
    ),
    InputSpec(
        "flag_list",
        "table",
        "somebody else's flags of the same images, compared by file name: label, index, score, file without a header, as the "
        "authors publish theirs, or a table with a column file",
        required=False,
    ),
    InputSpec("verdicts", "table", "the returned review queue: its columns, with verdict filled in", required=False),
)

ENCODER = ModelRole(
    "encoder",
    "embeds images in the space of the prompts; where it embeds texts too, words can be prompts",
    any_of=("embeds-images", "embeds-texts"),
)

ROLES = (
    ENCODER,
    ModelRole(
        "nsfw",
        "another detector, for what these prompts do not find: sexual content",
        any_of=("scores-images", "scores-embeddings", "reads-columns"),
    ),
    ModelRole("captioner", "says in words what flagged pictures show", any_of=("captions-images",)),
    ModelRole(
        "features",
        "another encoder, whose linear probe and fine-tuning are compared on the rated pictures",
        any_of=("embeds-images", "trains-images"),
        many=True,
    ),
)

CURE_INPUTS = (InputSpec("ratings", "images", RATINGS),)
CURE_ROLES = (ENCODER,)
