"""Pictures that nobody made for this: captioned pictograms and, with scikit-image, the photographs that it brings along.

    python examples/train_pictogram_encoder.py FOLDER OUT/encoder     # a small dual encoder (minutes on two cores)
    python examples/real_pictures.py FOLDER OUT                        # pictures, stand-in ratings, and a plan
    assaymark run OUT/plan.yaml

FOLDER holds images_32.npz and captions.jsonl as `train_pictogram_encoder.py` reads them. Nobody rated these pictures: the
ratings are read off their keywords (a weapon, anger, a prohibition: 1.5; love, a party, a flower: 4.5), and the encoder has
seen the keywords. The run shows that real files go through the whole path and what a report then says; it does not show that
anybody finds a stop sign offensive.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

GLOOMY = (
    "angry sad weapon death dead danger sick ill scary evil violence horror rage hate poison explode knife bomb cry "
    "fear scared mad disaster monster devil nervous upset depressed disease frustrated prohibited forbidden no stop "
    "denied warning"
)
CHEERFUL = (
    "happy love celebration party joy smile like congratulations flower nature cute affection fun peace good "
    "romance luck summer sweet"
)
PHOTOGRAPHS = (".png", ".jpg", ".gif", ".tif")

PLAN = """\
name: real-pictures
seed: 0
inputs:
  pictures: {path: pictures}
  ratings: {path: ratings.csv}
  labelled: {path: labelled.csv}
models: {encoder: "hf:encoder"}
steps:
  - {id: prompts, mitigate: image-offensiveness, inputs: {ratings: $ratings}}
  - {id: flags, audit: image-offensiveness, inputs: {images: $pictures, ratings: $ratings}, set: {prompts: $prompts.prompts}}
  - id: scorer
    audit: scorer-mixture
    inputs: {scores: $labelled}
    models: {scorer.prompts: $prompts.prompts}
    set: {zoo: 2, zoo_size: 32}
  - {id: pictures, audit: image-text-dataset, inputs: {pairs: $pictures}, models: {image_unsafe: $scorer.mixture}}
"""


def main(source: Path, out: Path) -> None:
    rows = [json.loads(line) for line in (source / "captions.jsonl").read_text(encoding="utf-8").splitlines()]
    images = np.load(source / "images_32.npz", allow_pickle=False)["images"]
    for row, image in zip(rows, images, strict=True):
        write_pictogram(out / "pictures" / "pictograms" / f"{row['index']:04d}.png", image, row)
    photographs = sum(1 for _ in copy_photographs(out / "pictures" / "photographs"))
    rated = [(f"pictures/pictograms/{row['index']:04d}.png", mood) for row in rows if (mood := mood_of(row["keywords"]))]
    # Weights of a mixture are fitted on pictures that its members have not learnt: prompts get one half, the mixture the other.
    tuning, fitting = rated[0::2], rated[1::2]
    write_table(out / "ratings.csv", ("path", "rating"), [(path, 1.5 if mood == "gloomy" else 4.5) for path, mood in tuning])
    write_table(out / "labelled.csv", ("path", "label"), [(path, int(mood == "gloomy")) for path, mood in fitting])
    (out / "plan.yaml").write_text(PLAN, encoding="utf-8")
    gloomy = sum(mood == "gloomy" for _, mood in rated)
    print(
        f"{len(rows)} pictograms, {photographs} photographs; rated by keyword: {gloomy} gloomy, {len(rated) - gloomy} cheerful"
    )
    if not (out / "encoder" / "config.json").is_file():
        print(f"the plan wants an encoder: python examples/train_pictogram_encoder.py {source} {out / 'encoder'}")


def mood_of(keywords: Sequence[str]) -> str:
    """ "gloomy" or "cheerful" where the keywords hold words of one list only, else nothing."""
    words = {keyword.lower() for keyword in keywords}
    found = [name for name, listed in (("gloomy", GLOOMY), ("cheerful", CHEERFUL)) if words & set(listed.split())]
    return found[0] if len(found) == 1 else ""


def write_pictogram(path: Path, image: np.ndarray, row: Mapping[str, Any]) -> None:
    """A PNG, and its caption in a text file of the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    path.with_suffix(".txt").write_text(", ".join([row["name"], *row["keywords"]]), encoding="utf-8")


def copy_photographs(folder: Path) -> Iterator[Path]:
    """The pictures inside the installed package scikit-image, as they are: greyscale, 16 bit, animated, several pages."""
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((Path(found.origin).parent / "data").iterdir()):
        if path.suffix in PHOTOGRAPHS:
            shutil.copyfile(path, folder / path.name)
            yield folder / path.name


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
