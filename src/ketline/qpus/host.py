"""The process that holds one QPU: its main loop and the messages it speaks.

Every message is one JSON object, sent with ``Connection.send_bytes``. The parent starts the process with
``main(connection, spec)`` where ``spec`` is a JSON text::

    {"settings": {…a [[qpus]] table, `QpuSettings.model_dump()`…},
     "device": "/path/device.json" | null}     the latest published device (`Device.write`); null: from settings

From the parent (``do``) and what is answered (``is``). Between two slices of a run (a quarter of a second,
or one shot of a very large circuit) messages are read, so ``stop``, ``health`` and ``describe`` are answered
during a run.

``{"do": "run", "job": ID, "unit": PATH, "outcome": PATH}``
    Take the QPU and run the work unit in the file (`ketline.units.serial`). Answered by

    ``{"is": "locked", "job": ID, "at": T, "handle": H}`` at once (T in seconds since the epoch), then any
    number of ``{"is": "progress", "job": ID, "done": N, "total": N}``, then exactly one of

    - ``{"is": "released", "job": ID, "at": T, "qpu_seconds": S}``: the outcome file is complete
    - ``{"is": "stopped", "job": ID, "at": T, "qpu_seconds": S}``: because of ``stop``; there's no outcome
    - ``{"is": "failed", "job": ID, "at": T, "qpu_seconds": S, "kind": "user" | "system", "code": N,
      "message": …, "solution": …}``: S counts from ``locked``

    A second ``run`` before that answer is a fault of the parent: it is answered by ``failed`` of kind
    ``system`` with ``qpu_seconds`` 0 for the second job, and the first goes on.
``{"do": "adopt", "job": ID, "handle": H, "outcome": PATH, "locked_at": T}``
    Go on with a unit that an earlier process started, for drivers whose machines outlive the process.
    Answered as ``run`` is; a handle that the driver doesn't know (the emulator's never survive) is answered
    by ``{"is": "lost", "job": ID}`` instead, and the job must be run again.
``{"do": "stop", "job": ID}``
    Give the job up; answered by ``stopped``, or by whatever ended the job before. Another job's id: ignored.
``{"do": "calibrate", "key": K, "device": PATH}``
    Calibrate (only between jobs) and write the device as it is then to the file. Answered by
    ``{"is": "calibrated", "key": K, "ok": true, "at": T, "seconds": S}`` or with ``"ok": false, "message": …``.
    It takes ``settings.calibration_seconds``.
``{"do": "health", "key": K}``
    ``{"is": "health", "key": K, "ok": true|false, "message": …, "rss_bytes": N, "job": ID | null}``
``{"do": "describe", "key": K}``
    ``{"is": "description", "key": K, "description": {…}}``
``{"do": "exit"}``
    Stop what runs without an answer, and end the process with status 0. A closed connection means the same.

Right after its start the process sends ``{"is": "ready", "qpu": NAME, "pid": N}``, or
``{"is": "unfit", "message": …}`` and ends with status 2 when the driver or the device can't be used.

The memory that the process may take beyond what it has at its start is ``settings.memory_bytes`` (a limit
of the operating system). A job that needs more fails with code 9303; if the process dies of it (or is
killed), the connection closes without an answer: the parent reports the job as failed with
`ketline.errors.QPU_PROCESS_DIED` (9304) and starts the process anew. The parent may kill the process at any
time, for instance when ``stop`` isn't answered soon enough; files that it was writing don't exist then, for
they are renamed into place when they are complete.
"""
