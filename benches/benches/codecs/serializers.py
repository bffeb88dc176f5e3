"""EasyNetwork's serializers, on what it is sent: python serializers.py.

Reads lines of JSON: first the documents, {"documents": [..]}, then one for each measurement, {"case": ..,
"document": .., "times": ..}. Answers each of these with the nanoseconds of processor time that so many calls
took.
"""

import json
import pickle
import sys
import time
from collections import deque

import cbor2
import msgpack
from easynetwork.serializers import (
    CBORSerializer,
    JSONSerializer,
    MessagePackSerializer,
    PickleSerializer,
    StringLineSerializer,
)


def compact(document):
    return json.dumps(document, separators=(",", ":")).encode()


def end_line(document):
    return compact(document) + b"\n"


# By the first word of a case: the serializer, and the bytes of a document.
FORMS = {
    "json": (JSONSerializer(), compact),
    "json-lines": (JSONSerializer(use_lines=True), end_line),
    "json-documents": (JSONSerializer(use_lines=False), end_line),
    "msgpack": (MessagePackSerializer(), msgpack.packb),
    "cbor": (CBORSerializer(), cbor2.dumps),
    "pickle": (PickleSerializer(), pickle.dumps),
    "line": (StringLineSerializer(), lambda text: text.encode() + b"\n"),
}


def all_at_once(serializer, data):
    consumer = serializer.incremental_deserialize()
    next(consumer)
    try:
        consumer.send(data)
    except StopIteration as end:
        return end.value[0]
    raise RuntimeError("there was more to come")


def operation(case, document):
    """What the case does, and what it has to come to."""
    form, act = case.split()
    serializer, to_bytes = FORMS[form]
    data = to_bytes(document)
    acts = {
        "serialize": lambda: serializer.serialize(document),
        "deserialize": lambda: serializer.deserialize(data),
        "produce": lambda: deque(serializer.incremental_serialize(document)),
        "consume": lambda: all_at_once(serializer, data),
    }
    if act in ("deserialize", "consume"):
        assert acts[act]() == document, case
    return acts[act]


def main():
    documents = json.loads(sys.stdin.readline())["documents"]
    for line in sys.stdin:
        asked = json.loads(line)
        run = operation(asked["case"], documents[asked["document"]])
        times = range(asked["times"])
        start = time.thread_time_ns()
        for _ in times:
            run()
        print(time.thread_time_ns() - start, flush=True)


main()
