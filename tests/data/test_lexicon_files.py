"""Reading lists: formats, what is left out, names and versions, and what the messages say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assaymark.data.lexicon import (
    PAPER_UNSAFE_TOKENS,
    Lexicon,
    Term,
    load_lexicon,
    load_lexicons,
    paper_unsafe_lexicon,
)
from assaymark.errors import InputError, SchemaError, UnknownName


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_plain_list(tmp_path: Path) -> None:
    path = write(tmp_path / "fr-CA.txt", b"\xef\xbb\xbfun\r\n# note\n\n  deux mots \nun\n\xc3\xa9\x0bt\xc3\xa9\n")
    lexicon = load_lexicon(path)
    assert lexicon.name == "fr-CA"
    assert [term.term for term in lexicon.terms] == ["un", "deux mots", "é\x0bté"]
    assert {(term.language, term.category, term.mode) for term in lexicon.terms} == {("fr-CA", "profanity", "word")}


def test_plain_list_whose_name_is_no_language(tmp_path: Path) -> None:
    assert load_lexicon(write(tmp_path / "our words.txt", "x")).terms == (Term("x", "", "profanity"),)


def test_folder_takes_the_lists_only(tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    for name, content in {"en.txt": "one\ntwo", "tlh.txt": "one", "SOURCE.txt": "from somewhere", "LICENSE": "text"}.items():
        write(folder / name, content)
    lexicon = load_lexicon(folder)
    assert lexicon.name == "lists"
    assert [(term.term, term.language) for term in lexicon.terms] == [("one", "en"), ("two", "en"), ("one", "tlh")]
    assert [part.name for part in load_lexicons([folder, folder / "en.txt"])] == ["lists", "en"]


def test_csv(tmp_path: Path) -> None:
    text = (
        "# from the survey\nTerm,category,mode,exceptions,remark\n"
        'sex,sexual,substring,Essex| Sussex,x\n"hot ",unsafe,SUBSTRING\n nun ,role,,\n,,,\n'
    )
    assert load_lexicon(write(tmp_path / "terms.csv", text)).terms == (
        Term("sex", "", "sexual", "substring", ("Essex", " Sussex")),
        Term("hot ", "", "unsafe", "substring"),
        Term("nun", "", "role"),
    )


@pytest.mark.parametrize(
    ("content", "terms"),
    [
        (["a", "b", "a"], (Term("a"), Term("b"))),
        (
            [{"term": "a", "language": "en", "mode": "substring", "exceptions": ["ab"]}],
            (Term("a", "en", "", "substring", ("ab",)),),
        ),
        ({"kin": ["aunt"], "role": [{"term": "nun"}]}, (Term("aunt", "", "kin"), Term("nun", "", "role"))),
    ],
)
def test_json(tmp_path: Path, content: object, terms: tuple[Term, ...]) -> None:
    assert load_lexicon(write(tmp_path / "x.json", json.dumps(content))).terms == terms


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("en.txt", "# only a note\n\n", InputError, "holds no terms"),
        ("en.txt", "caf\xe9".encode("latin-1"), InputError, r"not UTF-8 \(byte 3\)"),
        ("en.txt", "a".encode("utf-16"), InputError, "not UTF-8"),
        ("x.csv", "word,language\nx,en\n", SchemaError, "no column 'term'; its columns: word, language"),
        ("x.csv", "terms\nx\n", SchemaError, "did you mean 'terms'"),
        ("x.csv", "", SchemaError, "its columns: none"),
        ("x.csv", "term\n", InputError, "holds no terms"),
        ("x.csv", "term,mode\nx,word\ny,fuzzy\n", SchemaError, "row 2: unknown mode 'fuzzy'"),
        ("x.csv", "term,category\n,role\n", SchemaError, "row 1: 'term' is missing"),
        ("x.csv", 'term\n"x\n', SchemaError, "not a well-formed CSV"),
        ("x.json", "{", InputError, r"not valid JSON \(line 1"),
        ("x.json", '"x"', SchemaError, "expected a list"),
        ("x.json", '{"role": {"a": 1}}', SchemaError, "expected a list"),
        ("x.json", "[1]", SchemaError, "entry 1: expected a string or an object with the key 'term', got int"),
        ("x.json", '[{"word": "x"}]', SchemaError, "entry 1: 'term' is missing"),
        ("x.json", '[{"term": 3}]', SchemaError, "not text"),
        ("x.json", '[{"term": "x", "exceptions": "y"}]', SchemaError, "'exceptions' must be a list"),
        ("x.json", "[]", InputError, "holds no terms"),
        ("x.xlsx", "x", UnknownName, r"'\.xlsx'.*x\.xlsx"),
    ],
)
def test_mistakes_say_where_and_what(tmp_path: Path, name: str, content: str | bytes, error: type, message: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(error, match=message) as raised:
        load_lexicon(path)
    assert name in str(raised.value)


def test_missing_file_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no lexicon at .*nowhere\.txt.*identity-en"):
        load_lexicon(tmp_path / "nowhere.txt")
    with pytest.raises(InputError, match="did you mean 'identity-en'"):
        load_lexicon("identity_en")
    write(tmp_path / "README.txt", "x")
    with pytest.raises(InputError, match="no list named by a language code"):
        load_lexicon(tmp_path)


def test_two_lists_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a" / "en.txt", "x"), write(tmp_path / "b" / "en.txt", "y")]
    with pytest.raises(InputError, match="two lexicons are named 'en'"):
        load_lexicons(paths)
    assert len(load_lexicons(paths[0])) == 1


def test_version_follows_content_not_order() -> None:
    one, two = Lexicon.of("x", ["a", "b"]), Lexicon.of("y", ["b", "a", "b"])
    assert one.version == two.version and len(one.version) == 12
    assert len({one.version, Lexicon.of("x", ["a"]).version, Lexicon.of("x", ["a", Term("b", mode="substring")]).version}) == 3


def test_terms_refuse_nonsense() -> None:
    with pytest.raises(InputError, match="empty"):
        Term(" ")
    with pytest.raises(InputError, match="'whole'"):
        Term("x", mode="whole")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'none' holds no terms"):
        Lexicon.of("none", [])


def test_packaged_identity_terms() -> None:
    lexicon = load_lexicon("identity-en")
    axes = {"gender", "ethnicity", "nationality", "religion", "age", "kin", "role"}
    assert {term.category for term in lexicon.terms} == axes
    assert all(term.language == "en" and term.mode == "word" and not term.exceptions for term in lexicon.terms)
    names = {term.term for term in lexicon.terms}
    assert {"Desi", "Latina", "Korean", "aunty", "auntie", "abuela", "maa", "bhabhi", "nun", "CEO", "school girl"} <= names
    folded = [(term.term.casefold(), term.category) for term in lexicon.terms]
    assert len(folded) == len(set(folded))
    assert {term.term for term in lexicon.only(categories=["religion"]).terms} >= {"Sikh", "Muslim"}


@pytest.mark.shared_data
def test_packaged_identity_terms_hold_no_profanity(shared_data: Path) -> None:
    listed = {term.term.casefold() for term in load_lexicon(shared_data / "ldnoobw" / "en.txt").terms}
    assert not listed & {term.term.casefold() for term in load_lexicon("identity-en").terms}


def test_packaged_unsafe_tokens() -> None:
    lexicon = load_lexicon("paper-unsafe")
    assert lexicon == paper_unsafe_lexicon()
    assert tuple(term.term for term in lexicon.terms) == PAPER_UNSAFE_TOKENS
    assert {term.mode for term in lexicon.terms} == {"substring"}
    assert "hot " in PAPER_UNSAFE_TOKENS and " rape " in PAPER_UNSAFE_TOKENS


@pytest.mark.shared_data
def test_real_folder(shared_data: Path) -> None:
    lexicon = load_lexicon(shared_data / "ldnoobw")
    assert len({term.language for term in lexicon.terms}) == 28
    assert len(lexicon.only(languages=["en"])) == 403
