"""The version of what Redis holds.

Version 0 is what gradflow 0.1.0 wrote, without a version. Changes are additive for one version; everything else is a
step of `service.store.migration`. Each script compares the version of the data with this one and refuses another.
"""

SCHEMA_VERSION = 1
