"""Shifts the wall clock by CHAOS_SKEW_S seconds in every Python process whose path begins with this directory."""

import os
import time

_BY_S = float(os.environ.get("CHAOS_SKEW_S", "0"))

if _BY_S:
    _time, _time_ns = time.time, time.time_ns
    time.time = lambda: _time() + _BY_S
    time.time_ns = lambda: _time_ns() + int(_BY_S * 1e9)
