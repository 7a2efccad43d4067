//! Dates and times as text: those of RFC 3339, without zeros at the end of a fraction. Other formats hold them so.

/// A unit of time.
#[derive(Clone, Copy)]
pub struct PerSecond(pub i64);

const DAY: i64 = 86_400;

/// `2024-01-31`, from days since 1970.
pub fn date(days: i64) -> Result<String, &'static str> {
    // Days of the era of 400 years that began on 1 March of year 0 (Howard Hinnant, chrono-compatible date algorithms).
    let days = days.checked_add(719_468).ok_or(BEYOND)?;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + next;
    if !(0..=9999).contains(&year) {
        return Err(BEYOND);
    }
    Ok(format!("{year:04}-{month:02}-{day:02}"))
}

/// `12:30:00.5`, from units since midnight.
pub fn time(value: i64, PerSecond(unit): PerSecond) -> Result<String, &'static str> {
    let (seconds, fraction) = (value.div_euclid(unit), value.rem_euclid(unit));
    if !(0..DAY).contains(&seconds) {
        return Err("a time beyond one day");
    }
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction != 0 {
        let digits = format!("{:0width$}", fraction, width = unit.ilog10() as usize);
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    Ok(text)
}

/// `2024-01-31T12:30:00.5`, and `Z` for a moment rather than what a clock showed.
pub fn timestamp(value: i64, per_second: PerSecond, is_moment: bool) -> Result<String, &'static str> {
    let day = DAY.checked_mul(per_second.0).ok_or(BEYOND)?;
    let (date, time) = (date(value.div_euclid(day))?, time(value.rem_euclid(day), per_second)?);
    Ok(format!("{date}T{time}{}", if is_moment { "Z" } else { "" }))
}

const BEYOND: &str = "a date beyond the years 0 to 9999";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_those_of_rfc_3339() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (19_783, "2024-03-01"),
            (-719_528, "0000-01-01"),
            (2_932_896, "9999-12-31"),
        ] {
            assert_eq!(date(days).unwrap(), text);
        }
        assert!(
            date(-719_529).is_err() && date(2_932_897).is_err() && date(i64::MAX).is_err() && date(i64::MIN).is_err()
        );
        assert_eq!(time(45_000_500, PerSecond(1000)).unwrap(), "12:30:00.5");
        assert_eq!(time(1, PerSecond(1_000_000_000)).unwrap(), "00:00:00.000000001");
        assert!(time(86_400, PerSecond(1)).is_err() && time(-1, PerSecond(1)).is_err());
        assert_eq!(timestamp(-1, PerSecond(1000), true).unwrap(), "1969-12-31T23:59:59.999Z");
        assert_eq!(timestamp(1_700_000_000, PerSecond(1), false).unwrap(), "2023-11-14T22:13:20");
        assert!(timestamp(i64::MIN, PerSecond(1), false).is_err());
    }
}
