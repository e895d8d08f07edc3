"""The methods of the image-text audit (Birhane, Prabhu, Kahembwe 2021, and its follow-ups): pure functions on arrays.

| module | question |
|---|---|
| `anatomy`, `key_sketch`, `near_duplicates` | what is in the table, and how often the same thing |
| `slices` | does a term attract unsafe rows (the longitudinal term audit) |
| `retrieval` | what does a concept search bring up, and is the model or the data to blame |
| `caption_swap`, `admission` | does a similarity cut-off prefer harmful captions, and whom does it let in |
| `tags` | does the safety tag find what it is for |
| `hate_content` | how hateful are the texts, and does scale dilute it |
| `downstream` | what does a model trained on it call people |
| `label_space` | are the classes themselves offensive |
| `find_me` | is a person, a site or a picture in the table |
| `first_seen`, `subset` | which rows repeat earlier ones; what changes when rows are dropped |

Nothing here reads files, loads models, or knows a configuration.
"""
