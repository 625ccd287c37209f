"""Our own rules: what a layer's gradient is worth at the output, how long that lasts, and what theory says of it."""

from service.analysis.diagnosis.gradflow import gradients, initialization, loss, units, updates
from service.analysis.diagnosis.gradflow.healthy import healthy
from service.analysis.diagnosis.rules import pack

RULES = (*loss.RULES, *gradients.RULES, *units.RULES, *initialization.RULES, *updates.RULES)

gradflow = pack("gradflow", RULES, healthy)
