"""The entries of the package's metrics, one module per family. They import no NumPy."""
