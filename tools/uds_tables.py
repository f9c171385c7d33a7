"""C and documentation of the data identifiers in src/bms/spec/uds.toml, for tools/generate.py."""

from __future__ import annotations

from bms.spec import uds

ROW = """\
typedef struct {
    uint16_t id; uint8_t kind, bytes; uint8_t write, is_signed; uint16_t age_ms; int32_t divide;
    uint32_t offset, width; /* into bms_t and bytes there; into the record of a user row */
} uds_row_t;
typedef struct {
    uint16_t id; uint8_t bytes, offset, width, is_signed; /* into store_frame_t */
} uds_frame_row_t;"""


def uds_c() -> list[str]:
    """Lines of generated/uds_rows.h."""
    rows = sorted(uds.identifiers().values(), key=lambda row: row.id)
    kinds = ", ".join(f"UDS_{kind.upper()}" for kind in uds.Kind.__args__)  # type: ignore[attr-defined]
    label = ", ".join(f"0x{byte:02X}" for byte in uds.SECURITY_LABEL)
    read = [row for row in rows if row.kind != "frame"]
    framed = [row for row in rows if row.frame]
    return [
        f"enum {{ UDS_REQUEST_ID = 0x{uds.REQUEST_ID:03X}, UDS_ANSWER_ID = 0x{uds.ANSWER_ID:03X}, "
        f"UDS_EVERYBODY_ID = 0x{uds.EVERYBODY_ID:03X} }};",
        f"enum {{ {kinds} }};",
        f"enum {{ UDS_CODE_BASE = 0x{uds.CODE_BASE:06X} }}; /* P1Axx: xx is the diagnosis */",
        f"#define UDS_LABEL {label}",
        "",
        ROW,
        "",
        f"enum {{ UDS_ROWS = {len(read)}, UDS_FRAME_ROWS = {len(framed)} }};",
        "static const uds_row_t uds_rows[UDS_ROWS] = {",
        *(_row(row) for row in read),
        "};",
        "static const uds_frame_row_t uds_frame_rows[UDS_FRAME_ROWS] = {",
        *(
            f"    {{0x{row.id:04X}u, {row.bytes}u, offsetof(store_frame_t, {row.frame}), "
            f"sizeof(((store_frame_t *)0)->{row.frame}), {int(row.signed)}}}, /* {row.title} */"
            for row in framed
        ),
        "};",
    ]


def _row(row: uds.Identifier) -> str:
    place, width = f"{row.offset}u", f"{row.bytes}u"
    if row.source:
        place = f"offsetof(bms_t, {row.source})"
        width = f"sizeof(((bms_t *)0)->{row.source})"
    return (
        f"    {{0x{row.id:04X}u, UDS_{row.kind.upper()}, {row.bytes}u, {int(row.write)}, "
        f"{int(row.signed)}, {row.age_ms}u, {row.divide}, {place}, {width}}}, /* {row.title} */"
    )


def table() -> list[tuple[str, str, str, str, str]]:
    """Rows of the table of identifiers in docs/uds.md."""
    rows = sorted(uds.identifiers().values(), key=lambda row: row.id)
    return [
        (
            f"`{row.id:04X}`",
            row.title,
            _size(row),
            row.unit if row.unit != "1" else "",
            ("write" if row.write else "") + (" freeze frame" if row.frame else ""),
        )
        for row in rows
    ]


def _size(row: uds.Identifier) -> str:
    sign = "signed" if row.signed else ""
    many = " a block" if row.kind.startswith("blocks") else ""
    return f"{row.bytes}{many} {sign}".strip()
