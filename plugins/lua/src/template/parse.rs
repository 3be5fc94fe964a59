//! The text of a template → pieces. The grammar is that of lua-resty-template 1.9.

/// A template longer than this is refused.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// One piece of a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Text(&'a [u8]),
    /// `{{ expression }}`
    Escaped(&'a [u8]),
    /// `{* expression *}`
    Raw(&'a [u8]),
    /// `{% statements %}`
    Code(&'a [u8]),
    /// `{(name)}`: the name itself, because there are no other templates.
    Include(&'a [u8]),
    /// What is not shown and may hold line breaks: `{# … #}`.
    Comment(&'a [u8]),
}

/// Never fails: what is no tag is text. Err: something that Kong's templates have and these do not.
pub(super) fn parse(template: &[u8]) -> Result<Vec<Piece<'_>>, String> {
    if template.len() > BYTES_MAX {
        return Err(format!("template is too long: {} bytes, at most {BYTES_MAX}", template.len()));
    }
    let mut parser = Parser { template, text: 0, at: 0, pieces: Vec::new() };
    while let Some(found) = find(template, b"{", parser.at) {
        parser.at = found;
        parser.tag()?;
    }
    parser.end_text(template.len());
    Ok(parser.pieces)
}

/// The first place of `wanted` at or after `from`.
fn find(text: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    rest.windows(wanted.len()).position(|window| window == wanted).map(|place| from + place)
}

struct Parser<'a> {
    template: &'a [u8],
    /// Where the text that is not yet a piece begins.
    text: usize,
    /// Where the next `{` is looked for; then where it is.
    at: usize,
    pieces: Vec<Piece<'a>>,
}

impl<'a> Parser<'a> {
    fn end_text(&mut self, end: usize) {
        if self.text < end {
            self.pieces.push(Piece::Text(&self.template[self.text..end]));
        }
    }

    /// What stands at the `{` at `at`.
    fn tag(&mut self) -> Result<(), String> {
        let close: &[u8] = match self.template.get(self.at + 1) {
            Some(b'{') => b"}}",
            Some(b'*') => b"*}",
            Some(b'%') => b"%}",
            Some(b'(') => b")}",
            Some(b'[') => b"]}",
            Some(b'#') => b"#}",
            Some(b'-') => b"-}",
            _ => return self.skip(),
        };
        let Some(end) = find(self.template, close, self.at + 2) else { return self.skip() };
        if self.escaped() {
            return Ok(());
        }
        let inside = self.template[self.at + 2..end].trim_ascii();
        let mut after = end + 2;
        let piece = match close[0] {
            b'}' => Piece::Escaped(inside),
            b'*' => Piece::Raw(inside),
            b'%' => Piece::Code(&self.template[self.at + 2..end]),
            b')' => Piece::Include(inside.split(|&byte| byte == b',').next().unwrap_or_default().trim_ascii()),
            b']' => Piece::Raw(inside),
            b'#' => Piece::Comment(&self.template[self.at..end]),
            _ => match self.verbatim(end)? {
                Some((text, end)) => {
                    after = end;
                    Piece::Text(text)
                }
                None => return self.skip(),
            },
        };
        let eats_line_break = matches!(close[0], b'%' | b'#' | b'-');
        let line_break = eats_line_break && self.template.get(after) == Some(&b'\n');
        self.pieces.push(piece);
        if line_break {
            // It still counts for the numbers of lines.
            self.pieces.push(Piece::Comment(b"\n"));
            after += 1;
        }
        self.text = after;
        self.at = after;
        Ok(())
    }

    fn skip(&mut self) -> Result<(), String> {
        self.at += 1;
        Ok(())
    }

    /// A backslash before the tag makes it text, two of them are one backslash and a tag. Ends the text before the tag.
    fn escaped(&mut self) -> bool {
        let backslash = |back: usize| self.at >= self.text + back && self.template[self.at - back] == b'\\';
        let (one, two) = (backslash(1), backslash(2));
        self.end_text(self.at - usize::from(one));
        self.text = self.at;
        if one && !two {
            self.at += 1;
            return true;
        }
        false
    }

    /// `{-raw-} … {-raw-}`; `end` is the place of the first `-}`. The text between, and the place after. None: there is no second mark.
    fn verbatim(&self, end: usize) -> Result<Option<(&'a [u8], usize)>, String> {
        let mark = &self.template[self.at..end + 2];
        let name = self.template[self.at + 2..end].trim_ascii();
        let Some(second) = find(self.template, mark, end + 2) else { return Ok(None) };
        if name != b"raw" && name != b"verbatim" {
            return Err(format!("blocks are not supported: {{-{}-}}", String::from_utf8_lossy(name)));
        }
        Ok(Some((&self.template[end + 2..second], second + mark.len())))
    }
}
