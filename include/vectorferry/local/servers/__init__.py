"""The real servers of the demo and the tests, all on loopback, and the supervisor that starts and stops them."""
