"""The messages of Dragonfly's download service, as far as they are needed here.

Names and numbers are those of the packages `dfdaemon.v2` and `common.v2` in github.com/dragonflyoss/api
(`proto/dfdaemon.proto`, `proto/common.proto`). Fields that are not named here are skipped when they are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

if TYPE_CHECKING:
    from collections.abc import Mapping

DOWNLOAD_TASK = "/dfdaemon.v2.DfdaemonDownload/DownloadTask"
"""The method's path: a `DownloadTaskRequest` is answered with a stream of `DownloadTaskResponse`."""

PRIORITY = 6
"""`LEVEL6` of the enumeration `Priority`: on the first download of a blob a seed peer gets it from the registry."""

_PACKAGE = "modfile.dragonfly"
_SCALARS = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "string": FieldDescriptorProto.TYPE_STRING,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
}
_MAP = "map<string, string>"
_ENTRY = "HeaderEntry"
# Message to its fields: name, number and type, which is a scalar, a map, or another message.
_SCHEMA: Mapping[str, tuple[tuple[str, int, str], ...]] = {
    "Piece": (("number", 1, "uint32"), ("offset", 3, "uint64"), ("length", 4, "uint64")),
    "Download": (
        ("url", 1, "string"),
        ("priority", 7, "int32"),
        ("request_header", 9, _MAP),
        ("output_path", 11, "string"),
    ),
    "DownloadTaskRequest": (("download", 1, "Download"),),
    "DownloadTaskStartedResponse": (("content_length", 1, "uint64"), ("is_finished", 5, "bool")),
    "DownloadPieceFinishedResponse": (("piece", 1, "Piece"),),
    "DownloadTaskResponse": (
        ("task_id", 2, "string"),
        ("download_task_started_response", 4, "DownloadTaskStartedResponse"),
        ("download_piece_finished_response", 5, "DownloadPieceFinishedResponse"),
    ),
}


def _classes() -> Mapping[str, Any]:
    file = FileDescriptorProto(name="modfile/dragonfly.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _add_field(message, *field)
    # A pool of its own: whoever has Dragonfly's generated code loaded as well gets no conflict.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _SCHEMA}


def _add_field(message: DescriptorProto, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    field.type = FieldDescriptorProto.TYPE_MESSAGE
    if kind == _MAP:
        field.label = FieldDescriptorProto.LABEL_REPEATED
        field.type_name = f".{_PACKAGE}.{message.name}.{_ENTRY}"
        entry = message.nested_type.add(name=_ENTRY)
        entry.options.map_entry = True
        _add_field(entry, "key", 1, "string")
        _add_field(entry, "value", 2, "string")
    else:
        field.type_name = f".{_PACKAGE}.{kind}"


_CLASSES = _classes()
DownloadTaskRequest: Any = _CLASSES["DownloadTaskRequest"]
DownloadTaskResponse: Any = _CLASSES["DownloadTaskResponse"]
