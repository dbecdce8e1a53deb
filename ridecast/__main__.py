"""`python -m ridecast` is `ridecast`."""

from ridecast.main import main

main()
