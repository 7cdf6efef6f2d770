"""Integrations with trainers and loggers, based on :class:`~gan_metrics.training.Evaluator`."""
