"""Names that the service and the worker agree on. A message is an experiment id and nothing else."""

EXPERIMENTS_QUEUE = "gradflow.experiments"
TRAIN_TASK = "gradflow.train"
