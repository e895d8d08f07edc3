"""The methods of the scorer mixture (Al-Shabi, Connie, Teoh 2017): pure functions on arrays.

| module | question |
|---|---|
| `moments`, `least_squares` | what a linear fit needs of its rows, in a form that adds up over shards |
| `weights`, `per_class`, `stacking` | which weights: the paper's least squares, its relatives, the baselines |
| `transforms` | probability, log-odds, or calibrated probability for each network |
| `inference`, `collinearity` | how sure the weights are, and whether single weights mean anything |
| `attribution` | what each network adds to the accuracy |
| `diversity` | do the networks err together |
| `operating` | where to cut, and whom to ask |
| `cascade` | which networks need not be asked |
| `skin` | the skin-colour baseline |
| `splits`, `missing` | rows for fitting and testing; scores that are not there |
| `drift` | has a scorer changed |

Nothing here reads files, loads models, or knows a configuration.
"""
