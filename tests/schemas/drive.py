"""Sends the test vectors in a folder through the receiver in receiving.py, and prints what came of it as JSON."""

import json, pathlib, sys

from receiving import receive

made = {}
for file in pathlib.Path(sys.argv[1]).iterdir():
    vector, books = json.loads(file.read_text()), {}
    answers = [receive(sent["headers"], sent["body"].encode(), vector["keys"], vector["now"], books)
               for sent in vector["messages"]]
    made[file.name] = {"answers": answers, "books": books}
print(json.dumps(made))
