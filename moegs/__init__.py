"""Mixture of Experts for Dynamic Gaussian Splatting."""

import os
import sys

TORCH_CAME_FIRST = "torch" in sys.modules or "numba" in sys.modules
"""Whether the two settings below came too late."""

# Two spinning thread pools (torch's and numba's) cost a small machine six to ten times: let both sleep while they wait.
# It counts only before torch and numba are imported; a value that the user has set stays.
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"
