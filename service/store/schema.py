"""The version of what Redis holds.

Version 0 is what gradflow 0.1.0 wrote, without a version. Changes are additive for one version; everything else is a
step of `service.store.migration`. Each script compares the version of the data with this one and refuses another.
"""

SCHEMA_VERSION = 1

# Trainers of version 0 know no schema versions, so nothing refuses them: only their heartbeats show that they live.
VERSION_0_TRAINERS = "trainers"  # the key of their heartbeats, after the prefix
HEARTBEAT_AGE_S = 60.0  # a trainer of version 0 that has sent no heartbeat for so long is stopped
HEARTBEAT_LASTS_S = 10.0  # how far in the future a trainer of version 0 announced its end of life
