//! Numbers as Lua writes them: `%.14g`.

/// Digits that are shown.
const DIGITS: usize = 14;

/// Appends the number of this JSON text, rounded to 14 digits: `1627574246`, `1.5`, `1e+20`. One that is too large for a double is `inf`, as in Lua.
pub(crate) fn push(text: &mut String, json: &str) {
    let number: f64 = json.parse().unwrap_or(f64::NAN);
    if number.is_sign_negative() {
        text.push('-');
    }
    if number.is_infinite() || number.is_nan() {
        text.push_str(if number.is_nan() { "nan" } else { "inf" });
        return;
    }
    let (digits, exponent) = round(number.abs());
    match usize::try_from(exponent) {
        Ok(whole) if whole < DIGITS => push_fixed(text, &digits, whole + 1),
        Err(_) if exponent >= -4 => {
            text.push_str("0.");
            text.extend((exponent + 1..0).map(|_| '0'));
            text.push_str(&digits);
        }
        Ok(_) | Err(_) => push_scientific(text, &digits, exponent),
    }
}

/// The significant digits without zeros at the end (at least one digit), and the power of ten of the first. LuaJIT rounds halves up, where C and Rust
/// round them to even; sixty digits are enough to tell a half from what is only close to one.
fn round(number: f64) -> (String, i32) {
    let exact = format!("{number:.60e}");
    let (mantissa, exponent) = exact.split_once('e').unwrap_or((&exact, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let mut digits = mantissa.replace('.', "");
    let round_up = digits.as_bytes().get(DIGITS).is_some_and(|next| *next >= b'5');
    digits.truncate(DIGITS);
    if !round_up {
        let kept = digits.trim_end_matches('0').len().max(1);
        digits.truncate(kept);
        return (digits, exponent);
    }
    digits.truncate(digits.trim_end_matches('9').len());
    match digits.pop() {
        // Not a 9, so this is the next digit.
        Some(last) => digits.extend(char::from_u32(u32::from(last) + 1)),
        None => return ("1".into(), exponent + 1),
    }
    (digits, exponent)
}

/// `whole` digits before the point, filled up with zeros; the rest after it.
fn push_fixed(text: &mut String, digits: &str, whole: usize) {
    let (before, after) = digits.split_at(whole.min(digits.len()));
    text.push_str(before);
    text.extend((before.len()..whole).map(|_| '0'));
    if !after.is_empty() {
        text.push('.');
        text.push_str(after);
    }
}

/// `1.5e+20`: the exponent has a sign and at least two digits.
fn push_scientific(text: &mut String, digits: &str, exponent: i32) {
    push_fixed(text, digits, 1);
    let sign = if exponent < 0 { '-' } else { '+' };
    text.push_str(&format!("e{sign}{:02}", exponent.unsigned_abs()));
}

#[cfg(test)]
mod tests {
    use super::push;

    #[test]
    fn numbers_are_written_as_lua_writes_them() {
        let cases = [
            ("0", "0"),
            ("-0", "-0"),
            ("1", "1"),
            ("-7", "-7"),
            ("100", "100"),
            ("1627574246", "1627574246"),
            ("1627581878.0", "1627581878"),
            ("1.5", "1.5"),
            ("-1.50", "-1.5"),
            ("1e20", "1e+20"),
            ("1.25e100", "1.25e+100"),
            ("99999999999999", "99999999999999"),
            ("100000000000000", "1e+14"),
            ("123456789012345", "1.2345678901235e+14"),
            ("999999999999999", "1e+15"),
            // Halves, as LuaJIT 2.1 shows them.
            ("12345678901234.5", "12345678901235"),
            ("10000000000000.5", "10000000000001"),
            ("0.1", "0.1"),
            ("0.30000000000000004", "0.3"),
            ("3.14159265358979312", "3.1415926535898"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("0.000123456", "0.000123456"),
            ("1.5e-7", "1.5e-07"),
            ("9.99999999999995", "10"),
            ("9.9999999999999", "9.9999999999999"),
            ("99999999999999.9", "1e+14"),
            ("5e-324", "4.9406564584125e-324"),
            ("1.7976931348623157e308", "1.7976931348623e+308"),
            ("1e400", "inf"),
            ("-1e400", "-inf"),
            ("18446744073709551615", "1.844674407371e+19"),
        ];
        for (json, expected) in cases {
            let mut text = String::new();
            push(&mut text, json);
            assert_eq!(text, expected, "{json}");
        }
    }
}
