//! JSON strings. Eight bytes are looked at in a step; text that needs no escape is copied in one piece.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
const QUOTES: u64 = ONES * 0x22;
const BACKSLASHES: u64 = ONES * 0x5c;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` as a JSON string, quotes included.
pub(super) fn write(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = first_special(rest) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { break };
        escape(byte, out);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// The first byte that JSON wants escaped: a control character, a quote or a backslash.
fn first_special(text: &[u8]) -> Option<usize> {
    let (chunks, tail) = text.as_chunks::<8>();
    for (index, chunk) in chunks.iter().enumerate() {
        let marks = specials(u64::from_le_bytes(*chunk));
        if marks != 0 {
            // Borrows between bytes make false marks only above a true one, so the lowest is true.
            return Some(index * 8 + (marks.trailing_zeros() / 8) as usize);
        }
    }
    let at = tail.iter().position(|&byte| is_special(byte))?;
    Some(chunks.len() * 8 + at)
}

/// The high bit of each byte that is special, after "Bit Twiddling Hacks", `hasless` and `haszero`.
fn specials(chunk: u64) -> u64 {
    let control = chunk.wrapping_sub(ONES * 0x20);
    let quote = (chunk ^ QUOTES).wrapping_sub(ONES);
    let backslash = (chunk ^ BACKSLASHES).wrapping_sub(ONES);
    // All three comparisons are right only for bytes below 0x80, and no special byte is above.
    (control | quote | backslash) & !chunk & HIGHS
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let digit = |nibble: u8| HEX[usize::from(nibble & 0xf)];
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::{first_special, is_special, write};

    /// Every byte at every place of a chunk, among neighbours that tempt the borrow.
    #[test]
    fn the_wide_scan_finds_what_the_narrow_one_finds() {
        for around in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
            for byte in 0..=u8::MAX {
                for place in 0..19 {
                    let mut text = [around; 19];
                    text[place] = byte;
                    assert_eq!(first_special(&text), text.iter().position(|&b| is_special(b)), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn every_ascii_character_reads_back() {
        let text: String = (0..=0x7f_u8).map(char::from).chain("äßçédîñ字🦀\u{2028}".chars()).collect();
        let mut out = Vec::new();
        write(text.as_bytes(), &mut out);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        assert!(out.iter().all(|byte| *byte >= 0x20));
    }
}
