"""What a peer's OpenAPI document says of its answers, compared with the answers."""

import re

import httpx
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

LARGE = 100_000  # bytes of an answer from which on checking it takes too long


class Contract:
    """Looks at every answer that any httpx client of this program gets from a peer."""

    def __init__(self, document):
        resource = Resource(contents=document, specification=DRAFT202012)
        self.registry = Registry().with_resource("openapi.json", resource)
        self.routes = [(re.compile("^" + re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path)) + "$"), path, set(verbs)) for path, verbs in document["paths"].items()]
        self.routes.sort(key=lambda r: r[1].count("{") - r[1].count("/"))
        self.checked, self.wrong = 0, []

    def watch(self, peers):
        """peers: host:port of each."""
        send = httpx.Client.send

        def watched(client, request, **kw):
            response = send(client, request, **kw)
            if request.url.netloc.decode() in peers and not kw.get("stream"):
                self.check(request, response)
            return response

        httpx.Client.send = watched

    def check(self, request, response):
        if not response.headers.get("content-type", "").startswith("application/json") or len(response.content) > LARGE or response.status_code == 501:
            return
        pointer = "#/components/responses/Error"
        if response.status_code == 200:
            path = re.sub("//+", "/", request.url.raw_path.decode().split("?")[0]).rstrip("/") or "/"
            verb = request.method.lower()
            at = next((p for pattern, p, verbs in self.routes if verb in verbs and pattern.match(path)), None)
            if at is None:
                self.wrong.append(f"{verb} {path} is not in the document")
                return
            pointer = "#/paths/" + at.replace("~", "~0").replace("/", "~1") + f"/{verb}/responses/200"
        schema = {"$ref": f"openapi.json{pointer}/content/application~1json/schema"}
        self.checked += 1
        bad = next(Draft202012Validator(schema, registry=self.registry).iter_errors(response.json()), None)
        if bad is not None:
            self.wrong.append(f"{request.method} {request.url.path}: {bad.json_path}: {bad.message[:300]}")
