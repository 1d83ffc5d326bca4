"""The published Python client's idea of the API against ours.

gen/descriptors.binpb must say the same of every message, field, oneof, enum, value and method of package qdrant, and
nothing beyond: this client is the newest, so what it lacks should not be in ours either. Files, comments and order may
differ; nothing that reaches the wire may.

Nothing is left out of the comparison. StorageRead and the services between Qdrant's own nodes, which we do not offer,
are in no published client.
"""

import collections
import copy
import importlib
import pathlib
import pkgutil

import pytest
import qdrant_client.grpc
from google.protobuf import descriptor_pb2, descriptor_pool

PACKAGE = "qdrant"
OURS = pathlib.Path(__file__).resolve().parents[2] / "gen" / "descriptors.binpb"
FIELD = descriptor_pb2.FieldDescriptorProto


def their_files():
    files = []
    for module in pkgutil.iter_modules(qdrant_client.grpc.__path__):
        if module.name.endswith("_pb2"):
            loaded = importlib.import_module(f"qdrant_client.grpc.{module.name}")
            file = descriptor_pb2.FileDescriptorProto()
            loaded.DESCRIPTOR.CopyToProto(file)
            files.append(file)
    return files


def our_set():
    return descriptor_pb2.FileDescriptorSet.FromString(OURS.read_bytes())


def json_name(field):
    if field.json_name:
        return field.json_name
    head, *rest = field.name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def collect(files):
    """Maps an element such as ("field", "qdrant.Filter.must") to all of its facts."""
    facts = {}

    def enum(scope, e):
        name = f"{scope}.{e.name}"
        facts["enum", name] = (e.options.allow_alias, e.options.deprecated)
        for value in e.value:
            facts["value", f"{name}.{value.name}"] = (value.number, value.options.deprecated)

    def message(scope, m):
        name = f"{scope}.{m.name}"
        facts["map" if m.options.map_entry else "message", name] = (
            m.options.deprecated,
            tuple(sorted((r.start, r.end) for r in m.reserved_range)),
            tuple(sorted(m.reserved_name)),
        )
        for f in m.field:
            facts["field", f"{name}.{f.name}"] = (
                f.number,
                FIELD.Type.Name(f.type),
                f.type_name,
                FIELD.Label.Name(f.label),
                m.oneof_decl[f.oneof_index].name if f.HasField("oneof_index") else None,
                f.proto3_optional,
                f.options.packed if f.options.HasField("packed") else None,
                f.options.deprecated,
                f.default_value,
                json_name(f),
            )
        for nested in m.nested_type:
            message(name, nested)
        for nested in m.enum_type:
            enum(name, nested)

    for file in files:
        if file.package != PACKAGE:
            continue
        assert file.syntax == "proto3", file.name
        for m in file.message_type:
            message(PACKAGE, m)
        for e in file.enum_type:
            enum(PACKAGE, e)
        for service in file.service:
            facts["service", f"{PACKAGE}.{service.name}"] = ()
            for rpc in service.method:
                facts["method", f"{PACKAGE}.{service.name}.{rpc.name}"] = (
                    rpc.input_type,
                    rpc.output_type,
                    rpc.client_streaming,
                    rpc.server_streaming,
                    rpc.options.deprecated,
                )
    return facts


def differences(theirs, ours):
    out = []
    for key in sorted(theirs.keys() | ours.keys()):
        if theirs.get(key) != ours.get(key):
            out.append(f"{' '.join(key)}: ours {ours.get(key, 'missing')}, theirs {theirs.get(key, 'missing')}")
    return out


def test_descriptors_equal_python_client(capsys):
    ours = our_set()
    pool = descriptor_pool.DescriptorPool()
    for file in ours.file:
        pool.Add(file)
        assert pool.FindFileByName(file.name) is not None
    theirs = collect(their_files())
    found = differences(theirs, collect(ours.file))
    n = collections.Counter(kind for kind, _ in theirs)
    with capsys.disabled():
        print(
            f"\ncompared {n['message']} messages, {n['field']} fields, {n['enum']} enums, {n['value']} values, "
            f"{n['method']} methods; differences: {len(found)}"
        )
    assert not found, "\n".join(found)
    # A client that could not be read would agree with everything.
    assert n["method"] >= 51


def find(items, name):
    return next(item for item in items if item.name == name)


def message_of(files, name):
    return next(m for f in files if f.package == PACKAGE for m in f.message_type if m.name == name)


def enum_of(files, name):
    return next(e for f in files if f.package == PACKAGE for e in f.enum_type if e.name == name)


def rpc_of(files, service, name):
    return next(find(s.method, name) for f in files if f.package == PACKAGE for s in f.service if s.name == service)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda s: setattr(find(message_of(s, "GeoPoint").field, "lon"), "number", 7), "field qdrant.GeoPoint.lon"),
        (lambda s: setattr(find(message_of(s, "GeoPoint").field, "lon"), "type", FIELD.TYPE_FLOAT), "field qdrant.GeoPoint.lon"),
        (lambda s: setattr(find(message_of(s, "GeoPoint").field, "lon"), "name", "longitude"), "field qdrant.GeoPoint.lon"),
        (lambda s: setattr(find(message_of(s, "GeoPoint").field, "lon"), "label", FIELD.LABEL_REPEATED), "field qdrant.GeoPoint.lon"),
        (lambda s: setattr(message_of(s, "PointId").oneof_decl[0], "name", "id"), "field qdrant.PointId.num"),
        (lambda s: find(message_of(s, "ScoredPoint").field, "vectors").ClearField("proto3_optional"), "field qdrant.ScoredPoint.vectors"),
        (lambda s: message_of(s, "GeoPoint").ClearField("field"), "field qdrant.GeoPoint.lat"),
        (lambda s: message_of(s, "GeoPoint").field.add(name="height", number=3), "field qdrant.GeoPoint.height"),
        (lambda s: setattr(find(enum_of(s, "Distance").value, "Dot"), "number", 9), "value qdrant.Distance.Dot"),
        (lambda s: setattr(rpc_of(s, "Points", "Get"), "output_type", ".qdrant.PointId"), "method qdrant.Points.Get"),
        (lambda s: setattr(rpc_of(s, "Points", "Get"), "server_streaming", True), "method qdrant.Points.Get"),
    ],
)
def test_comparison_notices(spoil, expected):
    files = copy.deepcopy(list(our_set().file))
    spoil(files)
    found = differences(collect(their_files()), collect(files))
    assert any(line.startswith(expected + ":") for line in found), found
