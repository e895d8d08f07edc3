from __future__ import annotations

import multiprocessing
import pickle
import sqlite3
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from assaymark.store.cache import SCHEMA_VERSION, ModelCache


def keys(n: int, start: int = 0) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(start, start + n)]


def test_answers_come_back_in_order_with_a_mask(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "new folder" / "answers.sqlite")
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    cache.put_many("m", "scores-texts", keys(4), values)
    asked = [keys(1, 3)[0], b"unknown", keys(1, 0)[0], keys(1, 3)[0]]
    answers = cache.get_many("m", "scores-texts", asked)
    assert answers.found.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(answers.values[answers.found], values[[3, 0, 3]])
    assert np.isnan(answers.values[1]).all()


def test_models_and_capabilities_are_kept_apart(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    cache.put_many("m", "embeds-texts", keys(1), np.ones((1, 4), np.float32))
    assert not cache.get_many("other", "embeds-texts", keys(1)).found.any()
    assert not cache.get_many("m", "embeds-images", keys(1)).found.any()
    assert cache.get_many("m", "embeds-images", keys(1)).values.shape == (1, 0)


def test_the_first_answer_stays_and_nan_survives(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    cache.put_many("m", "c", keys(1), np.array([[np.nan, 0.5]], np.float32))
    cache.put_many("m", "c", keys(1), np.array([[1.0, 1.0]], np.float32))
    np.testing.assert_array_equal(cache.get_many("m", "c", keys(1)).values, np.array([[np.nan, 0.5]], np.float32))


def test_reopened_file_still_answers(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    first = ModelCache(path)
    first.put_many("m", "c", keys(2), np.ones((2, 1), np.float32))
    first.close()
    assert ModelCache(path).get_many("m", "c", keys(3)).found.tolist() == [True, True, False]
    copy = pickle.loads(pickle.dumps(first))
    assert copy.get_many("m", "c", keys(2)).found.all()


def test_hundred_thousand_keys_take_well_under_two_seconds(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    names, values = keys(100_000), np.zeros((100_000, 3), np.float32)
    start = time.perf_counter()
    cache.put_many("m", "c", names, values)
    answers = cache.get_many("m", "c", names)
    assert time.perf_counter() - start < 4.0  # 0.5 s alone on the machine; the margin is for a busy one
    assert answers.found.all()


def _fill(path: Path, start: int) -> bool:
    cache = ModelCache(path)
    for offset in range(0, 200, 20):
        cache.put_many("m", "c", keys(20, start + offset), np.full((20, 2), start, np.float32))
    return cache.enabled


def test_processes_may_start_and_write_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert all(pool.starmap(_fill, [(path, start) for start in range(0, 800, 100)]))
    assert ModelCache(path).size().entries == 900


def test_threads_share_a_cache(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    with ThreadPoolExecutor(4) as threads:
        list(
            threads.map(
                lambda start: cache.put_many("m", "c", keys(50, start), np.ones((50, 1), np.float32)), range(0, 400, 50)
            )
        )
    assert cache.get_many("m", "c", keys(400)).found.all()


def test_a_forked_child_opens_its_own_connection(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    cache.put_many("m", "c", keys(1), np.ones((1, 1), np.float32))
    child = multiprocessing.get_context("fork").Process(
        target=lambda: cache.put_many("m", "c", keys(1, 1), np.ones((1, 1), np.float32))
    )
    child.start()
    child.join()
    assert child.exitcode == 0
    assert cache.get_many("m", "c", keys(2)).found.all()


def test_a_full_disk_disables_the_cache_with_one_warning(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    cache.put_many("m", "c", keys(1), np.ones((1, 1), np.float32))
    assert cache._connection is not None
    cache._connection.execute("PRAGMA max_page_count = 10")
    with pytest.warns(RuntimeWarning, match="full.*the run goes on"):
        cache.put_many("m", "c", keys(1000), np.ones((1000, 100), np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put_many("m", "c", keys(5), np.ones((5, 1), np.float32))
        assert not cache.get_many("m", "c", keys(1)).found.any()
        assert cache.size() == (0, 0)
    assert not cache.enabled
    assert ModelCache(cache.path).get_many("m", "c", keys(2)).found.tolist() == [True, False]


def test_a_folder_that_cannot_be_made_disables_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = ModelCache(tmp_path / "file" / "c.sqlite")
    with pytest.warns(RuntimeWarning, match="not used any more"):
        cache.put_many("m", "c", keys(1), np.ones((1, 1), np.float32))


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"my thesis, do not touch" * 100)
    with pytest.warns(RuntimeWarning, match="not a database"):
        assert not ModelCache(path).get_many("m", "c", keys(1)).found.any()
    assert path.read_bytes() == b"my thesis, do not touch" * 100


def test_another_layout_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.warns(RuntimeWarning, match=r"version 2.*delete the file"):
        assert ModelCache(path).size().entries == 0


def test_prune_deletes_the_oldest_first(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    for start in range(0, 100, 10):
        cache.put_many("m", "c", keys(10, start), np.ones((10, 4), np.float32))
    assert cache.size() == (100, 100 * 32)
    assert cache.prune(keep_bytes=30 * 32) == 70
    found = cache.get_many("m", "c", keys(100)).found
    assert found[70:].all()
    assert not found[:70].any()
    assert cache.prune(keep_bytes=30 * 32) == 0


def test_rows_must_match_keys(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 keys"):
        ModelCache(tmp_path / "c.sqlite").put_many("m", "c", keys(2), np.ones((3, 1), np.float32))


def test_texts_come_back_in_order(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    texts = [["a b", "\u00e9\u4e2d"], [], ["lone \ud83d surrogate"]]
    cache.put_texts("m", "captions", keys(3), texts)
    assert cache.get_texts("m", "captions", [*keys(3)[::-1], b"unknown"]) == [*texts[::-1], None]
    assert cache.get_texts("m", "other", keys(1)) == [None]
    assert not cache.get_many("m", "captions", keys(3)).found.any()
    cache.put_texts("m", "captions", keys(1), [["later"]])
    assert cache.get_texts("m", "captions", keys(1)) == [texts[0]]
    with pytest.raises(ValueError, match="2 keys"):
        cache.put_texts("m", "captions", keys(2), [["one"]])


def test_a_cache_from_before_texts_keeps_its_answers(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    cache = ModelCache(path)
    cache.put_many("m", "c", keys(2), np.ones((2, 1), np.float32))
    cache.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE texts")
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()
    later = ModelCache(path)
    assert later.get_many("m", "c", keys(2)).found.all()
    later.put_texts("m", "c", keys(1), [["a"]])
    assert later.get_texts("m", "c", keys(1)) == [["a"]]
    later.close()
    with sqlite3.connect(path) as connection:  # what an Assaymark without texts looks at
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


def test_a_damaged_text_counts_as_absent(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    cache = ModelCache(path)
    cache.put_texts("m", "c", keys(3), [["a"], ["b"], ["c"]])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE texts SET value = ? WHERE key = ?", (b'["a', keys(3)[0]))
        connection.execute("UPDATE texts SET value = ? WHERE key = ?", (b"[1]", keys(3)[1]))
    connection.close()
    assert cache.get_texts("m", "c", keys(3)) == [None, None, ["c"]]


def test_prune_keeps_texts_longest(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "c.sqlite")
    cache.put_texts("m", "c", keys(10), [["abcd"]] * 10)  # 8 bytes of JSON and 16 of key each
    cache.put_many("m", "c", keys(10), np.ones((10, 2), np.float32))  # 24 bytes each
    assert cache.size() == (20, 20 * 24)
    assert cache.prune(keep_bytes=12 * 24) == 8
    assert all(cache.get_texts("m", "c", keys(10)))
    assert cache.get_many("m", "c", keys(10)).found.sum() == 2
    assert cache.prune(keep_bytes=4 * 24) == 8
    assert [said is not None for said in cache.get_texts("m", "c", keys(10))] == [False] * 6 + [True] * 4
    assert cache.size() == (4, 4 * 24)
