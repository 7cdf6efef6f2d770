"""Reports: figures and HTML pages."""
