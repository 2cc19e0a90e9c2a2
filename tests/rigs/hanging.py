"""Let a service's work loop hang while everything else in its process goes on."""

# A program: stops the main thread of a process, and ends when that thread has died.
HANG = """
import ctypes, os, sys
thread, seize, interrupt, every_child = int(sys.argv[1]), 0x4206, 0x4207, 0x40000000
for request in (seize, interrupt):
    assert ctypes.CDLL(None).ptrace(request, thread, 0, 0) == 0
while os.WIFSTOPPED(os.waitpid(thread, every_child)[1]):
    pass
"""
