"""A reembed of a folder that is killed at moments of chance, and what is there afterwards, each in a child of fork."""

SCRIPT = '''
import asyncio, os, random, shutil, signal, sys, threading, time
from openmem import ConfigurationError, Memory
from openmem.adapters.qdrant import local, shard, store
from openmem.embedding.testing import WordEmbedder

scheme, folder, kills, chance = sys.argv[1], sys.argv[2], int(sys.argv[3]), random.Random(int(sys.argv[4]))
OLD, NEW = WordEmbedder(dimension=32), WordEmbedder(dimension=64)
TEXTS = [f"fact {number} of{' tea' * (number % 3)}" for number in range(12)]
store.BATCH = 4
made, used = f"{folder}/made", f"{folder}/used"
engine = local.LocalEngine if scheme == "qdrant+local" else shard.EdgeEngine


def opened(path, embedder):
    return Memory(f"{scheme}:///{path}", embedder=embedder)


def fill():
    with opened(made, OLD) as memory:
        memory.add_many([{"content": text, "user_id": "u", "external_id": text} for text in TEXTS])


def counted(before):
    """Call before(how many steps were taken) at each step that changes anything."""
    steps = [0]

    def step(method):
        async def taken(*arguments):
            before(steps[0])
            steps[0] += 1
            return await method(*arguments)
        return taken

    for name in ("write", "add_vectors", "drop_vectors"):
        setattr(engine, name, step(getattr(engine, name)))
    return steps


def reembed(embed=NEW.embed):
    async def work():
        adapter = opened(used, NEW).adapter
        try:
            return await adapter.reembed(embed)
        finally:
            await adapter.close()
    return asyncio.run(work())


def all_steps():
    steps = counted(lambda step: None)
    assert reembed() == len(TEXTS)
    os.write(tell, str(steps[0]).encode())


def killed(at, delay):
    """Be killed a moment after a step began."""
    def kill():
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGKILL)

    counted(lambda step: threading.Thread(target=kill).start() if step == at else None)
    reembed()
    time.sleep(60)  # the moment may come after the last step


def holds(embedder):
    """Tell whether a store opens with an embedder; then it is whole."""
    with opened(used, embedder) as memory:
        try:
            items = memory.list("u", limit=100).items
        except ConfigurationError:
            return False
        assert sorted(each.external_id for each in items) == sorted(TEXTS)
        assert {each.embedding_model for each in items} == {embedder.model}
        for each in items:
            hits = {hit.memory.id: hit.score for hit in memory.search(each.content, "u", mode="vector", limit=100)}
            assert hits.keys() == {each.id for each in items}
            assert abs(hits[each.id] - 1) < 1e-5
    return True


def look():
    old, new = holds(OLD), holds(NEW)
    assert old is not new
    os.write(tell, b"new" if new else b"old")


def go_on():
    texts = []

    async def embed(some):
        texts.extend(some)
        return await NEW.embed(some)

    assert reembed(embed) == len(TEXTS)
    assert holds(NEW) and not holds(OLD)
    os.write(tell, str(len(texts)).encode())


def child(work, *arguments):
    """Do something in a process of its own: what it told, and how it ended."""
    global tell
    told, tell = os.pipe()
    process = os.fork()
    if not process:
        try:
            work(*arguments)
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    os.close(tell)
    with open(told, "rb") as answer:
        text = answer.read().decode()
    return text, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def sure(work, *arguments):
    text, code = child(work, *arguments)
    assert code == 0, (work.__name__, code)
    return text


sure(fill)
shutil.copytree(made, used)
steps = int(sure(all_steps))
for turn in range(kills):
    shutil.rmtree(used)
    shutil.copytree(made, used)
    at, delay = int((turn + chance.random()) * steps / kills), chance.uniform(0, 0.002)
    assert child(killed, at, delay)[1] == -signal.SIGKILL
    left = sure(look)
    print(f"step {at} of {steps}, {delay:.4f} s:", left, sure(go_on) if left == "old" else "")
'''
"""Takes the scheme, a folder, the number of kills, and a seed; prints a line for each kill that the store survived:
the step, and of which embedding it was left; where of the old one, how many texts were embedded to go on."""
