"""What circuits and values may be, for the page of options: what comes of them, and tests that show it."""

from __future__ import annotations

_RARE = "programs/test_rare_circuits.py"
_HOSTILE = "programs/test_hostile.py"

INPUTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "OpenQASM 3 text",
        (
            "wherever a circuit may stand; `stdgates.inc` alone can be included, and sizes and definitions "
            "that would grow beyond all measure are refused unread"
        ),
        (
            "programs/test_executor.py::test_open_qasm_wherever_a_circuit_may_stand",
            f"{_HOSTILE}::test_openqasm_that_would_grow_is_refused_unread",
        ),
    ),
    (
        "gates that a circuit defines itself, unitaries, initialisations",
        "on a simulator, up to 6 qubits each; a QPU takes its own instructions only (1517)",
        (
            f"{_RARE}::test_a_simulator_takes_gates_that_a_circuit_defines",
            f"{_HOSTILE}::test_a_gate_of_its_own_does_not_pass_for_a_known_one",
        ),
    ),
    (
        "angles that are functions of parameters",
        "any function that Qiskit knows; where one isn't a finite real number, the values are named",
        (
            "units/test_expressions.py::test_every_operation_gives_what_binding_gives",
            f"{_RARE}::test_angles_may_be_any_function",
            f"{_RARE}::test_an_angle_that_is_no_number_is_named",
        ),
    ),
    (
        "parameters of loops",
        "in angles of their own; mixed with other parameters in one angle they are refused",
        (f"{_RARE}::test_loops_whose_turns_count_and_whose_dont",),
    ),
    (
        "delays",
        "of a number or a stretch; a parameter as length is refused",
        (f"{_RARE}::test_stretches_go_with_every_level", f"{_RARE}::test_what_cannot_be_run_is_named"),
    ),
    (
        "control flow",
        "without twirling, folding and decoupling, which refuse it; input variables and stores are refused",
        (
            "qpus/test_emulator.py::test_loops_switches_and_expressions",
            f"{_RARE}::test_a_circuit_may_end_in_a_branch",
            f"{_RARE}::test_what_cannot_be_run_is_named",
        ),
    ),
    (
        "`rzz` angles",
        "from 0 to pi/2, in branches and loops too (1517)",
        (
            "programs/test_sampler.py::test_fractional_angles_stay_where_they_are_calibrated",
            f"{_RARE}::test_what_cannot_be_run_is_named",
        ),
    ),
    (
        "classical bits without a register, registers of any name, metadata of any content",
        "done; bits without a register are in no result",
        (
            f"{_RARE}::test_bits_without_a_register_are_twirled_like_others",
            f"{_RARE}::test_registers_may_have_any_name",
            f"{_RARE}::test_metadata_come_back_as_they_were",
        ),
    ),
    (
        "observables with projectors",
        "done; corrected for readout errors as sums of at most 4,096 Pauli words",
        ("programs/test_estimator.py::test_what_can_be_observed",),
    ),
    (
        "numbers beyond all measure",
        "refused before anything is made of them (9401)",
        (
            f"{_RARE}::test_sizes_beyond_all_measure_are_refused_at_once",
            f"{_RARE}::test_layers_that_would_fill_the_limit_alone_are_not_learned",
        ),
    ),
    (
        "spoiled payloads",
        "each ends in an error of its job",
        (f"{_HOSTILE}::test_the_corpus",),
    ),
    (
        "`chunk_size` of the executor's items",
        (
            "works in sessions; elsewhere the QPU chooses it, as the client documents it, and the job's log "
            "says so"
        ),
        (
            "programs/test_executor.py::test_chunk_sizes_are_kept_in_a_session_and_told",
            "programs/test_executor.py::test_chunk_sizes_are_the_qpus_own_outside_of_sessions",
        ),
    ),
)
