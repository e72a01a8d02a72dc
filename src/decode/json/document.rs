//! `json` and `jsonb`: embedded as they are, on one line.

use super::ValueError;

/// Appends a JSON text. Between its tokens `json` keeps the line breaks that its author wrote; inside strings neither
/// JSON nor PostgreSQL allows a raw control character, so each one is white space and becomes a blank.
pub(super) fn write(text: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    if text.is_empty() || text.iter().copied().any(is_forbidden) {
        return Err(ValueError::Malformed { expected: "a json" });
    }
    let start = out.len();
    out.extend_from_slice(text);
    for byte in out.iter_mut().skip(start).filter(|byte| **byte < 0x20) {
        *byte = b' ';
    }
    Ok(())
}

fn is_forbidden(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\n' | b'\r' | b'\t')
}
