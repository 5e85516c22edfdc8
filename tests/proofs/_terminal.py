"""Runs a program on a new terminal, types into it, and exits as the program did. argv[1]: {"argv": [], "keys": [[s, text]]},
with the seconds since the program first wrote something."""
import json, os, pty, select, signal, sys, time

request = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, for itself
        signal.signal(ignored, signal.SIG_DFL)
    os.execvp(request["argv"][0], request["argv"])
keys = None
while True:
    while keys and keys[0][0] <= time.monotonic():
        os.write(terminal, keys.pop(0)[1].encode())
    ready, _, _ = select.select([terminal], [], [], 0.01)
    if not ready:
        continue
    try:
        shown = os.read(terminal, 65536)
    except OSError:  # EIO: the last process on the terminal has ended
        break
    if not shown:
        break
    os.write(1, shown)
    if keys is None:
        keys = [(time.monotonic() + delay, text) for delay, text in request["keys"]]
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
