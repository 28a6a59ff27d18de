"""The process that answers requests stays free of the packages that compute."""

import subprocess
import sys

CODE = """
import sys
import ketline.api.server
from ketline.config import Settings
from ketline.qpus.driver import driver_type
for qpu in Settings().qpus:
    driver_type(qpu.driver).device(qpu)
HEAVY = "qiskit", "qiskit_aer", "samplomatic", "qiskit_ibm_runtime", "matplotlib", "scipy"
heavy = set(HEAVY) & set(sys.modules)
assert not heavy, heavy
"""


def test_the_server_imports_nothing_that_computes():
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=60)
