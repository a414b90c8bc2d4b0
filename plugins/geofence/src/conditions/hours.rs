//! Active hours: windows of the week on the clocks of a time zone.
//!
//! What counts is what a clock on the wall shows. Where clocks are put forward, a window has an hour less, or none if it
//! lies in the hour that is left out; where they are put back, it counts in both of the hours that look the same.
//! The time zones are bundled, so that every node has the same.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use crate::invalid::{Invalid, Reason};
use crate::limits::MAX_WINDOWS;

/// Zones are read once, and shared by all who name them.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

const MINUTES_OF_A_DAY: u16 = 24 * 60;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// When a fence is active. In JSON:
/// `{"time_zone": "Europe/Berlin", "windows": [{"days": ["mon", "fri"], "from": "22:00", "to": "06:00"}]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct ActiveHours {
    zone: TimeZone,
    windows: Box<[Window]>,
}

/// A window on days of the week. One that ends when it begins or earlier goes on into the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// A bit for each day that it begins on, Monday first.
    days: u8,
    /// Minutes after midnight.
    from: u16,
    /// Minutes after midnight, not included; more than a day's if on the next day.
    to: u16,
}

impl ActiveHours {
    /// Windows on the clocks of a time zone, as in the IANA database.
    ///
    /// # Errors
    /// A zone that there is not, no window or too many.
    pub fn new(time_zone: &str, windows: Vec<Window>) -> Result<Self, Invalid> {
        // `Etc/Unknown` is there, but has no name: it could not be written again.
        let zone = ZONES.get(time_zone).ok().filter(|zone| zone.iana_name().is_some());
        let zone = zone.ok_or_else(|| {
            let expected = "the name of a time zone, such as Europe/Berlin";
            Invalid::at("time_zone", Reason::expected(expected, format!("{time_zone:?}")))
        })?;
        if windows.is_empty() || windows.len() > MAX_WINDOWS {
            let expected = format!("1 to {MAX_WINDOWS} windows");
            return Err(Invalid::at("windows", Reason::expected(expected, windows.len().to_string())));
        }
        Ok(Self { zone, windows: windows.into_boxed_slice() })
    }

    /// Whether a moment is in one of the windows.
    #[must_use]
    pub fn is_active(&self, at: Timestamp) -> bool {
        let clock = self.zone.to_datetime(at);
        let minute = minute_of(clock.time());
        let today = clock.date().weekday();
        self.windows.iter().any(|window| {
            window.is_on(today) && (window.from..window.to).contains(&minute)
                || window.is_on(today.previous()) && minute + MINUTES_OF_A_DAY < window.to
        })
    }
}

impl Window {
    /// A window that begins on some days and ends at a time of the same day, or of the next if that is not later.
    ///
    /// # Errors
    /// No day, or a time with seconds.
    pub fn new(days: &[Weekday], from: Time, to: Time) -> Result<Self, Invalid> {
        let text = |time: Time| format!("{time}");
        Self::on(days, (from, &text(from)), Some((to, &text(to))))
    }

    /// As [`Window::new`]; until midnight if there is no end.
    fn on(days: &[Weekday], from: (Time, &str), to: Option<(Time, &str)>) -> Result<Self, Invalid> {
        if days.is_empty() {
            return Err(Invalid::at("days", Reason::expected("at least one day", "none")));
        }
        let days = days.iter().fold(0, |days, day| days | bit(*day));
        let from = whole_minutes(from).map_err(|reason| Invalid::at("from", reason))?;
        let to = match to {
            Some(to) => whole_minutes(to).map_err(|reason| Invalid::at("to", reason))?,
            None => MINUTES_OF_A_DAY,
        };
        if from == to {
            let expected = "an end that is not the beginning; 00:00 to 24:00 is a whole day";
            return Err(Invalid::at("to", Reason::expected(expected, "the same time")));
        }
        Ok(Self { days, from, to: if to < from { to + MINUTES_OF_A_DAY } else { to } })
    }

    fn is_on(&self, day: Weekday) -> bool {
        self.days & bit(day) != 0
    }
}

fn bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset()
}

fn minute_of(time: Time) -> u16 {
    u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs())
}

