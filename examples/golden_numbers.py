"""The published figures of the audit of LAION-400M and its follow-up on scale, computed again from their counts.

python examples/golden_numbers.py
"""

from __future__ import annotations

from assaymark.audits.image_text_dataset.method.hate_content import compare_scale
from assaymark.stats import wilson


def main() -> None:
    # arXiv 2110.01963: of 11,782 rows that name "desi" beside an unsafe token, 164 carry the tag NSFW.
    print("tag recall          ", wilson(164, 11_782))
    # arXiv 2306.13141: hateful, targeted or aggressive texts among samples of LAION-400M and of LAION-2B-en.
    scale = compare_scale(9_533, 3_200_000, 44_081, 12_800_000, total_b=2.32e9)
    print("LAION-400M          ", scale.rate_a)
    print("LAION-2B-en         ", scale.rate_b)
    print(f"delta_CI             {scale.delta_ci:.6f} %")
    print(f"plain increase       {scale.increase:.2f} %")
    print(f"excess rows          {scale.excess:,}")


if __name__ == "__main__":
    main()
