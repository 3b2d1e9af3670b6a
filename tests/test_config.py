import contextlib
import json
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from netassay.config import Config, read
from netassay.errors import ConfigError


class Kettle(Config):
    study: ClassVar[str] = "kettle"

    litres: float = Field(1.5, gt=0, le=10)
    """Volume, in litres."""
    cups: int = Field(4, ge=0)
    """Cups."""
    metal: Literal["copper", "steel"] = "steel"
    """What it is made of."""
    whistle: bool = True
    """Whether it whistles."""


@given(
    litres=st.floats(0, 10, exclude_min=True, allow_subnormal=False),
    cups=st.integers(0, 10**12),
    metal=st.sampled_from(["copper", "steel"]),
    whistle=st.booleans(),
)
def test_json_round_trip_keeps_config_and_digest(litres, cups, metal, whistle):
    config = Kettle(litres=litres, cups=cups, metal=metal, whistle=whistle)
    again = Kettle.from_mapping(json.loads(config.canonical))
    assert again == config
    assert again.digest == config.digest


def test_digest_follows_every_value_and_not_the_order_of_keys():
    digests = {
        Kettle().digest,
        Kettle(cups=5).digest,
        Kettle(litres=1.25).digest,
        Kettle(whistle=False).digest,
    }
    assert len(digests) == 4
    shuffled = Kettle.from_mapping({"whistle": True, "cups": 4, "litres": 1.5, "metal": "steel"})
    assert shuffled.digest == Kettle().digest


def test_an_integer_for_a_number_is_the_same_config():
    assert Kettle(litres=2).digest == Kettle(litres=2.0).digest


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"litre": 2.0}, ["unknown key 'litre'", "did you mean 'litres'?"]),
        ({"self": 2.0}, ["unknown key 'self'"]),
        ({"zzz": 2.0}, ["unknown key 'zzz'", "known: cups, litres, metal, whistle"]),
        ({"litres": 11.0}, ["litres = 11.0", "above 0 to 10"]),
        ({"litres": 0.0}, ["litres = 0.0", "above 0"]),
        ({"litres": float("nan")}, ["litres = nan", "number above 0 to 10"]),
        ({"cups": 2.5}, ["cups = 2.5", "whole number from 0"]),
        ({"cups": "4"}, ["cups = '4'", "whole number from 0"]),
        ({"cups": True}, ["cups = true", "whole number from 0"]),
        ({"metal": "steal"}, ["metal = 'steal'", "copper | steel", "did you mean 'steel'?"]),
        ({"whistle": 1}, ["whistle = 1", "true | false"]),
    ],
)
def test_refusals_name_key_value_range_and_way_out(values, words):
    with pytest.raises(ConfigError) as refused:
        Kettle.from_mapping(values, where="kettle.toml")
    for word in ["kettle.toml", *words]:
        assert word in str(refused.value)


def test_every_wrong_key_is_reported_at_once():
    with pytest.raises(ConfigError) as refused:
        Kettle(cups=-1, litres=-1.0, handle="long")
    assert len(str(refused.value).splitlines()) == 3


def test_frozen():
    with pytest.raises(Exception, match="frozen"):
        Kettle().cups = 3


def test_replace_validates():
    assert Kettle().replace(cups=9).cups == 9
    with pytest.raises(ConfigError, match="cups"):
        Kettle().replace(cups=-9)


def test_explain_tells_every_key():
    rows = {row.key: row for row in Kettle.explain()}
    assert list(rows) == ["litres", "cups", "metal", "whistle"]
    assert rows["litres"] == ("litres", "number above 0 to 10", "1.5", "Volume, in litres.")
    assert rows["metal"].allowed == "copper | steel"


def test_reads_toml_and_json_alike(tmp_path):
    (tmp_path / "a.toml").write_text('litres = 2\nmetal = "copper"\n')
    (tmp_path / "a.json").write_text('{"litres": 2, "metal": "copper"}')
    (tmp_path / "b.toml").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "a.toml").read_bytes())
    one, other, third = (Kettle.from_mapping(read(tmp_path / name)) for name in ("a.toml", "a.json", "b.toml"))
    assert one == other == third == Kettle(litres=2.0, metal="copper")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.toml", b"litres = \n", "line 1"),
        ("a.json", b'{"litres": 2,}', "line 1"),
        ("a.json", b"[1, 2]", "holds a list"),
        ("a.json", b'{"cups": 2, "cups": 3}', "key 'cups' is given twice"),
        ("a.json", b'{"cups": ' + b"1" * 5000 + b"}", "5000 digits"),
        ("a.toml", b"cups = " + b"1" * 5000, "5000 digits"),
        ("a.json", b"[" * 100_000, "nested too deep"),
        ("a.yaml", b"litres: 2", "end in .toml or .json"),
        ("a.toml", b"\xff\xfe", "UTF-8"),
        ("missing.toml", None, "cannot be read"),
    ],
)
def test_unreadable_files_are_refused_by_name(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read(path)
    assert str(path) in str(refused.value)
    assert words in str(refused.value)


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.integers())),
    )
)
def test_any_mapping_gives_a_config_or_a_config_error(values):
    with contextlib.suppress(ConfigError):
        assert isinstance(Kettle.from_mapping(values), Kettle)


def test_very_many_unknown_keys_are_one_short_message(monkeypatch):
    # pydantic takes 20 seconds to make 200,000 errors, so it must not be asked
    monkeypatch.setattr("pydantic.BaseModel.__init__", None)
    with pytest.raises(ConfigError) as refused:
        Kettle.from_mapping({f"key{i}": i for i in range(200_000)})
    assert "200,000 unknown keys, such as 'key0', 'key1', 'key2'" in str(refused.value)
    assert len(str(refused.value)) < 300
