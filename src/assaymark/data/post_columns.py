"""Concepts of the input kind "posts": dated texts of people and machines, whatever a platform's export calls its columns.

The table stands apart from `schema.ALIASES`: `title` is no text of a post, `tag` is its topic, `category` no label, and the
columns that the other kinds find must not change with what a platform calls its own.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["POST_ALIASES", "POST_NUMBERS", "post_aliases"]

POST_ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("id", "post_id", "uid", "tweet_id", "status_id", "comment_id", "key"),
    "text": ("text", "body", "selftext", "content", "post", "tweet", "message", "full_text", "answer"),
    "created_at": (
        *("created_at", "created_utc", "created", "date", "datetime", "timestamp", "time"),
        *("published", "published_at", "posted_at"),
    ),
    "platform": ("platform", "social_media_platform", "site", "network"),
    "topic": ("topic", "tag", "subreddit", "category"),
    "likes": ("likes", "favorites", "favourites", "upvotes", "claps", "num_likes", "like_count"),
    "comments": ("comments", "replies", "num_comments", "comment_count"),
    "shares": ("shares", "retweets"),
    "author": ("author_id", "author", "user", "user_id", "username"),
    "followers": ("followers", "follower_count", "followers_count"),
    "label": ("label", "class", "is_ai", "generated"),
    "generator": ("generator", "model", "llm", "source_model"),
    "source_id": ("source_id", "pair_id", "prompt_id"),
    "prompt_style": ("prompt_style",),
    "split": ("split",),
    "language": ("language", "lang"),
}
"""Concept to column names, the preferred first."""

POST_NUMBERS = frozenset({"likes", "comments", "shares", "followers"})
"""Concepts that are float64 (null where missing or not a number); all others are text, the date too (`data.dates` reads it)."""


def post_aliases(columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The aliases that hold for a file with these columns.

    Notes
    -----
    A column `score` is the likes of a post only beside Reddit's `created_utc`; anywhere else it may be a detector's score.
    """
    if "created_utc" in {column.casefold() for column in columns}:
        return POST_ALIASES | {"likes": (*POST_ALIASES["likes"], "score")}
    return POST_ALIASES