fn whole_minutes((time, text): (Time, &str)) -> Result<u16, Reason> {
    if time.second() == 0 && time.subsec_nanosecond() == 0 {
        Ok(minute_of(time))
    } else {
        Err(Reason::expected("hours and minutes, such as 08:30", format!("{text:?}")))
    }
}

/// Active hours as they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    time_zone: String,
    windows: Vec<WrittenWindow>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenWindow {
    days: Vec<String>,
    from: String,
    to: String,
}

impl TryFrom<Written> for ActiveHours {
    type Error = Invalid;

    fn try_from(written: Written) -> Result<Self, Invalid> {
        let windows = written.windows.iter().enumerate().map(|(index, window)| {
            window
                .read()
                .map_err(|wrong| Invalid::at(format!("windows[{index}].{}", wrong.place), wrong.reason))
        });
        let windows = windows.collect::<Result<Vec<_>, _>>()?;
        Self::new(&written.time_zone, windows)
    }
}

impl From<ActiveHours> for Written {
    fn from(hours: ActiveHours) -> Self {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let end = |to: u16| if to > MINUTES_OF_A_DAY { to - MINUTES_OF_A_DAY } else { to };
        let days =
            |days: u8| (0..7).filter(|day| days & 1 << day != 0).map(|day| DAYS[day].to_owned()).collect();
        let window = |window: &Window| WrittenWindow {
            days: days(window.days),
            from: clock(window.from),
            to: clock(end(window.to)),
        };
        Self {
            // Only zones with a name are taken.
            time_zone: hours.zone.iana_name().unwrap_or("UTC").to_owned(),
            windows: hours.windows.iter().map(window).collect(),
        }
    }
}

impl WrittenWindow {
    fn read(&self) -> Result<Window, Invalid> {
        let mut days = Vec::with_capacity(self.days.len());
        for (index, name) in self.days.iter().enumerate() {
            let day = DAYS.iter().zip(0..).find(|(day, _)| *day == name).map(|(_, offset)| offset);
            let day = day.and_then(|offset| Weekday::from_monday_zero_offset(offset).ok());
            let wrong = || Reason::expected("mon, tue, wed, thu, fri, sat or sun", format!("{name:?}"));
            days.push(day.ok_or_else(|| Invalid::at(format!("days[{index}]"), wrong()))?);
        }
        let from = time(&self.from).map_err(|reason| Invalid::at("from", reason))?;
        let to = match self.to.as_str() {
            "24:00" => None,
            text => Some((time(text).map_err(|reason| Invalid::at("to", reason))?, text)),
        };
        Window::on(&days, (from, &self.from), to)
    }
}

