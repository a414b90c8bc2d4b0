//! Lengths of time as people write them: `90s`, `15m`, `8h`, `7d`; and moments, also as that long from now.

use std::time::Duration;

use jiff::Timestamp;

/// Parses a length of time.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a whole number and a unit: 90s, 15m, 8h or 7d".to_owned();
    let unit = text.chars().last().ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(expected()),
    };
    let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(expected)?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(expected)
}

/// Parses a moment, or a length of time from now.
pub(crate) fn parse_moment(text: &str) -> Result<Timestamp, String> {
    let expected = "expected a time such as 2026-12-24T18:00:00Z, or one from now such as 90s, 15m, 8h or 7d";
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let from_now = parse_duration(text).map_err(|_| expected.to_owned())?;
    Timestamp::now().checked_add(from_now).map_err(|_| expected.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_written() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for bad in ["", "7", "d", "-1s", "1w", "1.5h", "99999999999999999999d", "18446744073709551615d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_are_read_as_written_or_from_now() {
        assert_eq!(parse_moment("2026-12-24T18:00:00+01:00").unwrap().to_string(), "2026-12-24T17:00:00Z");
        assert!(parse_moment("90m").unwrap() > Timestamp::now());
        for bad in ["", "tomorrow", "2026-12-24", "9999999999999d"] {
            assert!(parse_moment(bad).is_err(), "{bad}");
        }
    }
}
