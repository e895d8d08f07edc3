"""Words, collocations and contrasts against word-cloud code, the quadratic rule and a count by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from wordcloud.tokenization import unigrams_and_bigrams

from assaymark.audits.image_offensiveness.method import terms, tokens
from benchmarks.image_offensiveness import quadratic_chi_square


def counts_of(**counts: int) -> tokens.TermCounts:
    names = tuple(sorted(counts))
    return tokens.TermCounts(names, np.array([counts[name] for name in names], dtype=np.int64))


def test_captions_are_cleaned_by_the_rule() -> None:
    assert tokens.clean_caption('A picture of <PERSON>, "smiling" (left)... OK') == "a picture of person smiling left ok"
    assert tokens.words_of("The man's hat, don't <person>") == ["the", "man", "hat", "don't", "person"]


def captions(seed: int, n: int = 400) -> list[str]:
    rng = np.random.default_rng(seed)
    words = [f"wo{chr(97 + i)}" for i in range(26)]
    rows = [" ".join(rng.choice(words, 6)) for _ in range(n)]
    return [row + " zub dak" if i % 3 == 0 else row for i, row in enumerate(rows)]


def test_collocations_against_word_cloud_code() -> None:
    text = [" ".join(captions(0))]  # one caption: word-cloud code lets bigrams cross captions
    stop = {"wob"}
    ours = tokens.term_counts(tokens.count_tokens(text, stopwords=stop))
    theirs = unigrams_and_bigrams(text[0].split(), stop, normalize_plurals=False, collocation_threshold=30)
    assert "zub dak" in ours.terms and "wob" not in ours.terms
    assert dict(zip(ours.terms, ours.counts.tolist(), strict=True)) == theirs


def test_bigrams_do_not_cross_captions_and_parts_add_up() -> None:
    assert not tokens.count_tokens(["zub", "dak"]).bigrams
    texts = captions(1)
    whole = tokens.count_tokens(texts)
    parts = tokens.add_counts(tokens.count_tokens(texts[:77]), tokens.count_tokens(texts[77:]))
    assert whole == parts
    assert "zub dak" in tokens.collocations(whole)
    assert tokens.collocations(tokens.count_tokens([])) == ()


def test_paper_rule_by_hand() -> None:
    flagged, reference = counts_of(zub=10, dak=5, fen=2), counts_of(zub=40, dak=4, gul=20)
    found = terms.paper_chi_square(flagged, reference)
    weights = dict(zip(found.terms, found.weight, strict=True))
    assert found.terms[0] == "dak" and weights["dak"] == pytest.approx((0.5 - 0.1) ** 2 / 0.1)
    assert weights["zub"] == 0 and weights["fen"] == 0 and "gul" not in weights  # unseen: expected 100
    seen = terms.paper_chi_square(flagged, reference, use_not_expected=True)
    assert seen.weight[seen.terms.index("fen")] == pytest.approx((0.2 - 0.1) ** 2 / 0.1)


def test_paper_rule_against_list_membership() -> None:
    rng = np.random.default_rng(2)
    words = np.array([f"w{i}" for i in range(400)])
    flagged, reference = (
        tokens.TermCounts(tuple(rng.permutation(words)[:300].tolist()), rng.zipf(1.6, 300).clip(max=1000)) for _ in range(2)
    )
    expected = quadratic_chi_square(flagged, reference)
    found = terms.paper_chi_square(flagged, reference)
    assert set(found.terms) == set(expected)
    np.testing.assert_allclose(found.weight, [expected[term] for term in found.terms], rtol=1e-12)
    assert (np.diff(found.weight) <= 0).all()


def test_log_odds_by_hand() -> None:
    flagged, reference = counts_of(zub=10, dak=90), counts_of(zub=20, dak=900, fen=80)
    found = terms.log_odds_z(flagged, reference, alpha=0.01)
    a = {"zub": 0.3, "dak": 9.9, "fen": 0.8}
    i = found.terms.index("zub")
    one, two = (10 + a["zub"]) / (100 + 11 - 10 - a["zub"]), (20 + a["zub"]) / (1000 + 11 - 20 - a["zub"])
    delta, sd = math.log(one / two), math.sqrt(1 / 10.3 + 1 / 20.3)
    assert found.log_odds_ratio[i] == pytest.approx(delta) and found.z[i] == pytest.approx(delta / sd)
    assert found.limits.low[i] == pytest.approx(delta - 1.959964 * sd, abs=1e-6)
    assert found.p_value[i] == pytest.approx(math.erfc(delta / sd / math.sqrt(2)))
    assert (found.p_adjusted >= found.p_value).all() and (np.diff(found.z) <= 0).all()
    share = terms.chi_square_share(flagged, reference)
    i = share.terms.index("zub")
    o, e = 10.3 / 111, 20.3 / 1011
    assert share.weight[i] == pytest.approx((o - e) ** 2 / e)


def test_empty_sides_have_a_reason_and_no_terms() -> None:
    some, none = counts_of(zub=3, dak=1), counts_of()
    for flagged, reference, name in (
        (none, some, "flagged"),
        (some, none, "reference"),
        (none, none, "flagged and the reference"),
    ):
        for statistic in (terms.paper_chi_square, terms.chi_square_share, terms.log_odds_z):
            found = statistic(flagged, reference)
            assert found.terms == () and name in found.reason
    assert terms.log_odds_z(counts_of(zub=2), counts_of(zub=9)).reason
    assert terms.most_frequent(none).terms == () == terms.infrequent_classes(none).terms
    with pytest.raises(ValueError, match="alpha"):
        terms.log_odds_z(some, some, alpha=0)


def test_one_frequent_word_distorts_the_paper_rule_only() -> None:
    """Frequencies over the largest are no shares: a frequent word in the reference makes every other word look typical."""
    flagged = counts_of(zub=100, dak=100, fen=100)
    reference = counts_of(zub=100, dak=100, fen=100, gul=1000)
    same = counts_of(zub=100, dak=100, fen=100)
    assert terms.paper_chi_square(flagged, same).weight.max() == 0
    paper, share = terms.paper_chi_square(flagged, reference), terms.chi_square_share(flagged, reference)
    assert paper.weight.min() == pytest.approx((1 - 0.1) ** 2 / 0.1)
    assert share.weight.max() < 0.5 * paper.weight.max()


def test_plain_clouds() -> None:
    counts = counts_of(zub=10, dak=40, fen=10, gul=1)
    plain = terms.most_frequent(counts, most=3)
    assert plain.terms == ("dak", "fen", "zub") and plain.weights.tolist() == [1, 0.25, 0.25]
    rare = terms.infrequent_classes(counts)
    assert rare.terms == ("gul", "fen", "zub", "dak") and rare.weights.tolist() == pytest.approx([0.975, 0.75, 0.75, 0])


def test_bad_words_name_the_images_behind_them() -> None:
    texts = ["a zub and a zub", "Zub, dak", "nothing here", "dak fen", "zubber"]
    found = tokens.bad_word_histogram(texts, [4, 4, 5, 6, 7], words={"zub", "dak", "lor"})
    assert found.words == ("dak", "zub") and found.images.tolist() == [2, 1] and found.occurrences.tolist() == [2, 3]
    assert [c.tolist() for c in found.causes] == [[4, 6], [4]] and found.any_image == 2
    assert tokens.bad_word_histogram([], [], words={"zub"}).words == ()
