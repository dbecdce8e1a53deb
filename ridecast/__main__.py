"""`python -m ridecast` runs the same command as `ridecast`."""

from ridecast.main import main

main()
