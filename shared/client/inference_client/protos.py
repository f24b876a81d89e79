"""Protobuf messages made at run time, in a pool of their own.

Generated stubs would register the same names as a stack's own stubs do, and a process that imports
both (a test does) dies of the duplicate; they also tie the client to one protobuf release.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FieldProto: Any = descriptor_pb2.FieldDescriptorProto
POOL: Any = descriptor_pool.DescriptorPool()

SCALARS = {
    "string": FieldProto.TYPE_STRING,
    "bytes": FieldProto.TYPE_BYTES,
    "bool": FieldProto.TYPE_BOOL,
    "int32": FieldProto.TYPE_INT32,
    "float": FieldProto.TYPE_FLOAT,
}


def add_field(message: Any, kind: str, name: str, number: int, package: str) -> None:
    """Add `kind name = number` to a message; kind as in a .proto file, `map<a, b>` included."""
    repeated = kind.startswith("repeated ")
    kind = kind.removeprefix("repeated ")
    field = message.field.add(name=name, number=number, label=FieldProto.LABEL_OPTIONAL)
    if kind.startswith("map<"):  # on the wire: a repeated nested message {key = 1; value = 2}
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        for at, scalar in enumerate(kind[4:-1].split(", "), start=1):
            add_field(entry, scalar, ("key", "value")[at - 1], at, package)
        kind, repeated = f"{message.name}.{entry.name}", True
    if repeated:
        field.label = FieldProto.LABEL_REPEATED
    if kind in SCALARS:
        field.type = SCALARS[kind]
    else:
        field.type = FieldProto.TYPE_MESSAGE
        field.type_name = f".{package}.{kind}"


def messages(package: str, fields: dict[str, list[str]]) -> dict[str, Any]:
    """Message classes by name. `fields`: message → its fields as `"kind name = number"`."""
    file: Any = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3"
    )
    for name, lines in fields.items():
        message = file.message_type.add(name=name)
        for line in lines:
            declaration, _, number = line.rpartition(" = ")
            kind, _, field = declaration.rpartition(" ")
            add_field(message, kind, field, int(number), package)
    POOL.Add(file)
    return {
        name: message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{package}.{name}"))
        for name in fields
    }
