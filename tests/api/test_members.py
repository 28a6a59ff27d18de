"""Finding a member of a JSON object without decoding it."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketline.api import members
from ketline.api.members import MalformedJson, member_span

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(
    before=st.dictionaries(st.text().filter(lambda key: key != "params"), _VALUES, max_size=3),
    params=_VALUES,
    after=st.dictionaries(st.text().filter(lambda key: key != "params"), _VALUES, max_size=3),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
)
def test_the_span_is_the_value(before, params, after, indent, ascii_only):
    whole = {**before, "params": params, **{k: v for k, v in after.items() if k not in before}}
    body = json.dumps(whole, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    start, end = member_span(body, b"params")
    assert json.loads(body[start:end]) == params
    assert body[start:end].strip() == body[start:end]


@given(st.dictionaries(st.text().filter(lambda key: key != "params"), _VALUES, max_size=4))
def test_a_missing_member_has_no_span(content):
    assert member_span(json.dumps({"x": {"params": 1}, **content}).encode(), b"params") is None


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:\\ parms1', max_size=60).map(str.encode))
def test_rubbish_is_refused_or_scanned_to_its_end(body):
    try:
        span = member_span(body, b"params")
    except MalformedJson:
        return
    if span is not None:
        assert 0 < span[0] < span[1] < len(body)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b'{"params":{}', b'{"params"}', b'{"params":}', b'{"params":{},}', b'{"a":1 "params":{}}',
        b'{"params":{}} x', b'{"params":{},"params":{}}', b'{"params":"\\"}', b"null",
    ],
)  # fmt: skip
def test_malformed_objects_are_refused(body):
    with pytest.raises(MalformedJson):
        member_span(body, b"params")


def test_a_value_longer_than_the_window_is_found():
    inner = b'{"a":[' + b"1," * 200_000 + b'1],"s":"' + b"x" * 200_000 + b'\\\\"}'
    body = b'{"backend":"b", "params" : ' + inner + b' ,"tags":[]}'
    start, end = member_span(body, b"params")
    assert body[start:end] == inner


@given(params=_VALUES, window=st.integers(3, 40), nesting=st.integers(1, 4))
def test_the_size_of_the_window_does_not_matter(params, window, nesting):
    body = json.dumps({"a": [[]], "params": params, "b": {"c": "]"}}).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members, "_WINDOW", window)
        patch.setattr(members, "_NESTING", nesting)
        start, end = member_span(body, b"params")
    assert json.loads(body[start:end]) == params


@pytest.mark.parametrize(
    "piece",
    [b"[1.0,2.0],", b"[[[[[]]]]],", b'"a",', b'["\\"]","[", "x"],', b"[" * 200 + b"]" * 200 + b",", b"{},"],
)
def test_large_values_of_every_kind_are_found_quickly(piece):
    inner = b"[" + piece * (4_000_000 // len(piece)) + b"0]"
    body = b'{"params":' + inner + b',"tags":[]}'
    begun = time.perf_counter()
    start, end = member_span(body, b"params")
    assert time.perf_counter() - begun < 8
    assert end - start == len(inner)


def test_brackets_without_end_are_refused():
    for body in (b'{"params":' + b"[" * 300_000, b'{"params":' + b"[" * 300_000 + b"]" * 299_999 + b"}"):
        with pytest.raises(MalformedJson):
            member_span(body, b"params")


@pytest.mark.parametrize("depth", [1, 11, 12, 13, 40, 700])
def test_how_deep_a_small_value_is_nested_does_not_matter(depth):
    value = b'[{"]":' * depth + b'"}{"' + b"}]" * depth
    body = b'{"params": ' + value + b', "tags": []}'
    start, end = members.member_span(body, b"params")
    assert body[start:end] == value
