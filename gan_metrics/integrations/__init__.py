"""What trainers and loggers of others take: an :class:`~gan_metrics.training.Evaluator` in each."""
