"""What would break a naive server: section H of the wire contract, one test a trap.

Traps that need a longer story are answered by tests elsewhere; `ELSEWHERE` says where.
"""

from __future__ import annotations

import ast
import base64
import json
import os
import threading
import time
from pathlib import Path

import httpx
import pytest
from qiskit_ibm_runtime import SamplerV2
from wire_lab import GRANT, ask, posted, settled, submit, until

from ketline.client import connect

TESTS = Path(__file__).parent.parent
ELSEWHERE = {
    4: "wire/test_connecting.py::test_instance_by_name_or_crn",
    10: "wire/test_jobs.py::test_max_execution_time",
    21: "wire/test_primitives.py::test_executor_sampler",
    40: "wire/test_primitives.py::test_scalar_estimate",
}


def test_every_trap_is_answered():
    here = {
        int(node.name.split("_")[2])
        for node in ast.parse(Path(__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_trap_")
    }
    for place in ELSEWHERE.values():
        file, name = place.split("::")
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, place
    assert sorted(here | set(ELSEWHERE)) == list(range(1, 48))


def test_trap_01_the_word_experimental_keeps_the_port(server, http):
    whole = f"{server.url}/experimental/api/v1/backends"
    assert ask("GET", whole, headers=http.headers).json() == http.get("/backends").json()


def test_trap_02_the_token_is_a_jwt_with_whole_numbers(server):
    head, claims, signature = server.token().split(".")
    read = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert type(read["iat"]) is int
    assert type(read["exp"]) is int
    assert read["exp"] > time.time()
    assert head
    assert signature


def test_trap_03_connecting_says_where_the_token_service_is(server):
    connect(server.url, server.key, instance="lab")
    assert os.environ["IAM_URL"] == server.url


def test_trap_05_every_instance_can_be_chosen(server):
    headers = {"Authorization": f"Bearer {server.token()}"}
    found = ask("POST", f"{server.url}/v3/resources/search?limit=100", json={}, headers=headers).json()[
        "items"
    ]
    assert len(found) >= 4
    for item in found:
        assert item["doc"]["extensions"]
        assert isinstance(item["tags"], list)
        plan = ask(
            "GET", f"{server.url}/catalog/api/v1/{item['service_plan_unique_id']}", headers=headers
        ).json()
        assert plan["metadata"]["pricing"]["type"] in {"free", "trial", "paygo", "paid", "subscription"}
        assert plan["overview_ui"]["en"]["display_name"]


def test_trap_06_no_backend_is_dropped_in_silence(service, http):
    listed = {d["name"] for d in http.get("/backends?include_mocks=True").json()["devices"]}
    assert {b.name for b in service.backends(include_mocks=True)} == listed


def test_trap_07_a_refused_submission_is_a_4xx_and_leaves_no_job(http, bell):
    def count():
        return http.get("/jobs?limit=1").json()["count"]

    before = count()
    whole = json.loads(posted(bell))
    bodies = [b"", b"{", b"[]", posted(bell).encode()[:-20], b"\xff\xfe"]
    bodies += [json.dumps({**whole, key: None}).encode() for key in ("program_id", "backend", "params")]
    bodies += [
        json.dumps({**whole, **change}).encode()
        for change in (
            {"backend": "no_such"}, {"program_id": "no-such"}, {"session_id": "none"}, {"cost": -1},
            {"calibration_id": "none"}, {"tags": ["x"] * 3 + ["y" * 200]},
        )
    ]  # fmt: skip
    for body in bodies:
        answer = http.post("/jobs", content=body)
        assert 400 <= answer.status_code < 500, (body[:80], answer.text)
    assert count() == before


def test_trap_08_answers_have_the_status_and_fields_that_the_client_reads(http, bell):
    answer = http.post("/jobs", content=posted(bell))
    assert answer.json()["backend"] == "ket_manila"
    job_id = answer.json()["id"]
    settled(http, job_id)
    tags = http.put(f"/jobs/{job_id}/tags", json={"tags": ["a"]})
    deleted = http.delete(f"/jobs/{job_id}")
    session = http.post("/sessions", json={"mode": "dedicated", "backend": "ket_manila"}).json()["id"]
    patched = http.patch(f"/sessions/{session}", json={"accepting_jobs": False})
    another = http.post("/sessions", json={"mode": "batch", "backend": "ket_manila"}).json()["id"]
    cancelled = http.delete(f"/sessions/{another}/close")
    slow = submit(http, bell, backend="ket_paced", shots=20_000)
    stopped = http.post(f"/jobs/{slow}/cancel")
    for response in (tags, deleted, patched, cancelled, stopped):
        assert (response.status_code, response.content) == (204, b"")


def test_trap_09_a_job_has_one_of_five_words_and_a_workload_its_own(http, bell):
    job_id = submit(http, bell, backend="ket_paced", shots=20_000)
    http.post(f"/jobs/{job_id}/cancel")
    assert settled(http, job_id)["state"]["status"] == "Cancelled"
    words = {job["state"]["status"] for job in http.get("/jobs").json()["jobs"]}
    assert words <= {"Queued", "Running", "Completed", "Failed", "Cancelled"}
    listed = http.get("/workloads", params={"search": job_id}).json()["workloads"]
    assert [entry["status"] for entry in listed] == ["canceled"]


def test_trap_11_a_failed_job_has_an_answer_for_its_results(http):
    answer = http.post(
        "/jobs", json={"program_id": "sampler", "backend": "ket_manila", "params": {"pubs": "none"}}
    )
    job = settled(http, answer.json()["id"])
    assert job["state"]["status"] == "Failed"
    assert isinstance(job["state"]["reason_code"], int)
    assert http.get(f"/jobs/{job['id']}/results").status_code in {200, 204}


def test_trap_12_no_result_yet_is_204(http, bell):
    job_id = submit(http, bell, backend="ket_paced", shots=20_000)
    assert http.get(f"/jobs/{job_id}/results").status_code == 204
    http.post(f"/jobs/{job_id}/cancel")


def test_trap_13_a_page_beyond_the_end_ends_the_listing(http, bell):
    submit(http, bell)
    page = http.get("/jobs", params={"offset": 100_000, "limit": 20}).json()
    assert (page["jobs"], page["count"], page["offset"]) == ([], 100_000, 100_000)


def test_trap_14_strings_that_look_like_wrappers_come_back_as_they_were(http):
    params = (
        b'{"pubs":[],"note":"{\\"__type__\\":\\"settings\\"}","x":{"__type__":"ndarray","__value__":"?"}}'
    )
    body = b'{"program_id":"sampler","backend":"ket_manila","params":' + params + b"}"
    job_id = http.post("/jobs", content=body).json()["id"]
    text = http.get(f"/jobs/{job_id}").content
    assert params in text
    assert json.loads(text)["program"] == {"id": "sampler"}


@pytest.mark.parametrize("size", [10, 300_000, 1_500_000])
def test_trap_15_params_are_kept_and_streamed_verbatim(http, size):
    params = b'{ "b" : 1.50, "a":[ 1e2 ], "filler": "' + b"x" * size + b'"}'
    body = b'{"program_id":"sampler","params":' + params + b',"backend":"ket_manila"}'
    job_id = http.post("/jobs", content=body).json()["id"]
    whole = http.get(f"/jobs/{job_id}")
    assert whole.content.endswith(b',"params":' + params + b"}")
    assert "params" not in http.get(f"/jobs/{job_id}?exclude_params=true").json()


def test_trap_16_configurations_have_the_listed_name_and_no_unknown_gate_keys(http):
    known = {
        "name", "parameters", "qasm_def", "coupling_map", "latency_map", "conditional", "description",
    }  # fmt: skip
    for device in http.get("/backends?include_mocks=True").json()["devices"]:
        configuration = http.get(f"/backends/{device['name']}/configuration").json()
        assert configuration["backend_name"] == device["name"]
        for gate in configuration["gates"]:
            assert set(gate) <= known


def test_trap_17_an_emulated_qpu_is_no_simulator(http):
    assert http.get("/backends/ket_manila/configuration").json()["simulator"] is False


def test_trap_18_a_missing_limit_is_left_out(server, http, crns):
    for crn in crns.values():
        usage = http.get("/instances/usage", headers={"Service-CRN": crn}).json()
        assert None not in usage.values()
        assert usage["usage_limit_reached"] is False


def test_trap_19_payloads_of_the_real_client_are_taken(http, bell):
    body = json.loads(posted(bell, shots=None))
    body["params"]["options"] = {"default_shots": 40}
    job = settled(http, http.post("/jobs", content=json.dumps(body)).json()["id"])
    assert job["state"]["status"] == "Completed"


def test_trap_20_levels_in_upper_case_and_booleans_in_both_spellings(http, bell):
    job_id = submit(http, bell, log_level="WARNING")
    for spelling in ("true", "True"):
        assert "params" not in http.get(f"/jobs/{job_id}", params={"exclude_params": spelling}).json()
        names = [
            d["name"] for d in http.get("/backends", params={"include_mocks": spelling}).json()["devices"]
        ]
        assert "mock_manila" in names
    assert "mock_manila" not in {d["name"] for d in http.get("/backends").json()["devices"]}


def test_trap_22_role_and_schema_version_come_back_as_posted(service, http, bell):
    from qiskit_ibm_runtime.executor_sampler import Sampler

    job = Sampler(service.backend("ket_manila")).run([bell], shots=10)
    job.result()
    posted_program = http.get(f"/jobs/{job.job_id()}").json()["params"]
    result = http.get(f"/jobs/{job.job_id()}/results").json()
    assert result["schema_version"] == posted_program["schema_version"]
    assert result["semantic_role"] == posted_program["quantum_program"]["semantic_role"] == "sampler_v2"


def test_trap_24_what_precedes_every_run_is_cheap(http):
    for path in ("/backends?include_mocks=True", "/instances/usage", "/backends/ket_manila/status"):
        times = []
        for _ in range(21):
            begun = time.perf_counter()
            assert http.get(path).status_code == 200
            times.append(time.perf_counter() - begun)
        assert sorted(times)[10] < 0.05, path


def test_trap_25_the_mock_twin_is_a_backend_of_its_own(service, http):
    twin = next(
        d for d in http.get("/backends?include_mocks=True").json()["devices"] if d["name"] == "mock_manila"
    )
    assert twin["class"] == "mock"
    assert service.backend("mock_manila").num_qubits == 5


def test_trap_26_refusals_have_both_forms_and_the_trace(http):
    answer = http.get("/jobs/no-such-job")
    body = answer.json()
    assert body["errors"][0]["code"] == body["error"]["code"] == 1291
    assert body["errors"][0]["message"] == body["error"]["message"]
    assert body["errors"][0]["solution"]
    assert answer.headers["uber-trace-id"] == body["trace"]


def test_trap_27_a_private_result_is_read_once_and_a_cancelled_one_never(http, bell):
    private = submit(http, bell, private=True)
    settled(http, private)
    assert http.get(f"/jobs/{private}/results").status_code == 200
    assert http.get(f"/jobs/{private}/results").status_code == 204
    assert "params" not in http.get(f"/jobs/{private}").json()
    cancelled = submit(http, bell, backend="ket_paced", shots=20_000)
    http.post(f"/jobs/{cancelled}/cancel")
    settled(http, cancelled)
    assert http.get(f"/jobs/{cancelled}/results").status_code == 204


def test_trap_28_a_session_shows_what_the_client_needs_and_closes_when_idle(http):
    session = http.post("/sessions", json={"mode": "dedicated", "backend": "ket_manila"}).json()
    assert (session["state"], session["accepting_jobs"]) == ("open", True)
    assert (session["mode"], session["backend_name"]) == ("dedicated", "ket_manila")
    http.patch(f"/sessions/{session['id']}", json={"accepting_jobs": False})
    again = http.get(f"/sessions/{session['id']}").json()
    assert (again["state"], again["accepting_jobs"]) == ("closed", False)
    http.patch(f"/sessions/{session['id']}", json={"accepting_jobs": True})
    assert http.get(f"/sessions/{session['id']}").json()["state"] == "closed"


@pytest.mark.parametrize("version", [None, "2024-01-01", "2025-01-01", "2025-05-01", "2026-04-15"])
def test_trap_29_old_clients_get_names_of_backends(http, version):
    if version is None:
        del http.headers["IBM-API-Version"]
    else:
        http.headers["IBM-API-Version"] = version
    devices = http.get("/backends?include_mocks=True").json()["devices"]
    if version is None or version < "2025-01-01":
        assert set(devices) == {"ket_manila", "ket_paced", "ket_simulator"}
    else:
        assert {d["name"] for d in devices} >= {"ket_manila", "mock_manila"}


def test_trap_30_repeated_keys_are_a_list(http, bell):
    both = submit(http, bell, tags=["trap30-a", "trap30-b"])
    submit(http, bell, tags=["trap30-a"])
    found = http.get("/jobs?tags=trap30-a&tags=trap30-b").json()["jobs"]
    assert [job["id"] for job in found] == [both]
    assert http.get("/jobs?tags[]=trap30-a").status_code == 400


def test_trap_31_foreign_ids_are_404(http, crns, bell):
    job_id = submit(http, bell)
    session_id = http.post("/sessions", json={"mode": "batch", "backend": "ket_manila"}).json()["id"]
    foreign = {"Service-CRN": crns["default"]}
    for method, path in (
        ("GET", f"/jobs/{job_id}"), ("GET", f"/jobs/{job_id}?exclude_params=true"),
        ("GET", f"/jobs/{job_id}/results"), ("GET", f"/jobs/{job_id}/metrics"),
        ("GET", f"/jobs/{job_id}/logs"), ("POST", f"/jobs/{job_id}/cancel"),
        ("DELETE", f"/jobs/{job_id}"), ("GET", f"/sessions/{session_id}"),
        ("DELETE", f"/sessions/{session_id}/close"),
    ):  # fmt: skip
        assert http.request(method, path, headers=foreign).status_code == 404, path
    assert http.put(f"/jobs/{job_id}/tags", json={"tags": []}, headers=foreign).status_code == 404
    closing = http.patch(f"/sessions/{session_id}", json={"accepting_jobs": False}, headers=foreign)
    assert closing.status_code == 404
    assert http.get(f"/sessions/{session_id}").json()["state"] == "open"


def test_trap_32_a_backend_has_one_configuration_in_all_instances(http, crns):
    seen = {
        http.get("/backends/ket_manila/configuration", headers={"Service-CRN": crn}).text
        for crn in crns.values()
    }
    assert len(seen) == 1


def test_trap_33_slow_requests_do_not_keep_others_waiting(server, http, bell):
    """A body that arrives in drops, and questions that are held, beside quick ones."""
    slow = submit(http, bell, backend="ket_paced", shots=20_000)

    def drops():
        for _ in range(10):
            yield b" "
            time.sleep(0.1)
        yield posted(bell).encode()

    with httpx.Client(base_url=http.base_url, headers=http.headers) as other:
        uploading = threading.Thread(target=lambda: other.post("/jobs", content=drops()))
        uploading.start()
        for _ in range(5):
            begun = time.perf_counter()
            assert ask("GET", f"{server.url}/ketline/v1/health").status_code == 200
            assert time.perf_counter() - begun < 1
        uploading.join()
    http.post(f"/jobs/{slow}/cancel")


def test_trap_34_stale_content_types_and_empty_bodies_are_no_matter(http, bell):
    stale = {"Content-Type": "application/json"}
    assert http.get("/jobs?limit=1", headers=stale).status_code == 200
    job_id = submit(http, bell, backend="ket_paced", shots=20_000)
    assert http.post(f"/jobs/{job_id}/cancel", headers=stale).status_code == 204
    again = submit(http, bell, backend="ket_paced", shots=20_000)
    assert http.post(f"/jobs/{again}/cancel", content=b"not json", headers=stale).status_code == 204


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE"])
def test_trap_35_unused_methods_are_refused(http, method):
    answer = http.request(method, "/jobs")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "POST"}


@pytest.mark.parametrize("path", ["/jobs/", "/backends/", "/jobs/x/y/z", "/nothing", "/../../etc/passwd"])
def test_trap_36_unknown_paths_are_json_404s(http, path):
    answer = http.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == 9110


def test_trap_37_times_are_iso_8601_in_utc(http, bell):
    job = settled(http, submit(http, bell))
    times = http.get(f"/jobs/{job['id']}/metrics").json()["timestamps"].values()
    for text in (job["created"], *times):
        assert text[10] == "T"
        assert text.endswith("Z")


def test_trap_38_results_have_a_length_and_no_compression(http, bell):
    job_id = submit(http, bell, shots=2_000)
    settled(http, job_id)
    answer = http.get(f"/jobs/{job_id}/results", headers={"Accept-Encoding": "gzip"})
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "content-encoding" not in answer.headers


def test_trap_39_stricter_clients_find_what_they_check(http):
    qasm = 'OPENQASM 3.0; include "stdgates.inc"; bit[1] c; sx $0; c[0] = measure $0;'
    params = {"pubs": [[qasm]], "options": {}, "version": 2, "support_qiskit": False}
    answer = http.post("/jobs", json={"program_id": "sampler", "backend": "ket_manila", "params": params})
    job = settled(http, answer.json()["id"])
    assert job["state"]["status"] == "Completed", job
    result = http.get(f"/jobs/{job['id']}/results")
    assert result.headers["content-type"].startswith("text/plain")
    assert set(result.json()["results"][0]["data"]["c"]) == {"samples", "num_bits"}
    for device in http.get("/backends").json()["devices"]:
        assert device.get("clops", {"type": "hardware"})["type"] in {"hardware", "virtual"}
        assert isinstance(device.get("processor_type", {}).get("revision", ""), str)


def test_trap_41_a_broken_circuit_takes_nothing_else_with_it(http, bell):
    broken = json.loads(posted(bell))
    circuit = broken["params"]["pubs"][0][0]
    circuit["__value__"] = circuit["__value__"][:-40] + "A" * 40
    ids = [http.post("/jobs", content=json.dumps(broken)).json()["id"] for _ in range(3)]
    for job_id in ids:
        assert settled(http, job_id)["state"]["status"] == "Failed"
    assert settled(http, submit(http, bell))["state"]["status"] == "Completed"


def test_trap_43_the_token_service_answers_while_much_is_submitted(server, http, bell):
    stop = threading.Event()
    body = posted(bell, shots=1)

    def load():
        with httpx.Client(base_url=http.base_url, headers=http.headers) as other:
            while not stop.is_set():
                other.post("/jobs", content=body)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        times = []
        for _ in range(10):
            begun = time.perf_counter()
            ask(
                "POST", f"{server.url}/identity/token", data={"grant_type": GRANT, "apikey": server.key}
            ).raise_for_status()
            times.append(time.perf_counter() - begun)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert max(times) < 2
    until(lambda: http.get("/jobs?pending=true&limit=1").json()["count"] == 0, 60)


def test_trap_44_a_held_answer_is_shorter_than_the_clients_poll(http, bell):
    job_id = submit(http, bell, backend="ket_paced", shots=20_000)
    begun = time.perf_counter()
    first = http.get(f"/jobs/{job_id}?exclude_params=true").json()
    took = time.perf_counter() - begun
    assert first["state"]["status"] in {"Queued", "Running"}
    assert took < 0.5
    http.post(f"/jobs/{job_id}/cancel")
    settled(http, job_id)
    begun = time.perf_counter()
    http.get(f"/jobs/{job_id}?exclude_params=true")
    assert time.perf_counter() - begun < 0.1


def test_trap_45_several_clients_submit_at_once(http, bell):
    body = posted(bell, shots=1)
    ids: list[str] = []

    def work():
        with httpx.Client(base_url=http.base_url, headers=http.headers) as other:
            ids.extend(other.post("/jobs", content=body).json()["id"] for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 40
    assert {settled(http, job_id, 60)["state"]["status"] for job_id in ids} == {"Completed"}


def test_trap_46_the_resource_controller_finds_instances_by_name(server, crns):
    headers = {"Authorization": f"Bearer {server.token()}"}
    url = f"{server.url}/v2/resource_instances"
    found = ask("GET", url, params={"name": "lab"}, headers=headers).json()
    assert found["rows_count"] == 1
    assert found["resources"][0]["crn"] == crns["lab"]
    assert ask("GET", url, params={"name": "none"}, headers=headers).json()["rows_count"] == 0


def test_trap_47_the_catalog_swallows_no_paths_of_the_api(server, http):
    assert http.get("/not-an-endpoint").json()["error"]["code"] == 9110
    assert http.get("/9f0c6a3e-3a6f-4a35-9f57-0c6ac0a3f3b1").json()["error"]["code"] == 9113
    answer = ask("GET", f"{server.url}/catalog/api/v1/jobs", headers=http.headers)
    assert answer.json()["error"]["code"] == 9113


def test_trap_23_a_legacy_noise_model_is_not_wrapped(service, http, bell):
    pytest.importorskip("qiskit_ibm_runtime")
    from qiskit_ibm_runtime.noise_learner import NoiseLearner

    with pytest.warns(DeprecationWarning, match="NoiseLearner"):
        learner = NoiseLearner(service.backend("ket_manila"))
    learner.options.num_randomizations = 4
    learner.options.shots_per_randomization = 16
    learner.options.layer_pair_depths = [0, 1]
    job = learner.run([bell])
    job.result()
    raw = http.get(f"/jobs/{job.job_id()}/results").text
    assert "schema_version" not in raw
    assert "NoiseLearnerResult" not in raw


def test_trap_42_a_wide_twirled_layer_is_simulated_in_seconds(wide_service):
    from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister

    circuit = QuantumCircuit(QuantumRegister(127, "q"), ClassicalRegister(127, "c"))
    for qubit in range(127):
        circuit.rz(0.3, qubit)
        circuit.sx(qubit)
        circuit.rz(0.7, qubit)
    circuit.measure(range(127), range(127))
    result = SamplerV2(wide_service.backend("ket_wide")).run([circuit], shots=100).result(timeout=60)
    assert result[0].data.c.num_bits == 127
