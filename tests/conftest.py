"""One thread for the tests' tiny networks: two busy processes of two threads each on two cores wait
for one another's threads, and take a hundred times as long."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
