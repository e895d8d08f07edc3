"""Scores of images from the raw boxes of a detector: all boxes at once, beside the usual Python loop over boxes."""

from __future__ import annotations

import numpy as np

from assaymark.models.nudenet import box_scores
from benchmarks import Row, Target, best_seconds

CLASSES = 18
BOXES = {320: 2_100, 640: 8_400}  # of a YOLOv8 detector, by the side of its input


def raw_output(images: int, boxes: int) -> np.ndarray:
    """Geometry and class scores as a detector gives them: nearly all boxes are far below the threshold."""
    rng = np.random.default_rng(0)
    geometry = rng.uniform(10, 300, size=(images, 4, boxes))
    return np.concatenate([geometry, rng.beta(0.05, 4, size=(images, CLASSES, boxes))], axis=1).astype(np.float32)


def loop_over_boxes(output: np.ndarray, *, confidence: float = 0.2) -> np.ndarray:
    """One box after another, as post-processing code in the wild does it (without the suppression that follows)."""
    scores = np.zeros((len(output), CLASSES), dtype=np.float32)
    for row, image in enumerate(output):
        for box in np.transpose(image):
            found = box[4:]
            best = np.argmax(found)
            if found[best] >= confidence:
                scores[row, best] = max(scores[row, best], found[best])
    return scores


def run(quick: bool = False) -> list[Row]:
    """Seconds for a batch of images at both sizes of input, and whether the scores are the same."""
    images = 4 if quick else 64
    rows = []
    for side, boxes in BOXES.items():
        output = raw_output(images, boxes)
        ours = best_seconds(lambda output=output: box_scores(output, classes=CLASSES))
        peer = best_seconds(lambda output=output: loop_over_boxes(output), repeats=1)
        note = f"peer: a Python loop over boxes; {images} images x {boxes:,} boxes x {CLASSES} classes, one thread"
        rows.append(Row(f"detector boxes, input {side}", ours, peer, "s", note, None if quick else Target("times", ">=", 20)))
        same = float((box_scores(output, classes=CLASSES) == loop_over_boxes(output)).sum())
        case = f"same scores, input {side}"
        rows.append(Row(case, same, float(images * CLASSES), "scores", "equal to the last bit", Target("ratio", ">=", 1)))
    return rows
