"""The methods of the image-offensiveness audit (Schramowski and others 2021, 2022): pure functions on arrays.

| module | question |
|---|---|
| `scoring` | how offensive is an image: one dot product with the direction between two prompts |
| `official_decision` | what un-normalised prompts do to the decision |
| `ratings`, `splits` | which rated images are training data, and which of them are held out |
| `tuning`, `prompt_loss`, `optimisers` | the two prompt vectors, tuned in embedding space |
| `ranking` | which natural-language prompt starts best |
| `evaluation`, `label_efficiency` | how right the prompts are, and how many labels that takes |
| `moral_direction` | does the embedding space order images by their rating at all |
| `classes` | in which classes flags concentrate |
| `review` | which images a person looks at, and what the verdicts say about all |
| `tokens`, `terms` | words and collocations of captions; which of them set the flagged ones apart |
| `overlap`, `generated` | what another detector sees; how inappropriate generated images are |

Nothing here reads files, loads models, or knows a configuration. Row 0 of a pair of prompts is the inoffensive side
("positive"), row 1 the offensive one ("negative"); label 1 means offensive.
"""
