"""The pipeline, with Bytewax or in one process: pump, region run, record, resume, publish; the composition root."""
