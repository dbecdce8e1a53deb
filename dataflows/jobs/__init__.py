"""Work that is asked for and ends: bootstrap, train, backtest, expire, archive, upgrade, exports."""
