"""Links: how tasks come to a worker and results go back. One link an address."""
