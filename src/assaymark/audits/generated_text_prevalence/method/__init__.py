"""The methods of the prevalence of generated text: pure functions on arrays.

| module | question |
|---|---|
| `token_detectors` | what a language model's token statistics say of a text (likelihood to Binoculars) |
| `perturbation` | is the text more likely than its own perturbations (DetectGPT, NPR) |
| `score_calibration` | from a score to the probability that a machine wrote the text |
| `benchmarking`, `length_matching`, `source_split` | how good a detector is: where, on whom, at equal length, without leaks |
| `words` | how often each side uses each word |

Nothing here reads files, loads models, or knows a configuration.
"""
