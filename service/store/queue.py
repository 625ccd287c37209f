"""Names that the API and the worker share. A message contains an experiment id and nothing else."""

EXPERIMENTS_QUEUE = "gradflow.experiments"
TRAIN_TASK = "gradflow.train"
