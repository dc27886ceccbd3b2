"""How torch waits for its threads, set before torch is first imported.

By default idle OpenMP threads spin. As soon as another process wants a core, each small operation then waits for a
thread that is not running: two threads on two busy cores were measured 20 to 70 times slower than one. Sleeping threads
cost some 5 % on an idle machine. A value set by the user stands.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
