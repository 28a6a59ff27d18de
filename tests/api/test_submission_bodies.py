"""What a submission's body becomes."""

import json

import pytest

from ketline.api.submissions import job_request
from ketline.errors import INVALID_REQUEST, TAG_TOO_LONG, TOO_MANY_TAGS, KetlineError

_LEAST = {"program_id": "sampler", "backend": "ket_x", "params": {}}


def _refused(content, kind=INVALID_REQUEST):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(KetlineError) as caught:
        job_request(body, check_params=True)
    assert caught.value.kind is kind
    return caught.value.message


@pytest.mark.parametrize("check_params", [True, False])
def test_params_are_kept_byte_for_byte(check_params):
    params = b'{ "b" : 1.0e+0, "a":\t[1.10,  "\\u00e9\\/"],"a":2 }'
    body = b' {"backend":"b","params" : ' + params + b' ,"program_id":"sampler"} '
    assert job_request(body, check_params=check_params).params == params


def test_every_field_arrives():
    content = {
        **_LEAST, "log_level": "WARNING", "runtime": "", "session_id": "s1",
        "tags": ["a", "b", "a"], "cost": 300, "private": True, "calibration_id": "slow",
    }  # fmt: skip
    request = job_request(json.dumps(content).encode(), check_params=True)
    assert (request.program, request.backend, request.log_level) == ("sampler", "ket_x", "warning")
    assert (request.workload_id, request.tags) == ("s1", ("a", "b"))
    assert (request.cost_seconds, request.private, request.calibration_id) == (300.0, True, "slow")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"program_id": None}, "program_id"),
        ({"program_id": 3}, "program_id"),
        ({"backend": ""}, "backend"),
        ({"params": None}, "params"),
        ({"params": []}, "params"),
        ({"params": "{}"}, "params"),
        ({"log_level": "LOUD"}, "log_level"),
        ({"session_id": "x" * 37}, "session_id"),
        ({"session_id": 5}, "session_id"),
        ({"tags": "a"}, "tags"),
        ({"tags": [1]}, "tags"),
        ({"cost": -1}, "cost"),
        ({"cost": True}, "cost"),
        ({"cost": "10"}, "cost"),
        ({"cost": 1e300}, "cost"),
        ({"private": 1}, "private"),
        ({"remote_storage": {}}, "remote_storage"),
        ({"start_session": True}, "start_session"),
        ({"runtime": "ns/image:1"}, "runtime"),
        ({"backend": "a\x00b"}, "backend"),
    ],
)
def test_a_wrong_field_is_refused_by_name(change, field):
    assert _refused({**_LEAST, **change}).startswith(f"{field}: ")


@pytest.mark.parametrize("missing", ["program_id", "backend", "params"])
def test_a_missing_field_is_refused_by_name(missing):
    content = {key: value for key, value in _LEAST.items() if key != missing}
    assert _refused(content) == f"{missing}: it is missing"


def test_tags_are_limited():
    _refused({**_LEAST, "tags": [str(n) for n in range(9)]}, TOO_MANY_TAGS)
    _refused({**_LEAST, "tags": ["x" * 87]}, TAG_TOO_LONG)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b'"x"', b"{", b'{"program_id":"s","backend":"b","params":{"a":nan}}',
        b'{"program_id":"s","backend":"b","params":{}}{}',
        b'{"program_id":"s","backend":"b","params":{},"params":{}}',
        b'{"program_id":"s","backend":"b","params":{},"par\\u0061ms":{}}',
        b'\xff{"program_id":"s"}', b'{"program_id":"\xff","backend":"b","params":{}}',
    ],
)  # fmt: skip
def test_what_is_not_one_json_object_is_refused(body):
    _refused(body)
