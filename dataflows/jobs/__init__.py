"""Batch jobs, which run on request and end: bootstrap, train, backtest, expire, archive, upgrade, exports."""
