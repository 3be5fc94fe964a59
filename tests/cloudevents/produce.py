"""Sends events with the public CloudEvents SDK for Python. Arguments: the URL of the events door. Prints one status a line."""

import sys
import urllib.request

from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent


def post(headers, body):
    if isinstance(body, str):
        body = body.encode()
    request = urllib.request.Request(sys.argv[1], data=body or b"", headers=dict(headers), method="POST")
    with urllib.request.urlopen(request) as answer:
        print(answer.status)


# Header values of this SDK are not percent-encoded: only what a header may hold.
ATTRIBUTES = {"source": "/python/100%", "subject": 'a "b" c', "comexampleextension": "x"}

for number, (data, content_type) in enumerate(
    [({"n": 1, "text": "€"}, "application/json"), ("plain", "text/plain"), (b"\x00\xff", "application/octet-stream")]
):
    for mode, convert in (("binary", to_binary), ("structured", to_structured)):
        attributes = dict(ATTRIBUTES, type=f"{mode}.{number}", id=f"{mode}-{number}", datacontenttype=content_type)
        post(*convert(CloudEvent(attributes, data)))
