"""The Bytewax flow and its plain twin: pump, region run, record, resume, publish; the composition root."""
