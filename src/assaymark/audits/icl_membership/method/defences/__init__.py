"""Defences of prompts with private demonstrations, by what they change.

| module | recipes |
|---|---|
| `synthetic`, `accountant` | data: demonstrations generated with differential privacy, the only formal guarantee |
| `paraphrase`, `redaction`, `subset`, `replacement` | data: other words, placeholders, a part, public texts, labels alone |
| `instruction` | instruction: three wordings |
| `output`, `consistency` | output: n-gram guard, label alone, scrubbed answers, no stated labels, vote of prompts |
| `combinations` | one recipe for each target, all subsets, what they cost |
| `transforms` | the attacker's answer to filters on words |

Models are the caller's: a recipe that needs one takes a callable. No recipe but `synthetic` gives a guarantee.
"""

from __future__ import annotations