fn time(text: &str) -> Result<Time, Reason> {
    let is_plain = text.len() == 5 && text.as_bytes()[2] == b':';
    let time = is_plain.then(|| text.parse().ok()).flatten();
    time.ok_or_else(|| Reason::expected("hours and minutes, such as 08:30", format!("{text:?}")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn hours(zone: &str, windows: Value) -> Result<ActiveHours, String> {
        serde_json::from_value(json!({"time_zone": zone, "windows": windows}))
            .map_err(|error| error.to_string())
    }

    fn active(hours: &ActiveHours, at: &str) -> bool {
        hours.is_active(at.parse().unwrap())
    }

    #[test]
    fn a_window_counts_on_the_clocks_of_its_zone() {
        let day = hours("Europe/Berlin", json!([{"days": ["mon"], "from": "08:00", "to": "17:30"}])).unwrap();
        // 2026-11-23 is a Monday; Berlin is an hour ahead.
        for (at, expected) in [
            ("2026-11-23T06:59:59Z", false),
            ("2026-11-23T07:00:00Z", true),
            ("2026-11-23T16:29:59Z", true),
            ("2026-11-23T16:30:00Z", false),
            ("2026-11-24T09:00:00Z", false),
            // In summer, two.
            ("2026-07-06T06:00:00Z", true),
            ("2026-07-06T15:30:00Z", false),
        ] {
            assert_eq!(active(&day, at), expected, "{at}");
        }
    }

    #[test]
    fn a_window_past_midnight_belongs_to_the_day_it_begins_on() {
        let night = hours("UTC", json!([{"days": ["sun"], "from": "22:00", "to": "06:00"}])).unwrap();
        for (at, expected) in [
            ("2026-11-22T21:59:00Z", false),
            ("2026-11-22T22:00:00Z", true),
            ("2026-11-23T05:59:00Z", true),
            ("2026-11-23T06:00:00Z", false),
            ("2026-11-22T03:00:00Z", false),
        ] {
            assert_eq!(active(&night, at), expected, "{at}");
        }
        let until_midnight =
            hours("UTC", json!([{"days": ["sun"], "from": "22:00", "to": "00:00"}])).unwrap();
        assert!(active(&until_midnight, "2026-11-22T23:59:59Z"));
        assert!(!active(&until_midnight, "2026-11-23T00:00:00Z"));
        let whole = hours("UTC", json!([{"days": ["sun"], "from": "00:00", "to": "24:00"}])).unwrap();
        assert!(active(&whole, "2026-11-22T00:00:00Z") && active(&whole, "2026-11-22T23:59:59Z"));
        assert!(!active(&whole, "2026-11-23T00:00:00Z") && !active(&whole, "2026-11-21T23:59:59Z"));
    }

    #[test]
    fn when_clocks_change_what_they_show_counts() {
        // In New York on 2026-03-08, 02:00 to 03:00 is left out; on 2026-11-01, 01:00 to 02:00 is there twice.
        let sunday =
            |from, to| hours("America/New_York", json!([{"days": ["sun"], "from": from, "to": to}])).unwrap();
        let left_out = sunday("02:00", "03:00");
        assert!(!active(&left_out, "2026-03-08T06:59:59Z") && !active(&left_out, "2026-03-08T07:00:00Z"));
        let twice = sunday("01:00", "02:00");
        assert!(!active(&twice, "2026-11-01T04:59:59Z"));
        assert!(active(&twice, "2026-11-01T05:30:00Z") && active(&twice, "2026-11-01T06:30:00Z"));
        assert!(!active(&twice, "2026-11-01T07:00:00Z"));
    }

    #[test]
    fn what_are_no_hours_is_refused_with_the_place() {
        let window = |days: Value, from: &str, to: &str| json!([{"days": days, "from": from, "to": to}]);
        let refused = |windows| hours("UTC", windows).unwrap_err();
        assert_eq!(
            refused(window(json!(["mon", "moon"]), "08:00", "09:00")),
            "windows[0].days[1]: expected mon, tue, wed, thu, fri, sat or sun, got \"moon\""
        );
        assert_eq!(
            refused(window(json!([]), "08:00", "09:00")),
            "windows[0].days: expected at least one day, got none"
        );
        let clock = "expected hours and minutes, such as 08:30, got";
        assert_eq!(refused(window(json!(["mon"]), "8", "09:00")), format!("windows[0].from: {clock} \"8\""));
        assert_eq!(
            refused(window(json!(["mon"]), "08:00", "25:00")),
            format!("windows[0].to: {clock} \"25:00\"")
        );
        assert!(refused(window(json!(["mon"]), "08:00", "08:00")).contains("not the beginning"));
        assert_eq!(refused(json!([])), "windows: expected 1 to 28 windows, got 0");
        let wrong_zone = hours("Europe/Berlim", window(json!(["mon"]), "08:00", "09:00")).unwrap_err();
        assert!(wrong_zone.starts_with("time_zone: expected the name of a time zone"), "{wrong_zone}");
        let nowhere = hours("Etc/Unknown", window(json!(["mon"]), "08:00", "09:00")).unwrap_err();
        assert!(nowhere.ends_with("such as Europe/Berlin, got \"Etc/Unknown\""), "{nowhere}");
    }

    #[test]
    fn hours_are_written_as_they_were_read() {
        let windows = json!([
            {"days": ["mon", "sun"], "from": "22:00", "to": "06:30"},
            {"days": ["wed"], "from": "00:00", "to": "24:00"},
        ]);
        let read = hours("Asia/Kathmandu", windows.clone()).unwrap();
        let written = serde_json::to_value(&read).unwrap();
        assert_eq!(written, json!({"time_zone": "Asia/Kathmandu", "windows": windows}));
    }
}
