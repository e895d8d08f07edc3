"""The attacks on in-context learning (Wen and others 2024): pure functions on texts and arrays.

| module | question |
|---|---|
| `games` | which texts are demonstrations, which of them is attacked, and which other text beside it |
| `prompts` | what the operator puts before a conversation, and what each attack says in it |
| `labels`, `inquiry`, `outcomes` | what a reply says: a label, yes or no, nothing that can be scored |
| `words`, `similarity` | how near a reply is to the rest of a text (Repeat) |
| `brainwash` | how many wrong statements it takes until the service says the wrong label |
| `hybrid` | one score from several attacks, learnt on shadow trials |
| `exact` | what the attacks achieve against the scripted service, in closed form |

Nothing here reads files, calls models, or knows a configuration. Larger scores always mean "more likely a demonstration".
"""
