use super::{Exec, Flags, Regex};

/// The texts of all groups of the first match, `~` for one that is not set; `none`; or the error.
fn first(pattern: &str, flags: &str, subject: &str) -> String {
    let flags = Flags::read(flags.as_bytes()).unwrap();
    let regex = match Regex::new(pattern.as_bytes(), flags) {
        Ok(regex) => regex,
        Err(error) => return String::from_utf8_lossy(&error).into_owned(),
    };
    match regex.find(subject.as_bytes(), 0) {
        Ok(None) => "none".into(),
        Err(error) => error.message().into(),
        Ok(Some(places)) => {
            let texts = places.iter().map(|place| match place {
                Some((start, end)) => String::from_utf8_lossy(&subject.as_bytes()[*start..*end]).into_owned(),
                None => "~".into(),
            });
            texts.collect::<Vec<_>>().join("|")
        }
    }
}

#[test]
fn patterns_match_as_in_pcre() {
    let cases = include_str!("cases.txt");
    let mut count = 0;
    for line in cases.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [pattern, flags, subject, expected] = fields[..] else { panic!("{line:?} has not four fields") };
        let subject = subject.replace("\\n", "\n").replace("\\r", "\r");
        let expected = expected.replace("\\n", "\n").replace("\\r", "\r");
        assert_eq!(first(pattern, flags, &subject), expected, "{line}");
        count += 1;
    }
    assert!(count > 150, "{count} cases");
}

#[test]
fn wrong_patterns_are_refused_in_pcre_s_words() {
    let cases = [
        ("a(b", "missing ) in \"a(b\""),
        ("a)b", "unmatched parentheses in \"a)b\" at \")b\""),
        ("[a", "missing terminating ] for character class in \"[a\""),
        ("*a", "nothing to repeat in \"*a\" at \"*a\""),
        ("a{3,2}", "numbers out of order in {} quantifier in \"a{3,2}\""),
        ("a{70000}", "number too big in {} quantifier in \"a{70000}\" at \"{70000}\""),
        ("\\", "\\ at end of pattern in \"\\\""),
        ("[z-a]", "range out of order in character class in \"[z-a]\" at \"-a]\""),
        ("(a)\\3", "reference to non-existent subpattern in \"(a)\\3\" at \"\\3\""),
        ("(?<=a+)b", "lookbehind assertion is not fixed length in \"(?<=a+)b\""),
        ("(?<n>a)(?<n>b)", "two named subpatterns have the same name in \"(?<n>a)(?<n>b)\" at \"b)\""),
        ("\\y", "unrecognized character follows \\ in \"\\y\""),
        ("(?R)", "recursion and callouts are not supported in \"(?R)\" at \"R)\""),
        ("(((a{1000}b){1000}){1000})", "regular expression is too large in \"(((a{1000}b){1000}){1000})\""),
        ("[[:nope:]]", "unknown POSIX class name in \"[[:nope:]]\" at \"[:nope:]]\""),
    ];
    for (pattern, expected) in cases {
        assert_eq!(first(pattern, "", ""), format!("pcre_compile() failed: {expected}"));
    }
    let deep = "(".repeat(60_000);
    assert!(first(&deep, "", "").starts_with("pcre_compile() failed: parentheses are too deeply nested"));
    assert_eq!(Flags::read(b"iq"), Err("unknown flag \"q\" (flags \"iq\")".into()));
}

#[test]
fn no_search_goes_on_for_ever() {
    let regex = Regex::new(b"(a+)+$", Flags::default()).unwrap();
    let mut subject = "a".repeat(60).into_bytes();
    subject.push(b'b');
    assert_eq!(regex.find(&subject, 0), Err(Exec::TooManySteps));
    let regex = Regex::new(b"(?:a|b)*c", Flags::default()).unwrap();
    assert_eq!(regex.find(&vec![b'a'; 1 << 20], 0), Err(Exec::TooDeep));
    // One instruction and one frame for a run, however long.
    let regex = Regex::new(b"^.*x(.*)$", Flags { dot_all: true, ..Flags::default() }).unwrap();
    let mut long = vec![b'a'; 1 << 20];
    long[1000] = b'x';
    assert_eq!(regex.find(&long, 0).unwrap().unwrap()[1], Some((1001, 1 << 20)));
}

#[test]
fn subjects_that_are_not_utf8_are_refused_only_under_u() {
    let utf = Regex::new("é".as_bytes(), Flags { utf: true, ..Flags::default() }).unwrap();
    assert_eq!(utf.find(b"\xff", 0), Err(Exec::NotUtf8));
    let bytes = Regex::new(b"[\x80-\xff]+", Flags::default()).unwrap();
    assert_eq!(bytes.find(b"a\xff\xfe", 0).unwrap().unwrap()[0], Some((1, 3)));
}

#[test]
fn a_search_from_a_place_sees_what_is_before() {
    let regex = Regex::new(b"(?<=a)b", Flags::default()).unwrap();
    assert_eq!(regex.find(b"ab", 1).unwrap().unwrap()[0], Some((1, 2)));
    let regex = Regex::new(b"^b|\\Bb", Flags::default()).unwrap();
    assert_eq!(regex.find(b"ab", 1).unwrap().unwrap()[0], Some((1, 2)));
    assert_eq!(regex.find(b"ab", 3), Ok(None));
}
