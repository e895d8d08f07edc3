"""What the attacks cost, and the games one by one."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assaymark.audits.icl_membership.study import Condition, Study
from assaymark.result import Artifact, Column, Table
from assaymark.section import Section

__all__ = ["cost_section", "game_section"]

FILE = "games.parquet"


def cost_section(study: Study) -> Section:
    usage = study.usage
    values = {
        "what": ["questions to the service", "calls of the model", "words in prompts", "words in replies"],
        "count": [usage.questions, usage.model_calls, usage.prompt_words, usage.reply_words],
    }
    table = Table.of(
        "cost", "What the attacks took", values, (Column("what", "label", ""), Column("count", "count")),
        description="All games together, answers out of the cache included.",
    )  # fmt: skip
    return Section(tables=[table])


def game_section(study: Study) -> Section:
    """One row for each attacked text and attack, as a file; texts are salted hashes."""
    folder = study.context.artifacts
    if folder is None:
        return Section()
    folder.mkdir(parents=True, exist_ok=True)
    parts = [_games(study, condition) for condition in study.conditions]
    pq.write_table(pa.concat_tables(parts), folder / FILE)
    described = "one row an attacked text and attack: condition, game, demonstrations and text as hashes, score, threshold"
    return Section(artifacts=[Artifact("games", "table", FILE, described, private=True)])


def _games(study: Study, condition: Condition) -> pa.Table:
    ids = np.array(
        [blake2b(f"{key}".encode(), key=study.context.salt[:64], digest_size=8).hexdigest() for key in study.pool.key]
    )
    games = condition.played.games
    trials = condition.played.trials
    shown = [",".join(row) for row in ids[games.demonstrations].tolist()]
    rows = []
    for name, found in condition.judged.items():
        for member, text, scores in ((True, games.member, found.member), (False, games.nonmember, found.nonmember)):
            rows.append(
                pa.table(
                    {
                        "condition": [condition.title] * trials,
                        "game": np.arange(trials),
                        "demonstrations": shown,
                        "attack": [name] * trials,
                        "text": ids[text],
                        "member": [member] * trials,
                        "place": games.position if member else np.full(trials, -1),
                        "score": scores,
                        "threshold": np.full(trials, found.threshold),
                    }
                )
            )
    return pa.concat_tables(rows)
