"""The default pack: rules on the reach of each layer, on how long it stays, and on the theoretical prediction.

docs/diagnosis.md explains each rule and its thresholds, and docs/decisions/0013 why they are what they are.
"""

from service.analysis.diagnosis.gradflow import gradients, initialization, loss, units, updates
from service.analysis.diagnosis.gradflow.healthy import healthy
from service.analysis.diagnosis.rules import pack

RULES = (*loss.RULES, *gradients.RULES, *units.RULES, *initialization.RULES, *updates.RULES)

gradflow = pack("gradflow", RULES, healthy)
