//! Dates. The zone is UTC always: an instance has no other. Seconds count from 1970-01-01.

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/// Seconds beyond this have no four-digit year.
const SECONDS_MAX: i64 = 253_402_300_799;

/// A second, in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: i64,
    /// 1 to 12.
    pub(super) month: u32,
    pub(super) day: u32,
    pub(super) hour: u32,
    pub(super) minute: u32,
    pub(super) second: u32,
    /// 0 is Sunday.
    pub(super) weekday: u32,
    /// 1 is the first of January.
    pub(super) day_of_year: u32,
}

/// Days from 1970-01-01 to this day of the Gregorian calendar; a month counts from 1 and a day may be any number.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March: the leap day is the last of its year.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1 - 719_468
}

impl Date {
    pub(super) fn at(seconds: i64) -> Self {
        let seconds = seconds.clamp(-SECONDS_MAX, SECONDS_MAX);
        let (since, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400) as u32);
        let shifted = since + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self {
            year,
            month: month as u32,
            day: day as u32,
            hour: clock / 3_600,
            minute: clock / 60 % 60,
            second: clock % 60,
            weekday: (since + 4).rem_euclid(7) as u32,
            day_of_year: (since - days(year, 1, 1) + 1) as u32,
        }
    }
}

/// Seconds of a date whose parts may be out of range, as `mktime` takes them. None: far beyond four-digit years.
pub(super) fn seconds([year, month, day, hour, minute, second]: [i64; 6]) -> Option<i64> {
    let parts = [year, month, day, hour, minute, second];
    if parts.iter().any(|part| part.abs() > 1_000_000_000) || year.abs() > 9_999 {
        return None;
    }
    let months = year * 12 + month - 1;
    let since = days(months.div_euclid(12), months.rem_euclid(12) + 1, 1) + day - 1;
    Some(since * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// `Thu, 18 Nov 2010 11:27:35 GMT`
pub(super) fn http_time(seconds: i64) -> String {
    strftime(b"%a, %d %b %Y %H:%M:%S GMT", &Date::at(seconds)).unwrap_or_default()
}

/// `Thu, 18-Nov-10 11:27:35 GMT`; with four digits from 2038 on, as nginx does.
pub(super) fn cookie_time(seconds: i64) -> String {
    let date = Date::at(seconds);
    let format: &[u8] = if date.year > 2037 { b"%a, %d-%b-%Y %H:%M:%S GMT" } else { b"%a, %d-%b-%y %H:%M:%S GMT" };
    strftime(format, &date).unwrap_or_default()
}

/// The three forms of RFC 9110 section 5.6.7.
pub(super) fn parse_http_time(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let words: Vec<&str> = text.split([' ', '-', ',']).filter(|word| !word.is_empty()).collect();
    let (day, month, year, clock) = match *words.as_slice() {
        [_, day, month, year, clock, "GMT"] => (day, month, year, clock),
        [_, month, day, clock, year] => (day, month, year, clock),
        _ => return None,
    };
    let month = MONTHS.iter().position(|name| name[..3] == *month)?;
    let number = |digits: &str| if digits.bytes().all(|digit| digit.is_ascii_digit()) { digits.parse::<i64>().ok() } else { None };
    let year = match (number(year)?, year.len()) {
        (year, 4) => year,
        (year, 2) => year + if year < 70 { 2_000 } else { 1_900 },
        _ => return None,
    };
    let mut clock = clock.split(':');
    let [hour, minute, second] = [clock.next()?, clock.next()?, clock.next()?].map(number);
    let (day, hour, minute, second) = (number(day)?, hour?, minute?, second?);
    let in_range = clock.next().is_none() && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let found = seconds([year, month as i64 + 1, day, hour, minute, second]).filter(|_| in_range)?;
    // The 31st of April is no day.
    (i64::from(Date::at(found).day) == day).then_some(found)
}

/// C's `strftime` in the C locale. Err: the conversion that is not known.
pub(super) fn strftime(format: &[u8], date: &Date) -> Result<String, char> {
    let mut text = String::new();
    let mut letters = format.iter().map(|&byte| char::from(byte));
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let conversion = letters.next().unwrap_or('%');
        text.push_str(&convert(conversion, date).ok_or(conversion)?);
    }
    Ok(text)
}

fn convert(conversion: char, date: &Date) -> Option<String> {
    let again = |format: &str| strftime(format.as_bytes(), date).ok();
    let (day, month) = (DAYS[date.weekday as usize], MONTHS[date.month as usize - 1]);
    let twelve = (date.hour + 11) % 12 + 1;
    let from_monday = (date.weekday + 6) % 7;
    Some(match conversion {
        '%' => "%".into(),
        'a' => day[..3].into(),
        'A' => day.into(),
        'b' | 'h' => month[..3].into(),
        'B' => month.into(),
        'c' => again("%a %b %e %H:%M:%S %Y")?,
        'C' => format!("{:02}", date.year.div_euclid(100)),
        'd' => format!("{:02}", date.day),
        'D' | 'x' => again("%m/%d/%y")?,
        'e' => format!("{:2}", date.day),
        'F' => again("%Y-%m-%d")?,
        'H' => format!("{:02}", date.hour),
        'I' => format!("{twelve:02}"),
        'j' => format!("{:03}", date.day_of_year),
        'm' => format!("{:02}", date.month),
        'M' => format!("{:02}", date.minute),
        'n' => "\n".into(),
        'p' => if date.hour < 12 { "AM" } else { "PM" }.into(),
        'r' => again("%I:%M:%S %p")?,
        'R' => again("%H:%M")?,
        's' => since(date).to_string(),
        'S' => format!("{:02}", date.second),
        't' => "\t".into(),
        'T' | 'X' => again("%H:%M:%S")?,
        'u' => (from_monday + 1).to_string(),
        'U' => format!("{:02}", (date.day_of_year + 6 - date.weekday) / 7),
        'V' => format!("{:02}", iso_week(date).1),
        'G' => iso_week(date).0.to_string(),
        'g' => format!("{:02}", iso_week(date).0.rem_euclid(100)),
        'w' => date.weekday.to_string(),
        'W' => format!("{:02}", (date.day_of_year + 6 - from_monday) / 7),
        'y' => format!("{:02}", date.year.rem_euclid(100)),
        'Y' => date.year.to_string(),
        'z' => "+0000".into(),
        'Z' => "UTC".into(),
        _ => return None,
    })
}

fn since(date: &Date) -> i64 {
    let clock = i64::from(date.hour * 3_600 + date.minute * 60 + date.second);
    days(date.year, i64::from(date.month), i64::from(date.day)) * 86_400 + clock
}

/// Year and week of ISO 8601: the week of a day is that of its Thursday.
fn iso_week(date: &Date) -> (i64, u32) {
    let thursday = Date::at(since(date) + (3 - i64::from((date.weekday + 6) % 7)) * 86_400);
    (thursday.year, (thursday.day_of_year - 1) / 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_gregorian_calendar() {
        let cases = [
            (0, "1970-01-01 00:00:00 4 001"),
            (1_290_079_655, "2010-11-18 11:27:35 4 322"),
            (951_782_400, "2000-02-29 00:00:00 2 060"),
            (4_107_542_400, "2100-03-01 00:00:00 1 060"),
            (-1, "1969-12-31 23:59:59 3 365"),
        ];
        for (seconds, text) in cases {
            assert_eq!(strftime(b"%F %T %w %j", &Date::at(seconds)).unwrap(), text);
            assert_eq!(since(&Date::at(seconds)), seconds);
        }
    }

    #[test]
    fn parts_out_of_range_carry_over() {
        assert_eq!(seconds([2010, 11, 18, 11, 27, 35]), Some(1_290_079_655));
        assert_eq!(seconds([2009, 23, 18, 11, 27, 35]), Some(1_290_079_655));
        assert_eq!(seconds([2010, 12, -12, 10, 86, 95]), Some(1_290_079_655));
        assert_eq!(seconds([i64::MAX, 1, 1, 0, 0, 0]), None);
    }

    #[test]
    fn times_of_http_are_written_and_read() {
        assert_eq!(http_time(1_290_079_655), "Thu, 18 Nov 2010 11:27:35 GMT");
        assert_eq!(cookie_time(1_290_079_655), "Thu, 18-Nov-10 11:27:35 GMT");
        assert_eq!(cookie_time(2_547_642_983), "Sat, 24-Sep-2050 14:36:23 GMT");
        for text in ["Thu, 18 Nov 2010 11:27:35 GMT", "Thursday, 18-Nov-10 11:27:35 GMT", "Thu Nov 18 11:27:35 2010"] {
            assert_eq!(parse_http_time(text.as_bytes()), Some(1_290_079_655), "{text}");
        }
        for text in ["", "yesterday", "Thu, 31 Apr 2010 11:27:35 GMT", "Thu, 18 Nov 2010 24:27:35 GMT", "Thu, 18 Nov 10000 11:27:35 GMT"] {
            assert_eq!(parse_http_time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn strftime_is_that_of_the_c_locale() {
        let date = Date::at(1_290_079_655);
        let format = b"%a %A %b %B %c %C %D %e %I %p %r %R %u %U %V %G %W %x %X %y %z %%";
        let text = "Thu Thursday Nov November Thu Nov 18 11:27:35 2010 20 11/18/10 18 11 AM 11:27:35 AM 11:27 4 46 46 2010 46 11/18/10 11:27:35 10 +0000 %";
        assert_eq!(strftime(format, &date).unwrap(), text);
        assert_eq!(strftime(b"%G-%V", &Date::at(1_104_537_600)).unwrap(), "2004-53");
        assert_eq!(strftime(b"%Q", &date), Err('Q'));
    }
}
