"""How much of a made-up stream of posts did a machine write, since when, and does the audit find what was planted?

    python examples/generated_text_prevalence.py            # seconds on a CPU, no network

Two platforms over 30 months. A machine writes nothing until November 2022, then more each month, up to 40 % of the blogs and
5 % of the forum. The detector knows how often people use each word, and errs: what it calls machine-written is not the share.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import assaymark as am
from assaymark.demo.posts import planted_shares, write_posts

DETECTOR = "py:assaymark.audits.generated_text_prevalence.planted:UnigramModel"  # or a language model: hf:gpt2
EVERY = 6


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        truth = write_posts(Path(folder), seed=0)
        result = am.audit(
            "generated-text-prevalence",
            {"posts": Path(folder) / "posts.csv", "labelled": Path(folder) / "pairs.jsonl"},
            models={"detector.words": DETECTOR},
            token_detectors=["log-likelihood", "fast-detectgpt"],
            methods=["cc", "pacc"],
            resamples=300,
            permutations=199,
            texts=0,
            seed=0,
        )
    print(f"of machine texts found    {result['detector.sensitivity']}")
    print(f"of human texts passed     {result['detector.specificity']}\n")
    print("blogs      planted   called   corrected")
    rows = [row for row in result.tables["prevalence"].rows() if row["platform"] == "blogs"]
    for row, share in list(zip(rows, planted_shares("blogs"), strict=True))[EVERY - 1 :: EVERY]:
        interval = f"{row['pacc']:.1%} ({row['pacc_low']:.1%} to {row['pacc_high']:.1%})"
        print(f"{row['period']:<11}{share:>7.1%}{row['cc']:>9.1%}   {interval}")
    print()
    for name in ("prevalence.blogs", "prevalence.forum", "engagement.likes.ratio"):
        print(f"{name:<26}planted {truth[name]:.3g}, found {result[name]}")
    for row in result.tables["changes"].rows():
        if row["platform"] == "blogs":
            print(f"onset on the blogs        planted 2022-12, found {row['onset']} ({row['onset_span']})")


if __name__ == "__main__":
    main()
