"""Reference statistics: mean and covariance of features, read, written and merged."""
