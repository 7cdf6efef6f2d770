"""Results of metrics: values, provenance, text, methods paragraphs and citations."""
