import math
from collections import Counter
from itertools import chain

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netassay.corpus.context import contexts, contexts_within
from netassay.errors import DataError
from netassay.formats.corpus import read_corpus, read_in_parts
from netassay.formats.documents import END_WORD, Documents
from netassay.formats.tokenizers import tokenize

LINES = ["the cat sat", "the dog sat", "a bird flew", "the cat ran", "the", "a cat"]
TEXTS = st.lists(st.text("abc ", min_size=1).filter(str.strip), min_size=1, max_size=8)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shards" / "b").mkdir(parents=True)
    for name, part in (("1.txt", LINES[:2]), ("2.txt", LINES[2:3]), ("b/0.txt", LINES[3:])):
        (tmp_path / "shards" / name).write_text("\n".join(part))
    (tmp_path / "whole.txt").write_text("\n".join(LINES))
    return tmp_path


def lists(corpus):
    return [d.tolist() for d in corpus.documents]


def test_files_folders_and_patterns_are_one_corpus(folder):
    whole = read_corpus(folder / "whole.txt")
    shards = folder / "shards"
    for source in (
        shards,
        [shards],
        f"{shards}/**/*.txt",
        [shards / "1.txt", shards / "2.txt", shards / "b"],
    ):
        corpus = read_corpus(source)
        assert lists(corpus) == lists(whole)
        assert corpus.words == whole.words == ("the", "cat", "sat", "dog", "a", "bird", "flew", "ran")
    (shards / "_SUCCESS").touch()
    assert read_corpus(shards).skipped == {"hidden file": 1}
    (shards / "README.md").touch()
    with pytest.raises(DataError, match=r"several endings .3 .txt, 1 .md.; give .* pattern"):
        read_corpus(shards)


def test_links_in_a_circle_are_refused(tmp_path):
    (tmp_path / "a.txt").symlink_to("b.txt")
    (tmp_path / "b.txt").symlink_to("a.txt")
    with pytest.raises(DataError, match=r"a\.txt"):
        read_corpus(tmp_path / "a.txt")


def test_sources_that_are_refused(folder):
    (folder / "empty").mkdir()
    np.save(folder / "ids.npy", np.arange(4)[None])
    for source, message in [
        ([folder / "whole.txt", f"{folder}/shards/../whole.txt"], "is given twice"),
        ([], "no file is given"),
        ("", "empty name"),
        (folder / "empty", "a folder without a file"),
        (f"{folder}/*.nothing", "no file matches"),
        ([folder / "whole.txt", folder / "ids.npy"], "whole.txt holds text and .*ids.npy token ids"),
    ]:
        with pytest.raises(DataError, match=message):
            read_corpus(source)


@given(TEXTS, TEXTS, st.sampled_from(["wordpunct", "whitespace", "characters", "bytes"]))
def test_parts_of_two_readers_come_together(one, two, tokenizer):
    whole = tokenize([*one, *two], tokenizer)
    joined = Documents.concatenate([tokenize(one, tokenizer), tokenize(two, tokenizer)])
    assert [d.tolist() for d in joined] == [d.tolist() for d in whole]
    within = contexts_within(iter([tokenize(one, tokenizer), tokenize(two, tokenizer)]), memory=1 << 28)
    assert within.bound_nats == contexts(whole).bound_nats
    assert within.vocabulary == contexts(whole).vocabulary


def test_vocabularies_that_cannot_be_one_are_refused(folder):
    text = [read_in_parts(folder / "whole.txt", tokenizer=name) for name in ("wordpunct", "bytes")]
    with pytest.raises(DataError, match="documents of bytes follow documents of words"):
        contexts_within(chain(*text), memory=1 << 28)
    with pytest.raises(DataError, match="bare token ids follow documents of words"):
        Documents.concatenate([tokenize(["a"], "wordpunct"), Documents.of([[1]])])


@given(TEXTS, st.integers(1, 4))
def test_ids_tell_nothing_of_how_far_was_read(texts, length):
    short = tokenize(texts, "wordpunct", limit=length)
    for limit in (length + 1, None):
        cut = tokenize(texts, "wordpunct", limit=limit).cut(length)
        assert [d.tolist() for d in cut] == [d.tolist() for d in short]
        counted = contexts(tokenize(texts, "wordpunct", limit=limit), length=length).corpus
        assert counted.tokens.tolist() == short.tokens.tolist()
        assert counted.words(counted.tokens.tolist()) == short.words(short.tokens.tolist())


@given(TEXTS, st.sampled_from(["wordpunct", "whitespace", "characters", "bytes"]))
def test_end_tokens_make_the_bound_that_of_whole_documents(texts, tokenizer):
    plain, closed = tokenize(texts, tokenizer), tokenize(texts, tokenizer, add_end=True)
    assert [d.tolist()[:-1] for d in closed] == [d.tolist() for d in plain] or tokenizer in (
        "wordpunct",
        "whitespace",
    )
    assert {closed.words([d[-1]]) for d in closed} == {(END_WORD,)}
    assert [closed.words(d.tolist()[:-1]) for d in closed] == [plain.words(d.tolist()) for d in plain]
    # with ends the bound is the entropy of the documents' own law
    counts = Counter(tuple(d.tolist()) for d in plain).values()
    nats = sum(count * math.log(len(plain) / count) for count in counts)
    assert contexts(closed).bound_nats_with_empty == pytest.approx(nats, rel=1e-12, abs=1e-12)


def test_an_end_counts_for_the_limit():
    closed = tokenize(["a b", "a b c"], "wordpunct", limit=3, add_end=True)
    assert [closed.words(d.tolist()) for d in closed] == [("a", "b", END_WORD), ("a", "b", "c")]


@pytest.mark.parametrize("tokenizer", ["wordpunct", "whitespace", "characters", "bytes"])
def test_words_of_another_corpus_number_this_one(tokenizer, folder):
    corpus = read_corpus(folder / "whole.txt", tokenizer=tokenizer).documents
    ids = np.unique(corpus.tokens)[::-1].tolist()
    given_words = corpus.words(ids)
    again = read_corpus(folder / "shards", tokenizer=tokenizer, words=given_words).documents
    assert [[ids[token] for token in d] for d in again] == [d.tolist() for d in corpus]
    with pytest.raises(DataError, match=r"whole.txt: document \d .from 1. holds .* none of the"):
        read_corpus(folder / "whole.txt", tokenizer=tokenizer, words=given_words[1:])


def test_contexts_in_words(folder):
    found = contexts(read_corpus(folder / "whole.txt").documents).distributions()
    assert found.words(0) == (("the",), {"cat": 2, "dog": 1})
    with pytest.raises(DataError, match="given as token ids"):
        contexts([[1, 2]]).distributions().words(0)


def test_columns_of_shards(tmp_path):
    for number, text in enumerate(LINES):
        pl.DataFrame({"text": [text]}).write_parquet(tmp_path / f"{number}.parquet")
    assert read_corpus(tmp_path).words == ("the", "cat", "sat", "dog", "a", "bird", "flew", "ran")
