//! A limit in time as people write it: `30s`, `500ms`, `2m`, or seconds as a plain number.

use std::time::Duration;

const UNITS: [(&str, u64); 3] = [("ms", 1), ("s", 1000), ("m", 60_000)];
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// 1 ms to one day.
pub fn parse(text: &str) -> Result<Duration, String> {
    let unit = UNITS.iter().find_map(|(unit, millis)| Some((text.strip_suffix(unit)?, *millis)));
    let (number, millis) = unit.unwrap_or((text, 1000));
    let duration = (number.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| number.parse::<u64>().ok()?.checked_mul(millis))
        .flatten()
        .map(Duration::from_millis);
    match duration {
        Some(duration) if !duration.is_zero() && duration <= LONGEST => Ok(duration),
        _ => Err("give a time from 1ms to 1440m, such as 500ms, 30s or 2m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_units_and_plain_seconds() {
        for (text, millis) in
            [("1ms", 1), ("500ms", 500), ("3s", 3000), ("30", 30_000), ("1440m", 86_400_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_anything_else() {
        for text in ["", "s", "0", "0s", "-1s", "+1s", "1.5s", "1441m", "1h", "1 s", "18446744073709551615m"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
