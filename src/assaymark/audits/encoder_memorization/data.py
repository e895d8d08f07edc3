"""What goes into the audit and its cure: pictures, their sets, an encoder and a reference; and planted inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from assaymark.audit import InputSpec, ModelRole, Planting

__all__ = ["CURE_INPUTS", "CURE_ROLES", "INPUTS", "ROLES", "planting"]

IMAGES = InputSpec(
    "images", "images", "pictures: image; with a reference also set (S, C, I or E); optional id, label (class, for ClassMem)"
)
SPLIT = InputSpec("split", "table", "sets in a table of their own: id, set", required=False)
INPUTS = (IMAGES, SPLIT)

REFERENCE = ModelRole(
    "reference",
    "the same training without the candidates (S and I, from the same seed)",
    all_of=("records-activations",),
)
ROLES = (
    ModelRole("encoder", "the encoder that is audited, trained on S and C", all_of=("records-activations",)),
    REFERENCE,
)
CURE_INPUTS = (
    InputSpec("images", "images", "labelled pictures: image, label; optional id, and set where the reference needs it"),
    SPLIT,
    InputSpec("other", "images", "labelled pictures of another kind, to see what is left of the use elsewhere", required=False),
)
CURE_ROLES = (
    ModelRole(
        "encoder",
        "the encoder that is pruned or tuned; its weights must be open",
        all_of=("records-activations", "trains-images"),
        required=True,
    ),
    REFERENCE,
)

SIZES, FULL_SIZES = {"S": 120, "C": 160, "I": 100, "E": 120}, {"S": 1_000, "C": 1_000, "I": 500, "E": 500}
MEMORY = 0.5
OWNERS = 6


def planting(seed: int, folder: Path, *, null: bool = False, full: bool = False) -> Planting:
    """Marked pictures of four sets, and two scripted encoders that turn atypical pictures further unless they saw them.

    A null planting has encoders that remember nothing, and units that nobody owns.
    """
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    from assaymark.models.fake_encoder import marked_facts, marked_picture

    rng = np.random.default_rng([seed, 0x14])
    sizes = FULL_SIZES if full else SIZES
    numbers = np.concatenate([_drawn(rng, place, size) for place, size in enumerate(sizes.values())])
    facts = marked_facts(numbers)
    contents = []
    for number in numbers.tolist():
        stream = io.BytesIO()
        marked_picture(number).save(stream, "PNG")
        contents.append(stream.getvalue())
    path = folder / "pictures.parquet"
    columns = {
        "id": [f"p{number}" for number in numbers],
        "image": pa.array(contents, pa.large_binary()),
        "set": [list(sizes)[place] for place in facts.sets],
        "label": [f"class {label}" for label in facts.labels],
    }
    pq.write_table(pa.table(columns).take(rng.permutation(len(numbers))), path)
    trained = numbers[facts.sets < 2]
    owners = [] if null else rng.choice(trained, OWNERS, replace=False).tolist()
    memory = 0.0 if null else MEMORY
    shared = f"memory={memory}&owners={'|'.join(map(str, owners))}"
    settings = {"augmentation": "crop-flip", "norm": "bound", "n_views": 6, "resamples": 500, "group_size": 20, "overlap": 30}
    return Planting(
        inputs={"images": path},
        truth={} if null else _truth(trained, owners),
        settings=settings,
        models={
            "encoder": f"fake:memorizing-encoder?seen=SC&seed=1&{shared}",
            "reference": f"fake:memorizing-encoder?seen=SI&seed=2&{shared}",
        },
        null=null,
    )


def _drawn(rng: np.random.Generator, place: int, size: int) -> np.ndarray:
    """Numbers of pictures of one set, half of them atypical."""
    from assaymark.models.fake_encoder import NUMBERS, marked_facts

    numbers = rng.permutation(NUMBERS // 4) * 4 + place
    atypical = marked_facts(numbers).atypical
    return np.concatenate([numbers[atypical][: size // 2], numbers[~atypical][: size - size // 2]])


def _truth(trained: np.ndarray, owners: list[int]) -> dict[str, float]:
    """Half of the pictures are atypical; an unseen one turns further, by an angle that each layer shows a part of."""
    from assaymark.models.fake_encoder import ANGLE, DEPTHS, FakeMemorizingEncoder, expected_alignment
    from assaymark.models.spec import parse_spec

    expected = {
        name: 0.5 * float(np.diff(expected_alignment([ANGLE, ANGLE + depth * MEMORY]))[0]) for name, depth in DEPTHS.items()
    }
    whole = expected["representation"]
    kinds = {kind: [value for name, value in expected.items() if name.endswith(kind)] for kind in ("attention", "mlp")}
    spec = f"fake:memorizing-encoder?owners={'|'.join(map(str, owners))}"
    stem = FakeMemorizingEncoder(parse_spec(spec)).units(trained).astype(float)
    largest = stem.max(axis=0)
    rest = (stem.sum(axis=0) - largest) / (len(stem) - 1)
    alive = largest > 0
    contrast = float(np.mean(kinds["mlp"]) - np.mean(kinds["attention"])) / 2
    return {
        "sslmem.candidates": whole,
        "sslmem.shared": 0.0,
        "sslmem.independent": -whole,
        "sslmem.external": 0.0,
        "sslmem.calibrated": whole,
        "sslmem.excess_over_shared": whole,
        "layermem.stem": 0.0,
        **{f"layermem.{name}": value / 2 for name, value in expected.items()},
        **{f"layermem_calibrated.{name}": value / 2 for name, value in expected.items()},
        "layermem.kind.mlp_minus_attention": contrast,
        "layermem_calibrated.kind.mlp_minus_attention": contrast,
        "unitmem.stem": float(((largest - rest)[alive] / (largest + rest)[alive]).mean()),
    }
