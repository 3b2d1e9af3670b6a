import base64
import os
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netassay.errors import DataError, ExtraMissing
from netassay.formats.documents import END_WORD
from netassay.formats.tokenizers import encoder, tokenize

TEXT = "Don't stop, Zoë...  1_2\tgo!"


def split(text, tokenizer, limit=None):
    return [d.tolist() for d in tokenize([text], tokenizer, limit=limit)]


@pytest.mark.parametrize(
    ("tokenizer", "words"),
    [
        ("wordpunct", ["Don", "'", "t", "stop", ",", "Zoë", "...", "1_2", "go", "!"]),
        ("whitespace", ["Don't", "stop,", "Zoë...", "1_2", "go!"]),
        ("characters", list(TEXT)),
        ("bytes", list(TEXT.encode())),
    ],
)
def test_each_tokenizer_by_hand(tokenizer, words):
    numbers = {word: i for i, word in enumerate(dict.fromkeys(words))}
    given_ids = {"characters": ord, "bytes": int}.get(tokenizer, numbers.get)
    assert split(TEXT, tokenizer) == [[given_ids(word) for word in words]]
    for limit in range(1, 12):
        assert split(TEXT, tokenizer, limit) == [[given_ids(word) for word in words][:limit]]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))), st.none() | st.integers(1, 5))
def test_bytes_and_characters_come_back(texts, limit):
    kept = [text for text in texts if text]
    skipped = Counter()
    in_bytes = tokenize(texts, "bytes", limit=limit, skipped=skipped)
    assert [bytes(d.tolist()) for d in in_bytes] == [text.encode()[:limit] for text in kept]
    assert skipped["without a token"] == len(texts) - len(kept)
    characters = tokenize(texts, "characters", limit=limit)
    assert ["".join(map(chr, d)) for d in characters] == [text[:limit] for text in kept]


def test_unknown_tokenizers_are_refused(tmp_path):
    with pytest.raises(DataError, match="allowed are wordpunct, whitespace, characters, bytes or the path"):
        tokenize(["a"], "words")
    with pytest.raises(DataError, match="cannot be read"):
        tokenize(["a"], tmp_path / "missing.json")


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(ExtraMissing, match=r"netassay\[tokenizers\]"):
        tokenize(["a"], path)


def test_a_tokenizer_file(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"hello": 3, "world": 7, "?": 0}, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.enable_truncation(2)
    made.enable_padding(length=9)
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    found = tokenize(["hello world hello world", "", "moon hello"], path)
    assert [d.tolist() for d in found] == [[3, 7, 3, 7], [0, 3]]
    assert [d.tolist() for d in tokenize(["hello world hello"], path, limit=2)] == [[3, 7]]


@pytest.mark.parametrize("content", ["{}", "", "[1, 2]", '{"model": {"type": "BPE"}}', "no json"])
def test_a_file_that_is_no_tokenizer_is_refused(content, tmp_path):
    pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"tokenizer.json: is not a tokenizer file"):
        tokenize(["a"], path)


@pytest.mark.parametrize("name", ["tokenizer.json", "own.model", "cl100k_base.tiktoken"])
def test_a_tokenizer_of_gigabytes_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, 10 << 30)
    with pytest.raises(DataError, match="raise NETASSAY_LONGEST_LINE"):
        encoder(tmp_path / name)


def test_files_of_tiktoken_ranks(tmp_path):
    pytest.importorskip("tiktoken")
    ranks = [bytes([b]) for b in range(256)] + [b"th", b"the", b" the", b" c", b" ca", b" cat"]
    lines = "\n".join(f"{base64.b64encode(piece).decode()} {rank}" for rank, piece in enumerate(ranks))
    (tmp_path / "cl100k_base.tiktoken").write_text(lines)
    documents = tokenize(["the cat", "the the"], tmp_path / "cl100k_base.tiktoken")
    assert [d.tolist() for d in documents] == [[257, 261], [257, 258]]
    assert documents.words([257, 261, 262]) == ("the", " cat", END_WORD)
    assert documents.text([257, 261]) == "the cat"
    assert [d.tolist() for d in tokenize(["the cat"], tmp_path / "cl100k_base.tiktoken", limit=1)] == [[257]]
    for name, content, said in (
        ("own.tiktoken", lines, "does not say how text is split"),
        ("r50k_base.tiktoken", "what", "is not a file of tiktoken"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=said):
            encoder(tmp_path / name)
    with pytest.raises(DataError, match=r"known are .*gpt2"):
        encoder("tiktoken:gpt9")


def test_models_of_sentencepiece(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    texts = ["the cat sat on the mat", "the dog sat on the cat"] * 50
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "texts.txt"), model_prefix=str(tmp_path / "own"), vocab_size=17, minloglevel=2
    )
    own = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "own.model"))
    documents = tokenize(texts[:2], tmp_path / "own.model")
    assert [d.tolist() for d in documents] == [own.encode(text) for text in texts[:2]]
    assert documents.text(documents[0].tolist()) == texts[0]
    assert documents.words([17]) == (END_WORD,)
    (tmp_path / "none.model").write_bytes(b"no model")
    with pytest.raises(DataError, match="is not a SentencePiece model"):
        encoder(tmp_path / "none.model")
