"""Forks while threads work with mem0."""

FORKED_AT_WORK = """
import os, signal, sys, threading, warnings
from openmem import ConfigurationError, Memory
warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of fork beside threads: what is tested here
memory, stop = Memory(sys.argv[1], embedder="test:32"), threading.Event()
memory.add("a fact", "u")
def work(user):
    while not stop.is_set():
        record = memory.add("a fact", user)
        memory.search("fact", user)
        memory.delete(record.id)
threads = [threading.Thread(target=work, args=(f"user {n}",)) for n in range(3)]
for thread in threads:
    thread.start()
for _ in range(int(sys.argv[2])):
    child = os.fork()
    if not child:
        signal.alarm(60)
        try:
            memory.list("u")
        except ConfigurationError as error:
            memory.close()
            os._exit(0 if "another process" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
print(len(memory.list("u").items))
memory.close()
"""
