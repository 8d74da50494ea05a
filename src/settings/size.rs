//! Sizes as people write them: `200M`, `2G`, `1048576`.

/// The number of bytes; `None` for what is not a size or does not fit 64 bits.
pub fn bytes(text: &str) -> Option<u64> {
    let units = [(['b', 'B'], 0), (['k', 'K'], 10), (['m', 'M'], 20), (['g', 'G'], 30), (['t', 'T'], 40)];
    let with_unit = units.into_iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let (digits, shift) = with_unit.unwrap_or((text, 0));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes() {
        let table = [("0", 0), ("512", 512), ("1b", 1), ("2k", 2048), ("200M", 200 << 20), ("2G", 2 << 30)];
        for (text, expected) in table {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in ["", "G", "-1", "1.5G", "2 G", "2GB", "é", "99999999999999999999", "99999999999T"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
