"""Facts come back as they were written, and those of earlier versions as what they meant."""

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netassay.runs.facts import fact_table, fact_words, facts_of

VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.lists(st.text(), max_size=3),
)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_facts_come_back_with_their_types(facts):
    back = facts_of(fact_table(facts), lists=["silent"])
    assert back == facts
    assert [type(value) for value in back.values()] == [type(value) for value in facts.values()]


def test_text_that_looks_like_another_value_stays_text():
    facts = {"a": "yes", "b": "True", "c": "12", "d": "filter_1, filter_2"}
    assert facts_of(fact_table(facts), lists=["d"]) == facts


@pytest.mark.parametrize(("word", "meaning"), [("yes", True), ("True", True), ("no", False), ("False", False)])
def test_truth_in_old_tables(word, meaning):
    assert facts_of(old(simulated=word))["simulated"] is meaning


def test_numbers_and_lists_in_old_tables():
    table = old(peaks="150", share="0.0417", digest="12ab", zero="007", silent="filter_4, filter_5", like="")
    assert facts_of(table, lists=["silent", "like"]) == {
        "peaks": 150, "share": 0.0417, "digest": "12ab", "zero": "007", "silent": ["filter_4", "filter_5"], "like": [],
    }  # fmt: skip


def test_words_of_old_and_new_tables_are_the_same():
    new = fact_table({"simulated": False, "peaks": 150, "share": 1 / 24, "silent": ["a", "b"], "like": []})
    before = old(simulated="no", peaks="150", share="0.04167", silent="a, b", like="none")
    assert fact_words(new).rows() == fact_words(before).rows()


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        fact_table({"share": math.nan})


def old(**facts):
    return pl.DataFrame({"fact": list(facts), "value": list(facts.values())})
